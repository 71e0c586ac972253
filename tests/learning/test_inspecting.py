"""Inspect: what it says of the tables is true, or is said to be an estimate; no statement reads what it need not."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import insert, select
from support import raw
from support.databases import Databases
from support.effort import SCAN, double, executed, plans, work

import pharmdb
from pharmdb.cohorts.batches import email
from pharmdb.learning import inspecting, table_sizes
from pharmdb.learning.attempts import Tag
from pharmdb.models import Attempt, User

# Of the database `filled`: the tables of users are small, and the others are not.
USERS = 22
COUNT = re.compile(r"SELECT count\(\*\) AS count_1 FROM \w+")


@pytest.fixture
def filled(seeded: str) -> str:
    pharmdb.cohort(seeded, learners=20, days=90)
    return seeded


def true_sizes(url: str) -> dict[str, float]:
    """Bytes, as the database itself tells them after a look at every page."""
    with raw.session(url) as session:
        if url.startswith("sqlite"):
            rows = session.execute(
                "SELECT tbl_name, sum(pgsize) FROM dbstat JOIN sqlite_master USING (name) "
                "WHERE aggregate = TRUE GROUP BY tbl_name"
            )
        else:
            rows = session.execute("SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r'")
        return {name: size / 2**20 for name, size in rows.fetchall()}


def test_rows_are_counted_and_sizes_are_measured(filled: str) -> None:
    tables = pharmdb.inspect(filled).tables.set_index("table")
    assert list(tables.columns) == ["rows", "size_mib", "size_is", "newest"]
    assert list(tables.index) == list(raw.TABLES)
    with raw.session(filled) as session:
        for table in raw.TABLES:
            ((rows,),) = session.execute(f"SELECT count(*) FROM {table}").fetchall()
            assert tables["rows"][table] == rows
    sizes = true_sizes(filled)
    assert tables["size_mib"].to_dict() == {table: round(sizes[table], 1) for table in raw.TABLES}
    assert set(tables["size_is"]) == {"measured"}
    assert tables["size_mib"]["attempts"] > 0.2


def test_the_size_of_a_large_table_is_estimated_and_that_is_said(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_sizes, "PAGES", 8)
    tables = pharmdb.inspect(filled).tables.set_index("table")
    sizes = true_sizes(filled)
    large = {"attempts", "progress_by_tag", "spaced_repetition_items"} if filled.startswith("sqlite") else set()
    for table in raw.TABLES:
        size_is, size = tables["size_is"][table], tables["size_mib"][table]
        assert size_is == ("estimated" if table in large else "measured")
        assert size == round(sizes[table], 1) or (table in large and 0.7 < size / sizes[table] < 1.4)


NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def attempt(url: str, user_email: str, *times: datetime) -> None:
    with pharmdb.writing(pharmdb.target(url)) as connection:
        user = connection.scalars(select(User.id).where(User.email == user_email)).one()
        row = {"user_id": user, "entity_type": "case", "entity_id": "c", "answers": 1, "score": 50.0}
        connection.execute(insert(Attempt), [row | {"created_at": time} for time in times])


@pytest.mark.parametrize("scanned", [200_000, USERS])
def test_the_newest_row_is_the_newest_by_time_or_none(
    filled: str, monkeypatch: pytest.MonkeyPatch, scanned: int
) -> None:
    monkeypatch.setattr(inspecting, "SCANNED", scanned)
    # The older one is added last.
    attempt(filled, "admin@pharmtrainer.test", NOW, NOW - timedelta(days=1))
    newest = pharmdb.inspect(filled).tables.set_index("table")["newest"]
    assert newest["attempts"] == NOW
    assert newest.isna().to_dict() == {
        "users": False,
        "user_settings": False,
        "bookmarks": scanned == USERS,
        "attempts": False,
        "progress_by_tag": scanned == USERS,
        "spaced_repetition_items": scanned == USERS,
        "dataset_overrides": False,
    }


@pytest.mark.parametrize("user_email", ["nobody@example.org", "admin@pharmtrainer.test"])
def test_nobody_and_a_user_without_attempts_are_said_and_are_not_ok(seeded: str, user_email: str) -> None:
    def outcome() -> pd.Series[Any]:
        seen = pharmdb.inspect(seeded, user_email=user_email)
        assert not seen.has_attempts
        assert "0 attempts on 0 of" in str(seen.activity_picture)
        assert "0 of 0 answers" in str(seen.progress_picture)
        return seen.outcome.iloc[0]

    found = outcome()
    assert not found["ok"]
    assert user_email in str(found["user"])
    assert str(found["next"]).startswith("pharmdb cohort")
    # Now there is somebody to look at.
    attempt(seeded, "demo@pharmtrainer.test", NOW)
    command = shlex.split(str(outcome()["next"]))
    assert command[:3] == ["pharmdb", "inspect", "--user-email=demo@pharmtrainer.test"]
    assert pharmdb.inspect(seeded, user_email="demo@pharmtrainer.test").outcome["ok"].item()
    # In production nobody else is named.
    raw.run(seeded, "UPDATE pharmdb_environment SET name = 'production'")
    assert shlex.split(str(outcome()["next"]))[:2] == ["pharmdb", "account"]
    assert "demo@" not in outcome().to_json()


def test_the_period_ends_at_the_newest_attempt_where_all_of_it_lies_in_the_past(seeded: str) -> None:
    demo, now = "demo@pharmtrainer.test", datetime.now(UTC)
    attempt(seeded, demo, *(datetime(2020, 5, day, 9, tzinfo=UTC) for day in (1, 21, 30)))
    seen = pharmdb.inspect(seeded, days=10)
    assert seen.period["since"].item() == datetime(2020, 5, 20, 9, tzinfo=UTC)
    assert seen.period["until"].item() == datetime(2020, 5, 30, 9, tzinfo=UTC)
    assert len(seen.history) == len(seen.activity) == 2
    assert "10 days to 2020-05-30" in str(seen.activity_picture)
    attempt(seeded, demo, now - timedelta(days=9))
    seen = pharmdb.inspect(seeded, days=10)
    assert seen.period["until"].item() >= now.replace(microsecond=0)
    assert len(seen.history) == 1
    assert "last 10 days" in str(seen.activity_picture)


def test_the_period_of_the_oldest_attempts_begins_with_the_calendar(seeded: str) -> None:
    first = datetime(1, 1, 2, tzinfo=UTC)
    attempt(seeded, "demo@pharmtrainer.test", first)
    seen = pharmdb.inspect(seeded, days=7)
    assert seen.period["until"].item() == first
    assert len(seen.history) == 1


def test_the_picture_of_progress_counts_answers_for_each_tag(seeded: str) -> None:
    tags = [Tag("m", "b", name) for name in ("t", "u")]
    with pharmdb.writing(pharmdb.target(seeded)) as connection:
        pharmdb.record_attempt(connection, 1, "case", "c", answers=1, score=50, tags=tags)
    seen = pharmdb.inspect(seeded)
    assert "1 attempts on 1 of" in str(seen.activity_picture)
    assert "2 of 2 answers" in str(seen.progress_picture)


def test_what_is_read_grows_by_the_counts_alone(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own rows stay as they are; SQLite counts a table's rows in one step, PostgreSQL one by one."""
    monkeypatch.setattr(table_sizes, "PAGES", 8)
    monkeypatch.setattr(inspecting, "SCANNED", USERS)
    rows, works = [], []
    for mark in ("a", "b"):
        double(filled, 2, mark)
        rows.append(int(pharmdb.inspect(filled).tables["rows"].sum()))
        works.append(work(filled, lambda: pharmdb.inspect(filled)))
    more = rows[1] - rows[0]
    assert more > rows[0] * 2
    assert works[1] - works[0] < (0.1 if filled.startswith("sqlite") else 1.1) * more


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_no_statement_scans_a_large_table_but_to_count_it(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "SCANNED", USERS)
    statements = executed(lambda: pharmdb.inspect(filled, user_email=email(1)))
    scans = [sql for sql, plan in plans(filled, statements) if SCAN.search(plan)]
    assert len(scans) == 3
    assert all(COUNT.fullmatch(sql) for sql in scans)
    assert all("LIMIT" in sql for sql, _ in statements if "dbstat WHERE" in sql)


