"""SQLite's result codes, which Python's driver reports in `sqlite_errorcode`."""

from __future__ import annotations

import sqlite3

# Another connection holds the lock; PROTOCOL: the race for the lock of a WAL file was lost too often.
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def extended(error: BaseException) -> int | None:
    """The extended code of a driver error, wrapped by SQLAlchemy or not; None if it has none."""
    return getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)


def primary(error: BaseException) -> int | None:
    """The primary code: the extended code without its refinement."""
    code = extended(error)
    return None if code is None else code & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether another connection holds the lock."""
    return primary(error) in _BUSY


def is_damaged(error: BaseException) -> bool:
    """Whether the file is not a database, or a damaged one."""
    return primary(error) in _DAMAGED or is_undecodable(error)


def is_undecodable(error: BaseException) -> bool:
    """Whether a text in the file can't be decoded: a value, or the schema in a message. SQLite itself never checks.

    For a value that isn't UTF-8 the driver raises an OperationalError of its own, the only one without a code; for a
    malformed time pharmdb.types raises a DataError that wraps a ValueError.
    """
    origin = getattr(error, "orig", None) or error
    return isinstance(origin, ValueError) or (type(origin) is sqlite3.OperationalError and extended(origin) is None)


def busy() -> sqlite3.OperationalError:
    """The error that the driver raises for a lock, for our own waiting loops."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error.sqlite_errorname = "SQLITE_BUSY"
    return error
