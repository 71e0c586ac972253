"""Locates an old database, and reads it without changing anything or leaving files behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from pharmdb.backups import manifests, sqlite_integrity
from pharmdb.database import driver_errors, targets, transactions
from pharmdb.errors import (
    BackupError,
    DamagedError,
    LockedError,
    MissingProgramError,
    NoPermissionError,
    NoRoomForBackupError,
    ParameterError,
    PharmdbError,
    ReadOnlyError,
    UnavailableError,
    UnsoundSourceError,
)

SIDE_FILES = ("-wal", "-shm", "-journal")


def source_target(source: str = "") -> targets.Target:
    """The old database: a path, an SQLAlchemy URL, or a Prisma URL; if empty, PHARMDB_SOURCE is used.

    A relative path starts at the project's root. Raises ParameterError.
    """
    name = "source" if source else "PHARMDB_SOURCE"
    text = source or os.environ.get("PHARMDB_SOURCE") or ""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ParameterError(
            expected="source: the path or the URL of the old database",
            found=f"{name} = {text!r}" if text else "neither source nor PHARMDB_SOURCE is set",
            note="name its file with --source, or its URL in PHARMDB_SOURCE",
        )
    # A mistyped URL is no path: it would be shown.
    if "://" in text or re.match(r"(?:file|postgres|mysql|prisma|sqlite)[\w+]*:", text):
        return targets.named(name, text, secret=not source)
    return targets.of_file(Path(text).expanduser())


def command(old: targets.Target, *options: str) -> str:
    """The command that upgrades this source; --source is omitted if PHARMDB_SOURCE is the same database."""
    try:
        own = str(source_target()) == str(old)
    except ParameterError:
        own = False
    source = () if own else ("--source", shlex.quote(str(old)))
    return " ".join(("pharmdb upgrade", *source, *options))


def refuse_same(old: targets.Target, target: targets.Target, command: str) -> None:
    """Raises ParameterError if both are the same database; `command` is what runs this upgrade."""
    if old.is_sqlite and target.is_sqlite:
        same = old.path.exists() and target.path.exists() and old.path.samefile(target.path)
    else:
        same = old.identity == target.identity and old.url.query.get("options") == target.url.query.get("options")
    if same:
        raise ParameterError(
            expected="source and database_url to be different databases",
            found=f"{target} for both",
            command=f"{command} --database-url sqlite:///data/upgraded.db",
        )


@contextmanager
def told_of(old: targets.Target, place: targets.Target | None = None, options: str = "") -> Iterator[None]:
    """Attributes driver errors in this block to the source, without the advice to restore or reset it.

    `options` are those of this upgrade except --source, as they are typed.
    """
    try:
        with driver_errors.explaining(place or old):
            yield
    except (BackupError, LockedError, UnavailableError) as error:
        command, note = _advice(old, error, options)
        raise type(error)(
            expected=error.expected,
            found=error.found,
            unchanged="the source and the target",
            command=command,
            note=note,
        ) from error


def _advice(old: targets.Target, error: PharmdbError, options: str) -> tuple[str, str]:
    """Command and note."""
    if isinstance(error, LockedError):
        return error.command, error.note
    if isinstance(error, UnsoundSourceError | DamagedError) and old.is_sqlite:
        path = shlex.quote(str(old.path))
        # Not .recover, which Debian's sqlite3 lacks; what can't be read would end the script with a ROLLBACK.
        read = f"sqlite3 {path} .dump | sed 's/^ROLLBACK.*/COMMIT;/' | sqlite3 recovered.db"
        return f"{read} && pharmdb upgrade --source recovered.db{options}", ""
    if isinstance(error, NoRoomForBackupError):
        return "", f"free space in {manifests.folder()}, then run the same command again; {manifests.NO_BACKUP}"
    if isinstance(error, MissingProgramError):
        return "", f"install it, then run the same command again; {manifests.NO_BACKUP}"
    if isinstance(error, BackupError):
        return "", f"fix the reported problem, then run the same command again; {manifests.NO_BACKUP}"
    return "", f"check that {old} is the old database and that you may read it"


@contextmanager
def undisturbed(old: targets.Target) -> Iterator[targets.Target]:
    """Yields the database to read from. The source's folder is left exactly as it was.

    A file that can't be opened in place (such as one on a read-only medium, with a -wal) is read from a private copy.
    """
    if not old.is_sqlite or not old.path.is_file():
        yield old
        return
    wal, shm = (Path(f"{old.path}{end}").exists() for end in ("-wal", "-shm"))
    if wal and not shm:
        # Left behind by a killed process, and not in use; reading it in place would leave a -shm file there.
        with _private_copy(old) as copy:
            yield copy
        return
    try:
        try:
            with transactions.watching(old) as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        except (NoPermissionError, ReadOnlyError):
            if not os.access(old.path, os.R_OK):
                raise
            with _private_copy(old) as copy:
                yield copy
            return
        yield old
    finally:
        if not wal:
            _tidy(old.path)


@contextmanager
def _private_copy(old: targets.Target) -> Iterator[targets.Target]:
    with TemporaryDirectory(prefix="pharmdb-") as folder:
        path = Path(folder) / "source.db"
        shutil.copyfile(old.path, path)
        for end in SIDE_FILES:
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{old.path}{end}", f"{path}{end}")
        # Applies what a -wal or -journal still holds, to the copy only.
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield targets.of_file(path)


def _tidy(path: Path) -> None:
    """Removes the empty -wal and the -shm that reading a WAL database leaves: closing a writable connection does it."""
    wal = Path(f"{path}-wal")
    if not wal.exists() or wal.stat().st_size:
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def refuse_damaged(place: targets.Target) -> None:
    """Raises DamagedError if the file fails SQLite's integrity check."""
    faults = sqlite_integrity.check_sqlite(place.path) if place.is_sqlite else []
    if faults:
        raise DamagedError(expected=f"an undamaged database in {place}", found="; ".join(faults))
