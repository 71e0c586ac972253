"""Translates driver errors into typed errors that name the cause and what to do next.

The error codes decide, never the message texts: a message may quote a user's statement or data.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    exc,
)

from pharmdb.database import postgresql_errors, sqlite_codes, sqlite_errors
from pharmdb.database.targets import Target
from pharmdb.errors import NoRoomError, PharmdbError

_EXAMINED = "pharmdb_examined"


@contextmanager
def explaining(target: Target, *, there: bool | None = None) -> Iterator[None]:
    """Translates driver errors into typed ones if the cause is known.

    `there` says whether the SQLite file exists, if the caller knows. Raises what `explain` returns, or the driver's
    own error.
    """
    missing = target.is_sqlite and not (target.path.exists() if there is None else there)
    try:
        yield
    except _driver_errors() as error:
        if _EXAMINED in vars(error):
            raise
        known = explain(target, error, missing=missing or (target.is_sqlite and not target.path.exists()))
        if known is None:
            # If one database is read while another is written, only the innermost context knows whose error it is.
            vars(error)[_EXAMINED] = True
            raise
        raise known from error


def _driver_errors() -> tuple[type[Exception], ...]:
    # SQLite quotes a damaged schema in messages that Python can't decode.
    found: tuple[type[Exception], ...] = (exc.DBAPIError, exc.NoSuchTableError, sqlite3.Error, UnicodeDecodeError)
    # As long as psycopg isn't imported, none of its errors can occur.
    return (*found, sys.modules["psycopg"].Error) if "psycopg" in sys.modules else found


def explain(target: Target, error: Exception, *, missing: bool = False) -> PharmdbError | None:
    """The typed error for a driver error, wrapped by SQLAlchemy or not; None if the cause is unknown.

    `missing` says that the SQLite file did not exist before the attempt.
    """
    origin = getattr(error, "orig", None) or error
    if target.is_sqlite:
        return sqlite_errors.explain(target, origin, missing=missing)
    return postgresql_errors.explain(target, origin)


_TEMPORARY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


@contextmanager
def temporary_room() -> Iterator[None]:
    """Raises NoRoomError with the folder of SQLite's temporary files if they fill its disk."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if sqlite_codes.primary(error) not in _TEMPORARY:
            raise
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
        raise NoRoomError(
            expected="room for temporary files",
            found=f"{folder}: {error}",
            note=f"free space in {folder}, or choose another folder: export SQLITE_TMPDIR=…",
        ) from error
