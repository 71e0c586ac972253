"""Indexes that are built once after a load, instead of being kept up to date row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

# Fewer rows are inserted as fast with the indexes.
_MANY = 50_000


@contextmanager
def rebuilt(connection: Connection, table: str, rows: int) -> Iterator[None]:
    """For a block that inserts about so many rows into an empty table, in the caller's transaction.

    On SQLite, indexes that are not unique are dropped before and created after it by the same statements. Does nothing
    for few rows, or on PostgreSQL, where it saves little and would need the owner's rights.
    """
    found: Sequence[Any] = ()
    if connection.dialect.name == "sqlite" and rows >= _MANY:
        found = connection.exec_driver_sql(_INDEXES, (table,)).all()
    quote = connection.dialect.identifier_preparer.quote_identifier
    for name, _ in found:
        connection.exec_driver_sql(f"DROP INDEX main.{quote(name)}")
    yield
    for _, statement in found:
        connection.exec_driver_sql(statement)


# A unique index keeps duplicates out while the rows come.
_INDEXES = """
    SELECT m.name, m.sql FROM main.sqlite_master AS m JOIN pragma_index_list(m.tbl_name, 'main') AS i ON i.name = m.name
     WHERE m.type = 'index' AND m.sql IS NOT NULL AND m.tbl_name = ? AND NOT i."unique" ORDER BY m.rowid
"""
