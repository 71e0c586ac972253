"""Orphans: rows whose user is missing, found by the indexes on their foreign keys."""

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
    """The number of orphans, the first few of them as (table, id), and the tables that were not checked."""

    count: int
    examples: list[tuple[str, int]]
    skipped: tuple[str, ...] = ()


def by_index(connection: Connection) -> Orphans:
    """Finds orphans by the indexes on the keys, so that the cost grows with the users, not with their rows.

    The user_id of an orphan lies in a gap of the users' ids, so each table is searched for each gap.
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
    # The server can't know how few gaps there are: it might prefer a sequential scan or compile the query.
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
    """The table and column of each foreign key to users, for the tables that exist."""
    tables = set(inspect(connection).get_table_names())
    if User.__tablename__ not in tables:
        return
    for model in MODELS:
        table: Any = model.__table__
        if table.name in tables:
            yield from ((table.name, key.parent.name) for key in table.foreign_keys)


def _leads(connection: Connection, table: str, column: str) -> bool:
    """Whether a non-partial index begins with this column; without one every gap would scan the table."""
    inspector = inspect(connection)
    where = f"{connection.dialect.name}_where"
    with warnings.catch_warnings():
        # SQLAlchemy warns about indexes on expressions, which are not ours.
        warnings.simplefilter("ignore", SAWarning)
        indexes, uniques = inspector.get_indexes(table), inspector.get_unique_constraints(table)
    whole = [index for index in indexes if where not in index.get("dialect_options", {})]
    firsts = [index["column_names"][0] for index in whole]
    return column in [*firsts, *(unique["column_names"][0] for unique in uniques)]
