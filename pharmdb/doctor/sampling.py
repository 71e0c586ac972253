"""Which rows the doctor checks: all of them or, in a large database, a sample of constant cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

# In a large database tables of up to WHOLE rows are checked completely, the others by a sample: the NEWEST and OLDEST
# rows, and EACH rows at PLACES places between them.
WHOLE = 10_000


NEWEST, OLDEST = 5_000, 1_000


PLACES, EACH = 40, 100


EXAMPLES = 3


@dataclass(frozen=True)
class Rows:
    """The rows of a table to check: all of them, or those with an id in one of the ranges."""

    table: str
    ranges: tuple[tuple[int, int], ...] | None = None

    @property
    def source(self) -> str:
        """The FROM and WHERE clauses for these rows, with the alias `looked`; conditions can be added with AND."""
        if self.ranges is None:
            return f"FROM {self.table} AS looked WHERE TRUE"
        # One query for each range, so that no planner prefers a scan of the whole table.
        parts = (f"SELECT * FROM {self.table} WHERE id BETWEEN {first} AND {last}" for first, last in self.ranges)
        return f"FROM ({' UNION ALL '.join(parts)}) AS looked WHERE TRUE"


def all_or_some(connection: Connection, table: str) -> Rows:
    """Every row of a table of up to WHOLE rows; else the newest, the oldest, and rows at even distances between."""
    if not has_many(connection, table):
        return Rows(table)

    def asked(sql: str) -> int:
        return int(connection.exec_driver_sql(sql).scalar_one())

    first, last = (asked(f"SELECT {end}(id) FROM {table}") for end in ("min", "max"))
    old = asked(f"SELECT id FROM {table} ORDER BY id LIMIT 1 OFFSET {OLDEST - 1}")
    new = asked(f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET {NEWEST - 1}")
    step = max((new - old) // PLACES, 1)
    starts = ", ".join(f"({old + 1 + step // 2 + n * step})" for n in range(PLACES))
    ranges = [(first, old)]
    # Counted by rows, not by ids, so that each place has the same number of rows even if many ids are missing.
    for start, end in connection.exec_driver_sql(
        f"SELECT column1, (SELECT max(id) FROM (SELECT id FROM {table} WHERE id >= column1 AND id < {new} "
        f"ORDER BY id LIMIT {EACH}) AS place) FROM (VALUES {starts}) AS places ORDER BY 1"
    ):
        if end is not None and end > ranges[-1][1]:
            ranges.append((max(start, ranges[-1][1] + 1), end))
    return Rows(table, (*ranges, (new, last)))


def has_many(connection: Connection, table: str) -> bool:
    """Whether a table (its name quoted if necessary) has more than WHOLE rows; counts no further than that."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {WHOLE + 1}) AS few"
    return int(connection.exec_driver_sql(few).scalar_one()) > WHOLE


def describe(checked: Iterable[Rows]) -> str:
    """A sentence about the tables of which only a sample was checked; "" if there are none."""
    tables = [rows.table for rows in checked if rows.ranges is not None]
    if not tables:
        return ""
    return (
        f"of {', '.join(tables)} only the newest {NEWEST:,} rows, the oldest {OLDEST:,} "
        f"and up to {PLACES * EACH:,} between them were checked"
    )


def breaking(connection: Connection, rows: Rows, condition: str) -> tuple[int, list[int]]:
    """The number of rows that satisfy an SQL condition, and the first few of their ids."""
    source = f"{rows.source} AND ({condition})"
    count = int(connection.exec_driver_sql(f"SELECT count(*) {source}").scalar_one())
    first = f"SELECT looked.id {source} ORDER BY 1 LIMIT {EXAMPLES}"
    return count, list(connection.exec_driver_sql(first).scalars()) if count else []
