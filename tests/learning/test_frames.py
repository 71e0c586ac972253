"""Whole tables as dataframes: value by value what the rows say, on both databases."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import insert, select
from support import raw
from support.databases import Databases

import pharmdb
from pharmdb.database import placements, targets, transactions
from pharmdb.errors import UnavailableError
from pharmdb.learning import frames, joined, queries
from pharmdb.models import Attempt, ProgressByTag

START = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
TEXTS = ("q1", "", "ž💊", "a\x1eb", "\x1f", "two\nlines", "it's", "%s :user_id")


@pytest.fixture
def filled(seeded: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Seven rows a chunk, so that there are many; with every text that a careless cut would tear."""
    monkeypatch.setattr(joined, "CHUNK", 7)
    fill(seeded)
    return seeded


def fill(url: str) -> None:
    with transactions.writing(targets.target(url)) as connection:
        connection.execute(
            insert(Attempt),
            [
                {
                    "id": n * n - 5,
                    "user_id": 1 + n % 2,
                    "entity_type": ("question", "case", "calc")[n % 3],
                    "entity_id": TEXTS[n % len(TEXTS)],
                    "answers": [n, TEXTS[n % len(TEXTS)], 0.1],
                    "score": (33.333333333333336, 0.0, 100.0, 1e-300, 49.99999999999999)[n % 5],
                    "feedback": {"n": n} if n % 3 else None,
                    "created_at": START + timedelta(days=400 * n, milliseconds=n),
                }
                for n in range(40)
            ],
        )
        connection.execute(
            insert(ProgressByTag),
            [{"user_id": 2, "module": "m", "course_block": f"b{n % 2}", "tag": TEXTS[n]} for n in range(len(TEXTS))],
        )


def test_every_value_is_the_one_of_its_row(filled: str) -> None:
    with transactions.reading(targets.target(filled)) as connection:
        for model, found in (
            (Attempt, frames.attempts_frame(connection)),
            (ProgressByTag, frames.progress_frame(connection)),
        ):
            expected = pharmdb.frame(connection, select(*model.__table__.columns).order_by(model.__table__.c.id))
            assert list(found.columns) == list(expected.columns)
            for column in found.columns:
                if column in ("answers", "feedback"):
                    continue
                plain = found[column].astype("str") if found[column].dtype == "category" else found[column]
                pd.testing.assert_series_equal(plain, expected[column])
        attempts = frames.attempts_frame(connection)
        documents = connection.execute(select(Attempt.answers, Attempt.feedback).order_by(Attempt.id)).all()
    import json

    for (answers, feedback), one, other in zip(documents, attempts["answers"], attempts["feedback"], strict=True):
        assert json.loads(one) == answers
        assert (None if pd.isna(other) else json.loads(other)) == feedback


@pytest.mark.parametrize(("chunk", "span"), [(7, 2**20), (1, 100), (50, 300)])
def test_tables_in_shards_are_read_by_user_and_are_the_same(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, chunk: int, span: int
) -> None:
    """The statements that a Citus cluster gets, on plain PostgreSQL."""
    url = databases.seeded("postgresql")
    fill(url)

    def read() -> list[pd.DataFrame]:
        since = START + timedelta(days=4000)
        with transactions.reading(targets.target(url)) as connection:
            users = [frames.attempts_frame(connection, user_id=user_id) for user_id in (1, 99)]
            return [
                frames.attempts_frame(connection),
                frames.attempts_frame(connection, since=since),
                frames.progress_frame(connection),
                *users,
            ]

    expected = read()
    monkeypatch.setattr(joined, "CHUNK", chunk)
    monkeypatch.setattr(joined, "SPAN", span)
    placed = dict.fromkeys(("attempts", "progress_by_tag"), placements.SHARDED_BY)
    monkeypatch.setattr(placements, "placements", lambda connection: placed)
    for one, other in zip(expected, read(), strict=True):
        pd.testing.assert_frame_equal(one, other, check_categorical=False)


def test_the_dtypes_hold_with_rows_and_without(filled: str) -> None:
    numbers = {"id": "Int64", "user_id": "Int64"}
    attempts = numbers | {"entity_type": "category", "entity_id": "str", "answers": "str", "score": "Float64"}
    attempts |= {"feedback": "str", "created_at": "datetime64[us, UTC]"}
    progress = numbers | dict.fromkeys(("module", "course_block", "tag"), "category")
    progress |= {"correct_count": "Int64", "wrong_count": "Int64", "last_attempt_at": "datetime64[us, UTC]"}
    with transactions.reading(targets.target(filled)) as connection:
        for user_id in (None, 1, 99):
            for found, expected in (
                (frames.attempts_frame(connection, user_id=user_id), attempts),
                (frames.progress_frame(connection, user_id=user_id), progress),
            ):
                assert {name: str(dtype) for name, dtype in found.dtypes.items()} == expected
        assert list(frames.attempts_frame(connection)["entity_type"].cat.categories) == ["question", "case", "calc"]


def test_one_user_and_a_first_day(filled: str) -> None:
    since = START + timedelta(days=4000)
    with transactions.reading(targets.target(filled)) as connection:
        everything = frames.attempts_frame(connection)
        found = frames.attempts_frame(connection, user_id=2, since=since)
        chosen = (everything["user_id"] == 2) & (everything["created_at"] >= since)
        assert found["id"].tolist() == everything[chosen]["id"].tolist() != []
        assert len(frames.progress_frame(connection, user_id=2)) == len(TEXTS)
        with pytest.raises(ValueError, match="zone"):
            frames.attempts_frame(connection, since=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_frame_of_the_history_says_the_same(filled: str) -> None:
    with raw.session(filled) as session:
        assert session.execute("SELECT count(*) FROM attempts").fetchone() == (40,)
    with transactions.reading(targets.target(filled)) as connection:
        history = queries.attempt_history.frame(connection, user_id=1, limit=100)
        found = frames.attempts_frame(connection, user_id=1)
    assert sorted(history["id"]) == found["id"].tolist()


def test_wide_gaps_between_ids_cost_no_query_for_each_row(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("sqlite")
    monkeypatch.setattr(joined, "CHUNK", 10)
    with raw.session(url) as session, raw.transaction(session):
        row = (
            "INSERT INTO attempts (id, user_id, entity_type, entity_id, answers, score) "
            "VALUES (?, 1, 'question', 'q', '1', 1)"
        )
        session.executemany(row, [(n * 10**6,) for n in range(100)])
    seen: list[str] = []
    with transactions.reading(targets.target(url)) as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_trace_callback(seen.append)
        assert frames.attempts_frame(connection)["id"].tolist() == [n * 10**6 for n in range(100)]
    assert len([sql for sql in seen if sql.startswith("SELECT count(*)")]) < 15


def test_a_value_that_no_rule_lets_in_is_a_sentence(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    with raw.session(url) as session:
        session.execute("PRAGMA ignore_check_constraints = ON")
        session.execute(raw.insert("attempts", user_id="1", entity_type="'exam'"))
    with (
        transactions.reading(targets.target(url)) as connection,
        pytest.raises(UnavailableError, match="pharmdb doctor"),
    ):
        frames.attempts_frame(connection)
