"""Whatever differs from the models is found, under its own name, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Inspector
from support import raw
from support.databases import Databases
from support.drifts import DRIFT, rebuild
from support.revisions import differences

import pharmdb
from pharmdb.errors import UnavailableError
from pharmdb.schema import drift


@pytest.mark.parametrize("state", ["migrated", "seeded"])
def test_nothing_differs_at_head(databases: Any, dialect: str, state: str) -> None:
    assert differences(getattr(databases, state)(dialect)) == []


def cases() -> list[Any]:
    return [
        pytest.param(dialect, change, difference, id=f"{dialect}-{what}")
        for what, sqlite, postgresql, difference in DRIFT
        for dialect, change in (("sqlite", sqlite), ("postgresql", postgresql))
        if change
    ]


@pytest.mark.parametrize(("dialect", "change", "difference"), cases())
def test_a_difference_is_found_by_name_and_alone(migrated: str, change: Any, difference: tuple[str, str, str]) -> None:
    with raw.session(migrated) as session:
        if not isinstance(change, str):
            rebuild(session, *change)
        elif migrated.startswith("sqlite"):
            session.executescript(change)
        else:
            session.execute(change)
    ((*found, expected, actual),) = differences(migrated)
    assert tuple(found) == difference
    assert expected != actual


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("DROP TABLE bookmarks", ("table", "bookmarks", "bookmarks", "a table", "none")),
        ("CREATE TABLE extra (id INTEGER)", ("table", "extra", "extra", "none", "a table")),
        (
            "DROP INDEX ix_attempts_user_id_created_at",
            ("index", "attempts", "ix_attempts_user_id_created_at", "user_id, created_at", "none"),
        ),
        ("ALTER TABLE users ADD COLUMN extra INTEGER", ("column", "users", "extra", "none", "INTEGER")),
    ],
)
def test_a_difference_says_what_was_expected_and_what_was_found(
    migrated: str, change: str, difference: tuple[str, ...]
) -> None:
    with raw.session(migrated) as session:
        session.execute(change)
    assert difference in differences(migrated)


def test_an_empty_database_lacks_every_table(empty: str) -> None:
    pharmdb.migrate(empty, revision="base")
    assert {d[:3] for d in differences(empty)} == {("table", table, table) for table in raw.TABLES}


@pytest.fixture
def vanishing(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    """A PostgreSQL database in which somebody else drops a table just after it was listed, this many times."""

    def make(times: int) -> str:
        url = databases.migrated("postgresql")
        with raw.session(url) as session:
            for number in range(times):
                session.execute(f"CREATE TABLE theirs_{number} (id integer)")
        listed = Inspector.get_table_names
        left = list(range(times))

        def names(inspector: Inspector, *args: Any, **kwargs: Any) -> list[str]:
            found = listed(inspector, *args, **kwargs)
            if left:
                with raw.session(url) as session:
                    session.execute(f"DROP TABLE theirs_{left.pop()}")
            return found

        monkeypatch.setattr(Inspector, "get_table_names", names)
        return url

    return make


def test_a_table_that_disappears_meanwhile_is_no_difference(vanishing: Callable[[int], str]) -> None:
    assert differences(vanishing(drift.ATTEMPTS - 1)) == []


def test_tables_that_go_on_disappearing_are_told(vanishing: Callable[[int], str]) -> None:
    with pytest.raises(UnavailableError) as error:
        differences(vanishing(drift.ATTEMPTS))
    assert error.value.found == "no table theirs_0 any more"


def test_a_shard_that_citus_is_about_to_drop_is_no_difference(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.migrated("postgresql")
    with raw.session(url) as session:
        session.execute("CREATE TABLE attempts_102008 (id integer)")
    assert len(differences(url)) == 1
    monkeypatch.setattr(drift, "leftovers", lambda connection: {"attempts_102008"})
    assert differences(url) == []
