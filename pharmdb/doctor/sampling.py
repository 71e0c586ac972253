"""Which rows the doctor looks at: all of them or, in a large database, a sample of constant cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

# Of a larger one, a table of up to so many rows; of the other tables these rows.
WHOLE = 10_000


NEWEST, OLDEST = 5_000, 1_000


PLACES, EACH = 40, 100


EXAMPLES = 3


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are looked at: all of them, or those with an id in one of the ranges."""

    table: str
    ranges: tuple[tuple[int, int], ...] | None = None

    @property
    def source(self) -> str:
        """The FROM and WHERE of a query of these rows, under the name `looked`; further conditions follow with AND."""
        if self.ranges is None:
            return f"FROM {self.table} AS looked WHERE TRUE"
        # Each range by itself, with its bounds: so no planner takes the whole table for cheaper.
        parts = (f"SELECT * FROM {self.table} WHERE id BETWEEN {first} AND {last}" for first, last in self.ranges)
        return f"FROM ({' UNION ALL '.join(parts)}) AS looked WHERE TRUE"


def all_or_some(connection: Connection, table: str) -> Rows:
    """Every row of a table of up to WHOLE rows; of another one the newest, the oldest, and some evenly between."""
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
    # By rows, not by ids: where many ids are missing a place holds as many rows as any other.
    for start, end in connection.exec_driver_sql(
        f"SELECT column1, (SELECT max(id) FROM (SELECT id FROM {table} WHERE id >= column1 AND id < {new} "
        f"ORDER BY id LIMIT {EACH}) AS place) FROM (VALUES {starts}) AS places ORDER BY 1"
    ):
        if end is not None and end > ranges[-1][1]:
            ranges.append((max(start, ranges[-1][1] + 1), end))
    return Rows(table, (*ranges, (new, last)))


def has_many(connection: Connection, table: str) -> bool:
    """Whether a table, quoted where it needs to be, has more than WHOLE rows; no more are counted."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {WHOLE + 1}) AS few"
    return int(connection.exec_driver_sql(few).scalar_one()) > WHOLE


def said(looks: Iterable[Rows]) -> str:
    """What was looked at of the tables that weren't looked at whole, in words; "" where all were."""
    tables = [rows.table for rows in looks if rows.ranges is not None]
    if not tables:
        return ""
    return (
        f"of {', '.join(tables)} only the newest {NEWEST:,} rows, the oldest {OLDEST:,} "
        f"and up to {PLACES * EACH:,} between them were looked at"
    )


def breaking(connection: Connection, rows: Rows, condition: str) -> tuple[int, list[int]]:
    """How many of the rows fulfil an SQL condition, and the first few of their ids."""
    source = f"{rows.source} AND ({condition})"
    count = int(connection.exec_driver_sql(f"SELECT count(*) {source}").scalar_one())
    first = f"SELECT looked.id {source} ORDER BY 1 LIMIT {EXAMPLES}"
    return count, list(connection.exec_driver_sql(first).scalars()) if count else []
