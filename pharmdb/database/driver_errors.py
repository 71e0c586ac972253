"""The drivers' errors as typed errors that name the cause and what to do next: by their codes, never by their words.

A message may quote a user's own statement or data; a code can't.
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
    """The drivers' errors as typed ones, where the cause is known; `there`: whether the SQLite file is known to be.

    Raises what `explain` returns, or the driver's own error.
    """
    missing = target.is_sqlite and not (target.path.exists() if there is None else there)
    try:
        yield
    except _driver_errors() as error:
        if _EXAMINED in vars(error):
            raise
        known = explain(target, error, missing=missing or (target.is_sqlite and not target.path.exists()))
        if known is None:
            # Where one database is read while another is written, the innermost knows best whose error it is.
            vars(error)[_EXAMINED] = True
            raise
        raise known from error


def _driver_errors() -> tuple[type[Exception], ...]:
    # A damaged schema is quoted in messages that Python can't decode.
    found: tuple[type[Exception], ...] = (exc.DBAPIError, exc.NoSuchTableError, sqlite3.Error, UnicodeDecodeError)
    # Where nobody has imported psycopg, none of its errors can come.
    return (*found, sys.modules["psycopg"].Error) if "psycopg" in sys.modules else found


def explain(target: Target, error: Exception, *, missing: bool = False) -> PharmdbError | None:
    """The typed error for a driver's, also for one that SQLAlchemy wraps. None: the cause isn't known.

    `missing`: the SQLite file was not there before.
    """
    origin = getattr(error, "orig", None) or error
    if target.is_sqlite:
        return sqlite_errors.explain(target, origin, missing=missing)
    return postgresql_errors.explain(target, origin)


_TEMPORARY = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


@contextmanager
def temporary_room() -> Iterator[None]:
    """Raises NoRoomError, which names the folder for SQLite's temporary files, where they find no room."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if sqlite_codes.primary(error) not in _TEMPORARY:
            raise
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
        raise NoRoomError(
            expected="room for temporary files",
            found=f"{folder}: {error}",
            note=f"free space in {folder}, or name another folder: export SQLITE_TMPDIR=…",
        ) from error
