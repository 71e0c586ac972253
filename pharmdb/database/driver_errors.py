"""Translates driver errors into typed errors that name the cause and what to do next.

The error codes decide, never the message texts: a message may quote a user's statement or data.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import (
    exc,
)

from pharmdb import settings
from pharmdb.database import postgresql_errors, sqlite_codes, sqlite_errors, sqlite_reading
from pharmdb.database.targets import Target
from pharmdb.errors import NoPermissionError, NoRoomError, PharmdbError

_EXAMINED = "pharmdb_examined"


@contextmanager
def explaining(target: Target, *, there: bool | None = None) -> Iterator[None]:
    """Translates driver errors into typed ones if the cause is known.

    `there` says whether the SQLite file exists, if the caller knows. Raises what `explain` returns, or the driver's
    own error.
    """
    # Unlike Path.exists, os.path.exists raises nothing in a folder without permission.
    missing = target.is_sqlite and not (os.path.exists(target.path) if there is None else there)
    try:
        yield
    except _driver_errors() as error:
        if _EXAMINED in vars(error):
            raise
        known = explain(target, error, missing=missing or (target.is_sqlite and not os.path.exists(target.path)))
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


@contextmanager
def temporary_room() -> Iterator[None]:
    """Names the folder of SQLite's temporary files if they fill its disk or can't be made.

    Raises NoRoomError or NoPermissionError.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        kind = _TEMPORARY.get(sqlite_codes.primary(error) or 0)
        if kind is None:
            raise
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
        places = ("/var/tmp", "/tmp", str(settings.home()))
        usable = [place for place in places if place != folder and _may_write(place)]
        roomy = max(usable, key=lambda place: shutil.disk_usage(place).free, default="")
        advice = f"free space in {folder}" if kind is NoRoomError else f"make {folder} writable"
        raise kind(
            expected="room for temporary files" if kind is NoRoomError else "permission for temporary files",
            found=f"{folder}: {error}",
            command=f"export SQLITE_TMPDIR={shlex.quote(roomy)}" if roomy else "",
            note=f"or {advice}" if roomy else advice,
        ) from error


_TEMPORARY: dict[int, type[NoRoomError | NoPermissionError]] = {
    sqlite3.SQLITE_FULL: NoRoomError,
    sqlite3.SQLITE_IOERR: NoRoomError,
    sqlite3.SQLITE_CANTOPEN: NoPermissionError,
}


def _may_write(folder: str) -> bool:
    return os.path.isdir(folder) and sqlite_reading.may(Path(folder), os.W_OK | os.X_OK)
