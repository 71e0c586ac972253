"""Python values are stored in bulk as SQLAlchemy stores each of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, insert, select
from support.databases import DIALECTS, Databases

from pharmdb.database import bulk, stored_values, targets, transactions
from pharmdb.models import Attempt, User
from pharmdb.types import time_text

TABLE: Table = Attempt.__table__  # type: ignore[assignment]
COLUMNS = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(DOCUMENTS, st.none() | TIMES), max_size=8))
@example([({}, NOON), (None, NOON)])
@example([(None, None)])
@example([("x", datetime(2026, 1, 1, 0, 0, 0, 500, tzinfo=UTC)), ([], NOON)])
def test_values_become_what_json_and_the_type_make_of_each(rows: list[tuple[Any, Any]]) -> None:
    expected = [
        (7, None if document is None else json.dumps(document), None if time is None else time_text(time))
        for document, time in rows
    ]
    columns = ("user_id", "answers", "created_at")
    assert list(stored_values.stored(TABLE, columns, ((7, *row) for row in rows))) == expected


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rows_in_bulk_are_those_of_an_insert(databases: Databases, dialect: str) -> None:
    values: list[tuple[Any, ...]] = [
        (
            1,
            "case",
            f"č{n}",
            {"n": n, "ž": [n / 3]},
            n % 700 / 7,
            None if n % 3 else "x",
            NOON + timedelta(milliseconds=n),
        )
        for n in range(1021)
    ]
    with transactions.writing(targets.target(databases.migrated(dialect))) as connection:
        connection.execute(insert(User).values(id=1, email="a@b", password_hash="!"))
        bulk.insert(connection, "attempts", COLUMNS, stored_values.stored(TABLE, COLUMNS, values))
        found = connection.execute(select(*(TABLE.c[name] for name in COLUMNS)).order_by(TABLE.c.id))
        assert list(map(tuple, found)) == values


def test_what_cannot_be_stored_is_refused_as_one_by_one() -> None:
    def convert(column: str, value: Any) -> None:
        list(stored_values.stored(TABLE, [column], [("{}",), (value,)] if column == "answers" else [(NOON,), (value,)]))

    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        convert("answers", circle)
    with pytest.raises(TypeError, match="not JSON serializable"):
        convert("answers", {1})
    with pytest.raises(ValueError, match="needs a zone"):
        convert("created_at", datetime(2026, 1, 1))  # noqa: DTZ001
