"""Whatever differs from the models is found, under its own name, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from support import raw
from support.drifts import DRIFT, rebuild
from support.revisions import differences

import pharmdb


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
