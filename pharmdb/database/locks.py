"""Locks that last until the end of the transaction."""

from __future__ import annotations

from sqlalchemy import (
    Connection,
    inspect,
)

# Schema changes and seeds exclude each other through this lock; the number is "pharmdb" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"pharmdb", "big")


def hold_still(connection: Connection) -> None:
    """Until the transaction's end nobody else writes to a table of the schema; they can still read.

    On SQLite a write transaction does so from its beginning.
    """
    if connection.dialect.name == "sqlite":
        return
    tables = inspect(connection).get_table_names()
    quote_name = connection.dialect.identifier_preparer.quote_identifier
    if tables:
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote_name, sorted(tables)))} IN SHARE MODE")


def take_advisory_lock(connection: Connection) -> None:
    """Waits for the lock that schema changes and seeds share; it is given back with the transaction's end."""
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
