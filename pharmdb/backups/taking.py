"""The backup command: copies one snapshot and verifies the copy before it is listed as a backup."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection, inspect

from pharmdb import reports
from pharmdb.arguments import checked
from pharmdb.backups import (
    files,
    keeping,
    manifests,
    postgresql_dumps,
    postgresql_rows,
    sqlite_copies,
    sqlite_integrity,
)
from pharmdb.backups.manifests import Backup
from pharmdb.database import (
    driver_errors,
    environments,
    identities,
    locks,
    placements,
    rebuilding,
    targets,
    transactions,
)
from pharmdb.errors import BackupError, MissingProgramError, ParameterError, UnsoundSourceError
from pharmdb.schema import revisions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BackupReport:
    """What was backed up: `tables` (table, rows), `backups` (the table of list_backups), `outcome`.

    `backup` is None if the backups were only listed.
    """

    target: str
    backup: Backup | None
    all: list[Backup] = field(repr=False)

    @property
    def tables(self) -> pd.DataFrame:
        return manifests.contents(self.backup.tables if self.backup else {})

    @property
    def backups(self) -> pd.DataFrame:
        return manifests.table_of(self.all)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{self.backup.rows} rows backed up and verified" if self.backup else "nothing",
            sha256=self.backup.sha256 if self.backup else "",
            next=targets.command(self.target, "pharmdb restore" if self.all else "pharmdb backup"),
        )


@checked
def backup(database_url: str = "", *, list_only: bool = False) -> BackupReport:
    """Backs up the database to the backup folder while others continue to write, and verifies the copy.

    On a Citus cluster others wait with writing until the backup is complete.
    With `list_only` the existing backups are listed; the database is only asked which one it is.

    Raises BackupError if there is nothing to back up or the copy is faulty, UnavailableError, LockedError.
    """
    target = targets.target(database_url)
    taken = None if list_only else taken_of(target)
    return BackupReport(str(target), taken, manifests.of(target))


def taken_of(target: targets.Target) -> Backup:
    """Backs up a database while others continue to write. Raises what `backup` does."""
    with transactions.copying(target) as connection, _still(connection, target) as source:
        taken = take(source, target, advise=False)
    if taken is None:
        raise BackupError(
            expected=f"tables in {target}", found="no table", command=targets.command(target, "pharmdb migrate")
        )
    return taken


@contextmanager
def _still(connection: Connection, target: targets.Target) -> Iterator[Connection]:
    """The connection itself; for a distributed database another one, which keeps others from writing.

    Each node of a Citus cluster has its own snapshot: without the locks, a backup could hold one half of a transaction.
    """
    if not placements.placements(connection):
        yield connection
        return
    with transactions.writing(target) as holder:
        locks.lock_tables(holder)
        yield holder


def take(
    connection: Connection,
    target: targets.Target,
    *,
    before_restore_of: str = "",
    place: targets.Target | None = None,
    advise: bool = True,
) -> Backup | None:
    """Takes and verifies a backup of the connection's database; None if it has no tables.

    At the beginning of a write transaction, the backup is exactly the content that the transaction will change: nobody
    else can write between backup and operation. `before_restore_of` names the backup that is about to replace this
    content, so that it is not deleted as an old one. `place` is where to read an SQLite file from, if not its own path.
    With `advise` the errors say how to continue without a backup.

    Raises BackupError, UnavailableError or LockedError; no part of a backup is then left behind.
    """
    if not inspect(connection).get_table_names():
        return None
    heads = revisions.current_heads(connection)
    identity = identities.of(connection, target)
    rest = f"{quote(target.name, safe='').replace('_', '%5F')}_{'+'.join(heads) or 'none'}"
    with _advising(advise), keeping.partial(rest + manifests.SUFFIXES[target.dialect.name]) as (taken_at, path):
        write = {"sqlite": _copy, "postgresql": _dump}
        rows, sha256 = write[target.dialect.name](connection, target, place or target, path)
        entry = Backup(
            name=keeping.final_name(path),
            taken_at=taken_at.isoformat(),
            database=target.name,
            database_id=identity.database_id,
            machine=identity.machine,
            place=identity.place,
            target=identity.url,
            host=identity.host,
            before_restore_of=before_restore_of,
            dialect=target.dialect.name,
            revision=", ".join(heads) or "none",
            environment=environments.environment(connection),
            tables=rows,
            sha256=sha256,
            size=path.stat().st_size,
        )
        return keeping.publish(path, entry)


@contextmanager
def _advising(advise: bool) -> Iterator[None]:
    """Adds to the errors of a backup how to continue without one."""
    try:
        yield
    except (BackupError, MissingProgramError, ParameterError) as error:
        if not advise:
            raise
        parts = {name: getattr(error, name) for name in ("expected", "found", "command", "unchanged")}
        note = "; ".join(filter(None, (error.note, manifests.NO_BACKUP)))
        raise type(error)(**parts, note=note) from error.__cause__


def _copy(
    connection: Connection, target: targets.Target, place: targets.Target, copy: Path
) -> tuple[dict[str, int], str]:
    """Copies one snapshot, compares the copy with it and checks its integrity.

    Returns the number of rows in each table, and the copy's SHA-256.
    """
    with sqlite_copies.snapshot_sqlite(place.path, copy) as snapshot, sqlite_integrity.SideBySide() as side:
        sqlite_copies.copy_sqlite(snapshot, copy)
        # The disk can begin to write while the copy is checked.
        flushed, hashed = side.begin(partial(files.sync, copy)), side.begin(partial(files.sha256, copy))
        side.check(partial(sqlite_integrity.compare_sqlite, side.watch(snapshot)))
        sqlite_integrity.begin_checks(side, copy)
        if faults := side.findings()[:5]:
            raise UnsoundSourceError(
                expected="a sound database to back up",
                found="; ".join(faults),
                command=rebuilding.command(target, damaged=True),
            )
        flushed.result()
        return sqlite_integrity.count_sqlite(snapshot), hashed.result()


def _dump(
    connection: Connection, target: targets.Target, place: targets.Target, copy: Path
) -> tuple[dict[str, int], str]:
    """Dumps one snapshot and compares the rows in the dump with it. Returns their numbers and the dump's SHA-256."""
    with (
        driver_errors.explaining(target),
        _snapshot(target, connection) as reader,
        postgresql_dumps.dumping(reader, target, copy) as dump,
    ):
        source = postgresql_rows.stored_rows(reader)
    with ThreadPoolExecutor(1) as pool:
        flushed, sha256 = pool.submit(files.sync, copy), files.sha256(copy)
        if dump.rows != source or dump.sha256 != sha256:
            raise BackupError(
                expected="a dump with the same rows as the database",
                found="a dump with other rows" if dump.rows != source else "a file that differs from what was dumped",
                note="run the same command again",
            )
        flushed.result()
    return postgresql_rows.counts(source), sha256


def _snapshot(target: targets.Target, connection: Connection) -> AbstractContextManager[Connection]:
    """A read-only connection has a snapshot to use; for a writing one a new reader is opened."""
    driver: Any = connection.connection.driver_connection
    return nullcontext(connection) if driver.read_only else transactions.reading(target)
