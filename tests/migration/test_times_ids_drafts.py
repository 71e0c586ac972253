"""The revision that brings the application's form of times, ids that are never given twice, and drafts."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import raw
from support.raw import ANN, OWNERS, TABLES, TIMES, ask, run

import pharmdb
from pharmdb.errors import RevisionError
from pharmdb.schema import drift
from pharmdb.types import milliseconds, time_text

BEFORE, THIS = "2d7e9b05c3f4", "7b1f4e90d2a6"


@pytest.fixture
def older(databases: Any, dialect: str) -> str:
    """A database at the revision before, with the rows of raw.fill."""
    url = databases.empty(dialect)
    pharmdb.migrate(url, revision=BEFORE)
    with raw.session(url) as session:
        raw.fill(session)
    return str(url)


def bookmark(session: Any, at: str, entity: str) -> None:
    session.execute(raw.insert("bookmarks", user_id=ANN, created_at=f"'{at}'", entity_id=f"'{entity}'"))


MICROSECONDS = {
    "2026-01-01 00:00:00.000499": "2026-01-01T00:00:00.000+00:00",
    "2026-01-01 00:00:00.000500": "2026-01-01T00:00:00.001+00:00",
    "2026-12-31 23:59:59.999500": "2027-01-01T00:00:00.000+00:00",
    "1999-12-31 23:59:59.999500": "1999-12-31T23:59:59.999+00:00",
    "1999-12-31 23:59:59.999501": "2000-01-01T00:00:00.000+00:00",
    "0001-01-01 00:00:00.000001": "0001-01-01T00:00:00.000+00:00",
    "9999-12-31 23:59:59.999499": "9999-12-31T23:59:59.999+00:00",
    "9999-12-31 23:59:59.999999": "9999-12-31T23:59:59.999+00:00",
}


def stored_times(url: str) -> dict[str, str]:
    found = ask(
        url, "SELECT entity_id, created_at FROM bookmarks WHERE entity_type = 'drug' AND entity_id LIKE '____-%'"
    )
    return {old: new if isinstance(new, str) else time_text(new) for old, new in found}


def test_microseconds_are_rounded_alike_on_both_databases(older: str, dialect: str) -> None:
    with raw.session(older) as session:
        for old in MICROSECONDS:
            bookmark(session, old, old)
    assert pharmdb.migrate(older).rejects == ()
    assert stored_times(older) == MICROSECONDS
    pharmdb.migrate(older, revision=BEFORE)
    pharmdb.migrate(older)
    assert stored_times(older) == MICROSECONDS


# Where a half decides, and anywhere.
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
HALVES = st.builds(
    lambda time, micro: time.replace(microsecond=time.microsecond // 1000 * 1000 + micro),
    MOMENTS,
    st.integers(498, 502),
)


@given(time=MOMENTS | HALVES)
def test_the_revision_rounds_as_pharmdb_does(revision: Any, time: datetime) -> None:
    old = time.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    with closing(sqlite3.connect(":memory:")) as connection:
        ((new,),) = connection.execute(f"SELECT {revision.converted('c', True)} FROM (SELECT ? AS c)", (old,))
        ((again,),) = connection.execute(f"SELECT {revision.converted('c', False)} FROM (SELECT ? AS c)", (new,))
    assert new == time_text(time)
    assert again == milliseconds(time).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


@pytest.fixture(scope="session")
def revision() -> Any:
    from alembic.script import ScriptDirectory

    from pharmdb.schema import revisions

    return ScriptDirectory.from_config(revisions.config()).get_revision(THIS).module


def test_review_times_that_are_rounded_stay_in_order(older: str) -> None:
    times = {"last_reviewed_at": "'2026-01-01 00:00:00.000400'", "next_review_at": "'2026-01-01 00:00:00.000600'"}
    run(older, raw.insert("spaced_repetition_items", entity_id="'close'", **times))
    assert pharmdb.migrate(older).rejects == ()
    ((last, due),) = ask(
        older, "SELECT last_reviewed_at, next_review_at FROM spaced_repetition_items WHERE entity_id = 'close'"
    )
    assert last < due


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_every_time_of_sqlite_has_the_form_of_its_revision(older: str) -> None:
    def lengths() -> set[tuple[int, str]]:
        selects = (f"SELECT length({c}), substr({c}, 11, 1) FROM {t} WHERE {c} IS NOT NULL" for t, c in TIMES)
        return {(length, between) for select in selects for length, between in ask(older, select)}

    assert lengths() == {(26, " ")}
    pharmdb.migrate(older)
    assert lengths() == {(29, "T")}
    pharmdb.migrate(older, revision=BEFORE)
    assert lengths() == {(26, " ")}


def test_the_times_of_pharmdbs_own_records_change_with_the_others(older: str, dialect: str) -> None:
    reject = (
        "INSERT INTO upgrade_rejects (source_table, source_id, \"row\", reason) VALUES ('users', 7, '{\"id\": 7}', 'x')"
    )
    # The constraints' revision made the table, as the rows of raw.fill were there before.
    run(older, "DROP TABLE IF EXISTS upgrade_rejects")
    run(older, old_rejects(dialect), reject)
    assert pharmdb.migrate(older).rejects == ()
    run(older, reject)
    for _, source, row, at in ask(older, 'SELECT id, source_id, "row", rejected_at FROM upgrade_rejects'):
        time = datetime.fromisoformat(at) if dialect == "sqlite" else at
        assert (source, json.loads(row) if dialect == "sqlite" else row) == (7, {"id": 7})
        assert abs(datetime.now(UTC) - time) < timedelta(minutes=5)
        assert time.microsecond % 1000 == 0
    pharmdb.migrate(older, revision=BEFORE)
    if dialect == "sqlite":
        run(older, reject)
        assert ask(older, "SELECT DISTINCT length(rejected_at) FROM upgrade_rejects") == [(26,)]


def old_rejects(dialect: str) -> str:
    if dialect == "sqlite":
        return (
            "CREATE TABLE upgrade_rejects (id INTEGER PRIMARY KEY, source_table TEXT NOT NULL, source_id INTEGER NOT "
            'NULL, "row" TEXT NOT NULL CHECK (json_valid("row")), reason TEXT NOT NULL, '
            "rejected_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))) STRICT"
        )
    return (
        "CREATE TABLE upgrade_rejects (id BIGSERIAL PRIMARY KEY, source_table VARCHAR NOT NULL, source_id BIGINT NOT "
        'NULL, "row" JSONB NOT NULL, reason VARCHAR NOT NULL, rejected_at TIMESTAMPTZ NOT NULL DEFAULT now())'
    )


# -- ids --------------------------------------------------------------------------------------------


def last_ids(url: str) -> dict[str, int]:
    """Of each table the id that its next row gets, less one; the row is taken back."""
    found = {}
    with raw.session(url) as session, raw.transaction(session, keep=False):
        session.execute("DELETE FROM user_settings")
        for table in TABLES:
            (found[table],) = session.execute(f"{raw.insert(table)} RETURNING id - 1").fetchone()
    return found


def test_no_id_is_given_again_after_a_way_down_and_up(migrated: str, dialect: str) -> None:
    with raw.session(migrated) as session:
        raw.fill(session)
        for table, owner in {"users": "id", **OWNERS}.items():
            free = {"email": "'far@example.test'"} if table == "users" else {}
            session.execute(raw.insert(table, id="4711", **free))
            session.execute(f"DELETE FROM {table} WHERE id = 4711 OR {owner} = 4711")
        if dialect == "postgresql":
            for table in TABLES:
                session.execute(f"SELECT setval('{table}_id_seq', 4711)")
    pharmdb.migrate(migrated, revision=BEFORE)
    pharmdb.migrate(migrated)
    assert set(last_ids(migrated).values()) == {4711}


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_ids_go_on_from_the_largest_that_an_older_revision_has(older: str) -> None:
    run(older, raw.insert("users", id="900", email="'far@example.test'", created_at="'2026-01-01 00:00:00.000000'"))
    pharmdb.migrate(older)
    run(older, "DELETE FROM users WHERE id = 900")
    assert last_ids(older)["users"] == 900


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_drift_tells_a_word_from_a_comment(migrated: str) -> None:
    ((sql,),) = ask(migrated, "SELECT sql FROM sqlite_master WHERE name = 'bookmarks'")
    changed = sql.replace("PRIMARY KEY AUTOINCREMENT", "PRIMARY KEY /* PRIMARY KEY AUTOINCREMENT */")
    run(migrated, "PRAGMA foreign_keys = OFF", "DROP TABLE bookmarks", changed)
    with pharmdb.reading(pharmdb.target(migrated)) as connection:
        found = [d[:3] for d in drift.differences(connection)]
    assert ("option", "bookmarks", "AUTOINCREMENT") in found


# -- drafts -----------------------------------------------------------------------------------------


def test_a_way_down_sets_drafts_aside_whole_and_tells(migrated: str, dialect: str) -> None:
    with raw.session(migrated) as session:
        raw.fill(session)
        for n, document in enumerate(("not yet", "", "{", "NaN", '{"a": 1}', "[" * 5)):
            session.execute(raw.insert("dataset_overrides", name=f"'d{n}'", json_text=f"'{document}'", is_active="'0'"))
    report = pharmdb.migrate(migrated, revision=BEFORE)
    assert [tuple(row) for row in report.rejects] == [
        ("dataset_overrides", "breaks ck_dataset_overrides_json_text: a draft that is not JSON", 5)
    ]
    assert ask(migrated, "SELECT name FROM dataset_overrides ORDER BY name") == [("ann's override",), ("d4",)]
    kept = [
        row if dialect == "postgresql" else json.loads(row)
        for (row,) in ask(migrated, 'SELECT "row" FROM upgrade_rejects')
    ]
    assert sorted((row["name"], row["json_text"]) for row in kept) == [
        ("d0", "not yet"),
        ("d1", ""),
        ("d2", "{"),
        ("d3", "NaN"),
        ("d5", "[[[[["),
    ]
    assert pharmdb.migrate(migrated).rejects == ()


# -- what stands in the way -------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_view_on_a_time_is_named_and_nothing_changes(older: str) -> None:
    run(
        older,
        "CREATE VIEW newest AS SELECT id, created_at FROM attempts",
        "CREATE VIEW names AS SELECT email FROM users",
    )
    before = raw.everything(older)
    with pytest.raises(RevisionError, match="newest") as caught:
        pharmdb.migrate(older)
    assert "names" not in caught.value.found
    assert raw.everything(older) == before
    run(older, "DROP VIEW newest")
    assert pharmdb.migrate(older).after == THIS
