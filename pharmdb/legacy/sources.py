"""Where an old database lies, and how it is read without leaving a trace."""

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

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pharmdb.backups import sqlite_copies
from pharmdb.database import driver_errors, targets, transactions
from pharmdb.errors import BackupError, LockedError, ParameterError, PharmdbError, UnavailableError

# What Prisma's URLs say to Prisma; libpq knows none of it.
_PRISMA_ONLY = ("connection_limit", "pool_timeout", "socket_timeout", "pgbouncer", "statement_cache_size", "schema")
SIDE_FILES = ("-wal", "-shm", "-journal")


def source_target(source: str = "") -> targets.Target:
    """The old database: a path, an SQLAlchemy URL, or a URL as Prisma writes it; empty: PHARMDB_SOURCE.

    A relative path starts at the project's root. Raises ParameterError.
    """
    name = "source" if source else "PHARMDB_SOURCE"
    text = source or os.environ.get("PHARMDB_SOURCE") or ""
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ParameterError(
            expected="source: the path or the URL of the old database",
            found=f"{name} = {text!r}" if text else "neither source nor PHARMDB_SOURCE",
            next="pharmdb upgrade --source old.db",
        )
    if text.startswith("file:"):
        text = text.removeprefix("file:").partition("?")[0]
    if "://" not in text:
        return targets.of_file(Path(text).expanduser())
    return targets.named(name, _without_prisma(text), secret=not source)


def _without_prisma(text: str) -> str:
    """A URL as SQLAlchemy takes it; Prisma's `schema` becomes the search path."""
    text = re.sub(r"^postgres:", "postgresql:", text)
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return text
    schema = url.query.get("schema")
    if not url.drivername.startswith("postgresql"):
        return text
    url = url.difference_update_query(_PRISMA_ONLY)
    if isinstance(schema, str):
        path = f'-csearch_path="{schema}"'
        url = url.update_query_dict({"options": path.replace("\\", "\\\\").replace(" ", "\\ ")})
    return url.render_as_string(hide_password=False)


def refuse_same(old: targets.Target, target: targets.Target) -> None:
    """Raises ParameterError where both are one database."""
    if old.is_sqlite and target.is_sqlite:
        same = old.path.exists() and target.path.exists() and old.path.samefile(target.path)
    else:
        same = old.identity == target.identity and old.url.query.get("options") == target.url.query.get("options")
    if same:
        raise ParameterError(
            expected="a source and a database_url that are two databases",
            found=f"{target} as both",
            next=f"pharmdb upgrade --source {old} --database-url sqlite:///data/upgraded.db",
        )


@contextmanager
def told_of(old: targets.Target) -> Iterator[None]:
    """What fails in here is about the source: the error says so, and does not advise to restore or reset it."""
    try:
        with driver_errors.explaining(old):
            yield
    except (BackupError, LockedError, UnavailableError) as error:
        raise type(error)(
            expected=error.expected,
            found=error.found,
            unchanged="the source and the target",
            next=_advice(old, error),
        ) from error


def _advice(old: targets.Target, error: PharmdbError) -> str:
    if isinstance(error, LockedError):
        return error.next
    path = shlex.quote(str(old.path))
    recover = f"sqlite3 {path} .recover | sqlite3 recovered.db && pharmdb upgrade --source recovered.db"
    if isinstance(error, BackupError):
        # Without the way round a backup: an upgrade has none.
        return error.next.partition("; or")[0] if "free space" in error.next or not old.is_sqlite else recover
    return recover if "malformed" in error.found else f"look whether {old} is the old database, and may be read"


@contextmanager
def undisturbed(old: targets.Target) -> Iterator[targets.Target]:
    """The database to read from. Nothing beside the source is changed, made or left behind.

    A file that can't be opened where it lies (a read-only medium with a -wal beside it) is read from a private copy.
    """
    if not old.is_sqlite or not old.path.is_file():
        yield old
        return
    wal, shm = (Path(f"{old.path}{end}").exists() for end in ("-wal", "-shm"))
    if wal and not shm:
        # Left by somebody who was killed, and in use by nobody: a reader would leave a -shm there.
        with _private_copy(old) as copy:
            yield copy
        return
    try:
        try:
            with transactions.watching(old) as connection:
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        except UnavailableError as error:
            if not error.found.startswith(("no permission", "it is read-only")) or not os.access(old.path, os.R_OK):
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
        # What a -wal or a -journal still holds is brought in here, in the copy.
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield targets.of_file(path)


def _tidy(path: Path) -> None:
    """A reader of a WAL file leaves an empty -wal and a -shm; SQLite itself removes them with the last writer."""
    wal = Path(f"{path}-wal")
    if not wal.exists() or wal.stat().st_size:
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def refuse_damaged(place: targets.Target) -> None:
    """Raises UnavailableError for a file that fails SQLite's integrity check."""
    faults = sqlite_copies.check_sqlite(place.path) if place.is_sqlite else []
    if faults:
        raise UnavailableError(expected=f"a sound file at {place}", found=f"malformed: {'; '.join(faults)}", next="")
