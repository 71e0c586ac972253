"""Numbers of an old PostgreSQL database whose columns have other types than Prisma's, such as NUMERIC."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from support import legacy, raw
from support.databases import Databases, dsn
from support.legacy import row

import pharmdb
from pharmdb.legacy import conversion
from pharmdb.legacy.stages import RejectedError

# (table, column, the digits of a NUMERIC, what they become; None: the row is rejected)
NUMBERS: list[tuple[str, str, str, float | None]] = [
    *(("attempts", "score", digits, float(digits)) for digits in ("0", "66.67", "100", "100.000", "0.1", "1e-7")),
    # Rounded, as PostgreSQL does when it casts; the report says so.
    ("attempts", "score", "66.6666666666666666667", 66.66666666666667),
    *(("attempts", "score", digits, None) for digits in ("101", "-0.5", "100.00000000000000000001", "NaN", "Infinity")),
    *(("spaced_repetition_items", "ease_factor", digits, float(digits)) for digits in ("1.3", "2.50")),
    *(("spaced_repetition_items", "ease_factor", digits, None) for digits in ("1.2999999999999999999", "1e400")),
    *(("spaced_repetition_items", "interval_days", digits, 6) for digits in ("6", "6.000")),
    *(("spaced_repetition_items", "interval_days", digits, None) for digits in ("6.5", "0", "2147483648", "NaN")),
    ("progress_by_tag", "correct_count", "3.0", 3),
    ("progress_by_tag", "wrong_count", "0", 0),
    *(("progress_by_tag", "wrong_count", digits, None) for digits in ("-1", "0.1", "1e400", "Infinity")),
]


@pytest.fixture(params=["NUMERIC", "NUMERIC(30, 20)"])
def source(databases: Databases, request: pytest.FixtureRequest) -> str:
    """An old database whose numbers are decimal; those that the type does not take are left out."""
    url = legacy.make(databases.empty("postgresql"), 4, [row("users", 1)])
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        for table, column in {(table, column) for table, column, *_ in NUMBERS}:
            connection.execute(f'ALTER TABLE "{legacy.OLD[table]}" ALTER "{legacy.camel(column)}" TYPE {request.param}')
        for id_, (table, column, digits, _) in enumerate(NUMBERS, 1):
            own: dict[str, Any] = {"tag": str(id_)} if table == "progress_by_tag" else {}
            own |= {"entity_id": str(id_)} if table == "spaced_repetition_items" else {}
            cells = row(table, id_, **own | {column: Decimal(digits)}).cells
            names = ", ".join(f'"{legacy.camel(name)}"' for name in cells)
            marks = ", ".join(["%s"] * len(cells))
            statement = f'INSERT INTO "{legacy.OLD[table]}" (id, {names}) VALUES ({id_}, {marks})'
            try:
                connection.execute(statement, [cell.raw for cell in cells.values()])
            except psycopg.DataError:
                assert request.param != "NUMERIC"
    return url


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_decimal_numbers_are_taken_where_they_are_valid(databases: Databases, source: str, dialect: str) -> None:
    url = databases.empty(dialect)
    report = pharmdb.upgrade(source, url)
    there = {id_ for table in ("attempts", "spaced_repetition_items", "progress_by_tag") for id_ in ids(source, table)}
    found = {
        id_: value
        for id_, (table, column, *_) in enumerate(NUMBERS, 1)
        for (value,) in raw.ask(url, f"SELECT {column} FROM {table} WHERE id = {id_}")
    }
    assert found == {id_: value for id_, (*_, value) in enumerate(NUMBERS, 1) if value is not None and id_ in there}
    rejected: dict[int, str] = dict(report.rejects[["source_id", "reason"]].itertuples(index=False))
    assert rejected.keys() == {id_ for id_, (*_, value) in enumerate(NUMBERS, 1) if value is None and id_ in there}
    assert not any("Decimal" in reason for reason in rejected.values())
    changes = report.changes.set_index("change")["rows"].to_dict()
    assert changes == {"score rounded to a float": 1}


def ids(source: str, table: str) -> list[int]:
    return [id_ for (id_,) in raw.ask(source, f'SELECT id FROM "{legacy.OLD[table]}"')]


@pytest.mark.parametrize(
    ("value", "whole"), [(3, 3), (3.0, 3), (Decimal("3.00"), 3), (3.5, None), (1e300, None), (float("nan"), None)]
)
def test_a_count_is_any_whole_number(value: Any, whole: int | None) -> None:
    if whole is None:
        with pytest.raises(RejectedError):
            conversion.count_of(value)
    else:
        assert (conversion.count_of(value), type(conversion.count_of(value))) == (whole, int)