def test_one_huge_document_is_not_taken_for_all(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.seeded("sqlite")
    monkeypatch.setattr(table_sizes, "PAGES", 20)
    with raw.session(url) as session, raw.transaction(session):
        row = "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) VALUES (1, 'question', 'q', ?, 1)"
        session.execute(row, (f'"{"x" * 500_000}"',))
        session.executemany(row, [("1",)] * 2000)
    tables = pharmdb.inspect(url).tables.set_index("table")
    assert tables.loc["attempts", "size_is"] == "estimated"
    assert 0.4 <= tables["size_mib"]["attempts"] <= 1


def test_a_user_may_have_any_id_and_an_unknown_one_has_no_rows(seeded: str) -> None:
    raw.run(
        seeded,
        raw.insert("users", id="-1", email="'minus@example.test'"),
        *(raw.insert(table, user_id="-1") for table in ("attempts", "progress_by_tag", "spaced_repetition_items")),
    )
    for email_, rows in (("minus@example.test", 1), ("nobody@example.test", 0)):
        found = pharmdb.inspect(seeded, user_email=email_, days=36_500)
        assert [len(getattr(found, name)) for name in ("user", "progress", "history", "activity", "due")] == [rows] * 5


def test_the_fingerprint_is_computed_where_it_is_asked_for(seeded: str) -> None:
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        expected = pharmdb.fingerprint(connection)
    plain = pharmdb.inspect(seeded)
    assert (plain.fingerprint, "fingerprint" in plain.outcome) == ("", False)
    seen = pharmdb.inspect(seeded, fingerprint=True)
    assert seen.fingerprint == expected
    assert seen.outcome["fingerprint"].item() == expected[:12]
