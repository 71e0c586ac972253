"""Translates SQLite's errors into typed ones by result code; if a code is ambiguous, the file itself is examined."""

from __future__ import annotations

import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import exc

from pharmdb.database import environments, lock_holders, rebuilding, sqlite_codes, sqlite_reading, targets
from pharmdb.database.targets import Target
from pharmdb.errors import (
    DamagedError,
    MissingFileError,
    NoPermissionError,
    NoRoomError,
    PharmdbError,
    ReadOnlyError,
    TornSchemaError,
    UnavailableError,
)
from pharmdb.models import MODELS

_STAMP = environments.STAMP.name
# The columns that our own statements use.
_COLUMNS = {model.__tablename__: [column.key for column in model.__table__.columns] for model in MODELS} | {
    # A record that older code made has no other column.
    _STAMP: ["id", "name"],
    "alembic_version": ["version_num"],
}


def explain(target: Target, error: BaseException, *, missing: bool = False) -> PharmdbError | None:
    """The typed error for a driver error, or None if the cause is unknown.

    `missing` says that the file did not exist before the attempt.
    """
    if isinstance(error, exc.NoSuchTableError):
        return _explain_statement(target, f"no table {error}")
    if sqlite_codes.is_busy(error):
        return lock_holders.locked_error(target, f"the write lock of {target}")
    if sqlite_codes.is_damaged(error):
        return _damaged(target, str(error))
    text, code = str(error), sqlite_codes.primary(error)
    # A folder can be opened, but not read as a database.
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM) or os.path.isdir(target.path):
        return _explain_unopened(target, missing)
    if code == sqlite3.SQLITE_READONLY:
        return _explain_read_only(target, error)
    if code == sqlite3.SQLITE_ERROR:
        return _explain_statement(target, text)
    path = target.path
    if code == sqlite3.SQLITE_FULL:
        return NoRoomError(
            expected=f"free disk space to write to {target}",
            found=text,
            note=f"free space on the disk of {path.parent}",
        )
    if code == sqlite3.SQLITE_IOERR:
        return UnavailableError(
            expected=f"to read and write {target}",
            found=f"{text} ({getattr(error, 'sqlite_errorname', '')})",
            note=f"check the disk of {path.parent}: it may be full or failing",
        )
    return None


def _damaged(target: Target, found: str) -> DamagedError:
    return DamagedError(
        expected=f"an SQLite database at {target}", found=found, command=rebuilding.command(target, damaged=True)
    )


def _explain_unopened(target: Target, missing: bool) -> PharmdbError | None:
    path = target.path
    expected = f"a database at {target}"
    if os.path.isdir(path):
        return UnavailableError(
            expected=expected, found=f"{path} is a folder", note="give the path of a file in database_url"
        )
    if not os.path.exists(path.parent):
        found = f"the folder {path.parent} does not exist"
        make = f"mkdir -p {shlex.quote(str(path.parent))} && {rebuilding.command(target)}"
        return MissingFileError(expected=expected, found=found, command=make)
    if missing and sqlite_reading.may(path.parent, os.X_OK):
        return MissingFileError(expected=expected, found=f"no file {path}", command=rebuilding.command(target))
    if _read(path) is None:
        # The error is about another file, which the statement named.
        return None
    readable = sqlite_reading.may(path.parent, os.X_OK) and sqlite_reading.may(path, os.R_OK)
    if readable and not sqlite_reading.may(path.parent, os.W_OK):
        return _read_only(target, f"no permission to make the files of WAL mode in {path.parent}")
    command, note = _permit(path, "rw")
    return NoPermissionError(expected=expected, found=f"no permission for {path}", command=command, note=note)


