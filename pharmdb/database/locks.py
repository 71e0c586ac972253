"""Locks that last until the end of the transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from pharmdb.database import dialect

# Schema changes and seeds exclude each other through this lock; the number is "pharmdb" in ASCII.
ADVISORY_LOCK = int.from_bytes(b"pharmdb", "big")

# Excludes schema changes while a copy is made: "copying" in ASCII.
COPY_LOCK = int.from_bytes(b"copying", "big")


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


def exclude_copies(connection: Connection) -> None:
    """Waits until nobody copies the database from outside, and makes them wait until the end of the transaction.

    A copy's reader waits for pg_dump, which would wait for a DROP, which would wait for the reader.
    """
    dialect.of(connection).take_lock(connection, COPY_LOCK)


def exclude_schema_changes(connection: Connection) -> None:
    """Waits until nobody changes the schema, and makes them wait until the connection is closed.

    The lock outlives this transaction, because a snapshot must not begin before it is there.
    """
    dialect.of(connection).share_lock(connection, COPY_LOCK)
