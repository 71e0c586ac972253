"""Rows whose user is missing, found by the indexes on their keys."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import SAWarning

from pharmdb.database import dialect
from pharmdb.doctor import sampling
from pharmdb.models import MODELS, User

_LAST = 2**63 - 1


@dataclass(frozen=True)
class Orphans:
    """How many rows lack their user, the first few of them as (table, id), and the tables that weren't looked at."""

    count: int
    examples: list[tuple[str, int]]
    skipped: tuple[str, ...] = ()


def by_index(connection: Connection) -> Orphans:
    """By the indexes on the keys: what it costs grows with the users, not with what they own.

    A row without its user lies where users' ids have a gap, and every table is asked for every gap.
    """
    keys = dict(references(connection))
    indexed = [table for table, column in keys.items() if _leads(connection, table, column)]
    skipped = tuple(table for table in keys if table not in indexed)
    if not indexed:
        return Orphans(0, [], skipped)
    sources = {
        table: f"FROM gaps CROSS JOIN {table} WHERE {table}.{keys[table]} BETWEEN low AND high" for table in indexed
    }
    counts = " UNION ALL ".join(f"SELECT '{table}', count(*) {source}" for table, source in sources.items())
    # How few gaps there are the server can't guess: it might take a whole table for cheaper, or compile the query.
    with dialect.of(connection).planning_without(connection, "enable_seqscan", "jit"):
        found = [(table, number) for table, number in connection.exec_driver_sql(_GAPS + counts) if number]
        examples = [
            (table, id_)
            for table, _ in found
            for id_ in connection.exec_driver_sql(
                f"{_GAPS} SELECT {table}.id {sources[table]} ORDER BY 1 LIMIT {sampling.EXAMPLES}"
            ).scalars()
        ]
    return Orphans(sum(number for _, number in found), examples[: sampling.EXAMPLES], skipped)


# The ids that no user has, as ranges.
_GAPS = f"""
    WITH gaps(low, high) AS (
        SELECT -{_LAST}, coalesce((SELECT min(id) FROM users) - 1, {_LAST})
         UNION ALL
        SELECT id + 1, coalesce((SELECT min(later.id) FROM users AS later WHERE later.id > users.id) - 1, {_LAST})
          FROM users WHERE id < {_LAST} AND NOT EXISTS (SELECT 1 FROM users AS next WHERE next.id = users.id + 1)
    )
"""


def references(connection: Connection) -> Iterator[tuple[str, str]]:
    """Table and column of each reference to a user, as far as there are such tables."""
    tables = set(inspect(connection).get_table_names())
    if User.__tablename__ not in tables:
        return
    for model in MODELS:
        table: Any = model.__table__
        if table.name in tables:
            yield from ((table.name, key.parent.name) for key in table.foreign_keys)


def _leads(connection: Connection, table: str, column: str) -> bool:
    """Whether an index of all rows begins with this column; without one every gap would be a scan of the table."""
    inspector = inspect(connection)
    where = f"{connection.dialect.name}_where"
    with warnings.catch_warnings():
        # An index on an expression is none of ours, and SQLAlchemy can't read it.
        warnings.simplefilter("ignore", SAWarning)
        indexes, uniques = inspector.get_indexes(table), inspector.get_unique_constraints(table)
    whole = [index for index in indexes if where not in index.get("dialect_options", {})]
    firsts = [index["column_names"][0] for index in whole]
    return column in [*firsts, *(unique["column_names"][0] for unique in uniques)]
