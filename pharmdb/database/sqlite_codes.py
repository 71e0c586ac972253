"""SQLite's result codes, as Python's driver carries them in `sqlite_errorcode`."""

from __future__ import annotations

import sqlite3

# Somebody else has the lock; PROTOCOL is a race for the lock of a WAL file, lost too often.
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT)


def extended(error: BaseException) -> int | None:
    """The extended code of the driver's error, also of one that SQLAlchemy wraps; None where there is none."""
    return getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)


def primary(error: BaseException) -> int | None:
    """The code without what only refines it."""
    code = extended(error)
    return None if code is None else code & 0xFF


def is_busy(error: BaseException) -> bool:
    """Whether somebody else holds the lock."""
    return primary(error) in _BUSY


def is_damaged(error: BaseException) -> bool:
    """Whether the file is no database, or a damaged one."""
    return primary(error) in _DAMAGED or is_undecodable(error)


def is_undecodable(error: BaseException) -> bool:
    """Whether a text of the file can't be read: the schema's in a message, or a value's. SQLite itself never looks.

    For a value that isn't UTF-8 the driver raises an OperationalError of its own, the only one that carries no code;
    for one that is no time pharmdb.types raises a DataError over a ValueError.
    """
    origin = getattr(error, "orig", None) or error
    return isinstance(origin, ValueError) or (type(origin) is sqlite3.OperationalError and extended(origin) is None)


def busy() -> sqlite3.OperationalError:
    """The error that the driver raises for a lock, for waits of our own."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error.sqlite_errorname = "SQLITE_BUSY"
    return error
