"""Locks that last until the end of the transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.database import dialect

# Schema changes and seeds exclude each other through this lock; the number is "pharmdb" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"pharmdb", "big")


def lock_tables(connection: Connection) -> None:
    """Locks all tables of the schema against other writers until the end of the transaction; readers continue.

    On SQLite a write transaction does so from its beginning.
    """
    dialect.of(connection).lock_tables(connection)


def take_advisory_lock(connection: Connection) -> None:
    """Waits for the lock that schema changes and seeds share; it is released at the end of the transaction.

    On SQLite a write transaction excludes other writers from its beginning.
    """
    dialect.of(connection).take_lock(connection, ADVISORY_LOCK)
