"""Locks that last until the end of the transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.database import dialect

# Schema changes and seeds exclude each other through this lock; the number is "pharmdb" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"pharmdb", "big")


def hold_still(connection: Connection) -> None:
    """Until the transaction's end nobody else writes to a table of the schema; they can still read.

    On SQLite a write transaction does so from its beginning.
    """
    dialect.of(connection).hold_still(connection)


def take_advisory_lock(connection: Connection) -> None:
    """Waits for the lock that schema changes and seeds share; it is given back with the transaction's end.

    On SQLite a write transaction has it from its beginning.
    """
    dialect.of(connection).take_lock(connection, ADVISORY_LOCK)