def _permit(path: Path, modes: str) -> tuple[str, str]:
    """The chmod that gives the owner these permissions for the file and write access to its folder; a note for others.

    In WAL mode, and for a journal, files are made in the folder.
    """
    try:
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return "", f"remount the file system of {path.parent} for writing, or copy the file to another folder"
        closed = not sqlite_reading.may(path.parent, os.X_OK)
        # Nothing is known of a file in a closed folder.
        wanted = ((path.parent, "wx"), *((file, modes) for file in ([] if closed else _files(path))))
        if any(place.stat().st_uid != os.geteuid() for place, _ in wanted):
            return "", f"run the command as the user who owns {path}, or ask that user for permission"
    except OSError as error:
        return "", f"ask for permission: {error}"
    commands = [
        f"chmod u+{lacking} {shlex.quote(str(place))}"
        for place, modes in wanted
        if (lacking := "".join(mode for mode in modes if not sqlite_reading.may(place, _MODES[mode])))
    ]
    return " && ".join(commands), ""


def _files(path: Path) -> list[Path]:
    """The database and what is beside it: the files of WAL mode get the permissions of the database."""
    return [path, *(Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal") if os.path.exists(f"{path}{end}"))]


_MODES = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}


def _explain_read_only(target: Target, error: BaseException) -> ReadOnlyError:
    path = target.path
    writable = all(sqlite_reading.may(place, os.W_OK) for place in (path.parent, *_files(path)))
    if sqlite_codes.extended(error) == sqlite3.SQLITE_READONLY and writable:
        return ReadOnlyError(
            expected=f"a writable connection to {target}",
            found=f"a read-only connection ({error})",
            note="write inside transactions.writing",
        )
    return _read_only(target, f"it is read-only ({error})")


def _read_only(target: Target, found: str) -> ReadOnlyError:
    command, note = _permit(target.path, "w")
    return ReadOnlyError(expected=f"write access to {target}", found=found, command=command, note=note)


def _explain_statement(target: Target, text: str) -> PharmdbError | None:
    """SQLITE_ERROR has no code for a missing table or a broken definition, so the schema is examined."""
    if (error := _read(target.path)) is not None:
        return _damaged(target, text) if _is_unsound(error) else None
    if (error := _compile(target.path)) is not None and _is_unsound(error):
        return TornSchemaError(
            expected=f"the tables of {target} to be complete",
            found=text,
            command=targets.command(target, "pharmdb doctor"),
        )
    return None


def _is_unsound(error: sqlite3.Error | UnicodeDecodeError) -> bool:
    return sqlite_codes.primary(error) == sqlite3.SQLITE_ERROR or sqlite_codes.is_damaged(error)


def _read(path: Path) -> sqlite3.Error | UnicodeDecodeError | None:
    """The error of reading the file's schema; None if it succeeds."""
    try:
        with closing(_open(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return error
    return None


def _compile(path: Path) -> sqlite3.Error | UnicodeDecodeError | None:
    """The error of compiling statements on the tables and views; None if there is none, or no revision was applied.

    Writing statements are compiled on an empty copy of the schema, because the file is only read.
    """
    try:
        with closing(_open(path)) as connection, closing(sqlite3.connect(":memory:")) as copy:
            schema = connection.execute("SELECT name, tbl_name, type, sql FROM sqlite_master ORDER BY rowid").fetchall()
            tables = {name for name, _, kind, _ in schema if kind == "table"}
            if "alembic_version" not in tables:
                return None
            needed = {name: columns for name, columns in _COLUMNS.items() if name in tables or name != _STAMP}
            for name, columns in needed.items():
                # Qualified with the table, because SQLite treats an unknown quoted column as a string literal.
                named = ", ".join(f"{_quoted(name)}.{_quoted(column)}" for column in columns)
                connection.execute(f"EXPLAIN SELECT {named} FROM {_quoted(name)}")
            for name in (name for name, _, kind, _ in schema if kind in ("table", "view")):
                connection.execute(f"EXPLAIN SELECT * FROM {_quoted(name)}")
            for sql in (sql for _, table, _, sql in schema if table in needed and sql):
                copy.execute(sql)
            for name in needed:
                # Compiles checks, defaults, indexes and triggers.
                copy.execute(f"EXPLAIN INSERT INTO {_quoted(name)} DEFAULT VALUES")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return error
    return None


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1)
    # A name that isn't UTF-8 is not the error in question.
    connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    return connection


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
