"""The drivers' errors as typed errors that name the cause and the next command."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    exc,
)

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.database.targets import Target
from pharmdb.errors import LockedError, PharmdbError, ProtectedError, RevisionError, UnavailableError


@contextmanager
def explaining(target: Target, *, there: bool | None = None) -> Iterator[None]:
    """The drivers' errors as typed ones, where the cause is known; `there`: whether the SQLite file is known to be."""
    missing = target.is_sqlite and not (target.path.exists() if there is None else there)
    try:
        yield
    except _driver_errors() as error:
        known = explain(target, error, missing=missing or (target.is_sqlite and not target.path.exists()))
        if known is None:
            raise
        raise known from error


@contextmanager
def temporary_room() -> Iterator[None]:
    """What SQLite says of the folder for its temporary files as an UnavailableError that names this folder."""
    try:
        yield
    except sqlite3.OperationalError as error:
        folder = os.environ.get("SQLITE_TMPDIR") or os.environ.get("TMPDIR") or "/var/tmp"
        raise UnavailableError(
            expected="room for temporary files",
            found=f"{folder}: {error}",
            next=f"free space in {folder}, or name another folder: export SQLITE_TMPDIR=…",
        ) from error


def _driver_errors() -> tuple[type[Exception], ...]:
    # A damaged schema is quoted in messages that Python can't decode.
    found: tuple[type[Exception], ...] = (exc.DBAPIError, exc.NoSuchTableError, sqlite3.Error, UnicodeDecodeError)
    # Where nobody has imported psycopg, none of its errors can come.
    return (*found, sys.modules["psycopg"].Error) if "psycopg" in sys.modules else found


def explain(target: Target, error: Exception, *, missing: bool = False) -> PharmdbError | None:
    """The driver's messages, mapped to typed errors in one place. None: the cause isn't known.

    `missing`: the SQLite file was not there before.
    """
    origin = getattr(error, "orig", None) or error
    text = str(origin).strip()
    if not target.is_sqlite:
        return _explain_postgresql(target, origin, text)
    # SQLite reads the schema's own text again and again; a damaged one fails in words like these.
    torn = isinstance(origin, exc.NoSuchTableError) or re.search(r"unknown function|error in (index|table|view)", text)
    return _explain_sqlite(target, text, missing) or (_torn_schema(target, text) if torn else None)


def _locked(target: Target, what: str) -> LockedError:
    from pharmdb.database.lock_holders import holders

    who = holders(target)
    return LockedError(
        expected=f"{what} within {settings.lock_timeout():g} s",
        found="held by " + ("; ".join(map(str, who)) or "a process that can't be seen from here, or one just gone"),
        next="wait for it or stop it, then run the same command again",
    )


def _explain_sqlite(target: Target, text: str, missing: bool) -> PharmdbError | None:
    path = target.path
    if "locked" in text or "busy" in text:
        return _locked(target, f"the write lock of {target}")
    if "unable to open database file" in text or path.is_dir():
        if path.is_dir():
            found, advice = f"{path} is a folder", "name a file in database_url"
        elif not path.parent.exists():
            found, advice = f"the folder {path.parent} does not exist", f"mkdir -p {shlex.quote(str(path.parent))}"
        elif missing:
            found = f"no file {path}"
            advice = targets.command(target, "pharmdb reset")
        else:
            found, advice = f"no permission for {path}", f"ls -l {path}"
        return UnavailableError(expected=f"a database at {target}", found=found, next=advice)
    if any(word in text for word in ("not a database", "malformed", "decode", "isoformat", "unsupported file format")):
        return UnavailableError(
            expected=f"an SQLite database at {target}",
            found=text,
            next=targets.command(target, "pharmdb restore"),
        )
    if "readonly" in text or "read-only" in text:
        return UnavailableError(
            expected=f"to write to {target}", found=f"it is read-only ({text})", next=f"chmod u+w {path}"
        )
    if "no such table" in text or "no such column" in text:
        return _torn_schema(target, text)
    if "full" in text or "disk I/O error" in text:
        return UnavailableError(
            expected=f"room to write to {target}", found=text, next=f"free space on the disk of {path.parent}"
        )
    return None


def _torn_schema(target: Target, found: str) -> RevisionError:
    return RevisionError(
        expected=f"the tables of {target} to be there", found=found, next=targets.command(target, "pharmdb doctor")
    )


def _explain_postgresql(target: Target, origin: BaseException, text: str) -> PharmdbError | None:
    from psycopg import errors

    first = text.splitlines()[0] if text else type(origin).__name__
    if isinstance(origin, errors.LockNotAvailable | errors.DeadlockDetected):
        return _locked(target, f"a lock in {target}")
    if isinstance(origin, errors.UndefinedTable):
        return _torn_schema(target, first)
    if isinstance(origin, errors.DependentObjectsStillExist):
        return ProtectedError(
            expected="nothing to hang on what is dropped",
            found=" ".join(text.split()),
            unchanged="everything was rolled back",
            next="drop what it names yourself, then run the same command again",
        )
    if (getattr(origin, "sqlstate", None) or "").startswith(("57P", "08")):
        return UnavailableError(
            expected=f"{target} to stay connected",
            found=first,
            unchanged="what was under way was rolled back",
            next="run the same command again, once the server answers",
        )
    if isinstance(origin, errors.FeatureNotSupported) and "cached plan" in text:
        return UnavailableError(
            expected=f"the schema of {target} to stay as it is while it is used",
            found=first,
            unchanged="what was under way was rolled back",
            next="run the same command again",
        )
    if isinstance(origin, errors.InvalidSchemaName):
        return UnavailableError(
            expected=f"a schema in {target} that the search path names", found=first, next="CREATE SCHEMA public"
        )
    if isinstance(origin, errors.InsufficientPrivilege):
        return UnavailableError(
            expected=f"the rights for this in {target}",
            found=first,
            next="connect as the owner, or let the owner GRANT what is missing",
        )
    if isinstance(origin, errors.ReadOnlySqlTransaction):
        return UnavailableError(expected=f"to write to {target}", found=first, next="use a database that takes writes")
    if isinstance(origin, errors.DiskFull):
        return UnavailableError(expected=f"room to write to {target}", found=first, next="free space on the server")
    if "password" in text and isinstance(origin, errors.OperationalError):
        found, advice = first, "correct the password in PHARMDB_URL or ~/.pgpass"
    elif "does not exist" in text and "database" in text:
        found, advice = first, f"createdb {target.name}"
    elif isinstance(origin, errors.OperationalError) and origin.sqlstate is None:
        found, advice = first, "start the server, or correct host and port in PHARMDB_URL"
    else:
        return None
    return UnavailableError(expected=f"an answer from {target}", found=found, next=advice)
