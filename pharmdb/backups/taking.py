"""The backup command: copies one snapshot and verifies the copy before it is listed as a backup."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection, inspect

from pharmdb import reports
from pharmdb.arguments import checked
from pharmdb.backups import files, manifests, postgresql_dumps, sqlite_copies
from pharmdb.backups.manifests import Backup
from pharmdb.database import driver_errors, environments, sqlite_codes, targets, transactions
from pharmdb.errors import BackupError, NoRoomForBackupError, UnsoundSourceError
from pharmdb.models import MODELS
from pharmdb.schema import revisions
from pharmdb.schema.fingerprints import fingerprint

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
            fingerprint=self.backup.fingerprint if self.backup else "",
            next=targets.command(self.target, "pharmdb restore" if self.all else "pharmdb backup"),
        )


@checked
def backup(database_url: str = "", *, list_only: bool = False) -> BackupReport:
    """Backs up the database to the backup folder while others continue to write, and verifies the copy.

    With `list_only` the existing backups are listed, and the database is not even opened.

    Raises BackupError if there is nothing to back up or the copy is faulty, UnavailableError, LockedError.
    """
    target = targets.target(database_url)
    if list_only:
        return BackupReport(str(target), None, manifests.of(target))
    with transactions.reading(target) as connection:
        taken = take(connection, target)
    if taken is None:
        raise BackupError(
            expected=f"tables in {target}", found="no table", command=targets.command(target, "pharmdb reset")
        )
    return BackupReport(str(target), taken, manifests.of(target))


def take(
    connection: Connection, target: targets.Target, *, before_restore_of: str = "", place: targets.Target | None = None
) -> Backup | None:
    """Takes and verifies a backup of the connection's database; None if it has no tables.

    At the beginning of a write transaction, the backup is exactly the content that the transaction will change: nobody
    else can write between backup and operation. `before_restore_of` names the backup that is about to replace this
    content, so that it is not deleted as an old one. `place` is where to read an SQLite file from, if not its own path.

    Raises BackupError, UnavailableError or LockedError; no part of a backup is then left behind.
    """
    if not inspect(connection).get_table_names():
        return None
    taken_at = datetime.now(UTC)
    heads = revisions.current_heads(connection)
    name = "_".join(
        (
            f"{taken_at:%Y%m%dT%H%M%S.%fZ}",
            quote(target.name, safe="").replace("_", "%5F"),
            "+".join(heads) or "none",
        )
    )
    name += manifests.SUFFIXES[target.dialect.name]
    with _partial(name) as partial:
        write = {"sqlite": _copy, "postgresql": _dump}
        digest, mark = write[target.dialect.name](connection, target, place or target, partial)
        entry = Backup(
            name=name,
            taken_at=taken_at.isoformat(),
            database=target.name,
            target=target.identity,
            before_restore_of=before_restore_of,
            dialect=target.dialect.name,
            revision=", ".join(heads) or "none",
            environment=environments.environment(connection),
            fingerprint=mark,
            tables=digest.rows,
            digest=digest.sha256,
            sha256=files.sha256(partial),
            size=partial.stat().st_size,
        )
        _publish(partial, entry)
    _make_room(entry)
    return entry


@contextmanager
def _partial(name: str) -> Iterator[Path]:
    """A file that only its owner can read; it is always removed at the end."""
    manifests.folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = manifests.folder() / f"{name}.{os.getpid()}.partial"
    for old in manifests.folder().glob("*.partial*"):
        if _is_alive(old):
            continue
        published = old.with_name(old.name.split(".partial")[0].rpartition(".")[0])
        if not Path(f"{published}.json").exists():
            # Killed between renaming the backup and its manifest: without a manifest it is not a backup.
            published.unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield path
    except (OSError, sqlite3.Error) as error:
        if sqlite_codes.is_busy(error):
            # The lock is on the source: nobody else knows the copy.
            raise
        raise _failed(error) from error
    finally:
        for left in (path, *(Path(f"{path}{end}") for end in ("-journal", "-wal", "-shm", ".json"))):
            left.unlink(missing_ok=True)


def _is_alive(partial: Path) -> bool:
    """Whether the process that writes this file is still running; its process ID is in the file name."""
    import psutil

    number = partial.name.split(".partial")[0].rpartition(".")[2]
    # A file without a process ID is not ours to remove.
    return not number.isdecimal() or psutil.pid_exists(int(number))


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def _failed(error: OSError | sqlite3.Error) -> BackupError:
    kind: type[BackupError]
    kind, advice = BackupError, "fix the reported problem"
    if sqlite_codes.is_damaged(error):
        kind, advice = UnsoundSourceError, "restore an older backup"
    elif getattr(error, "errno", None) in _NO_ROOM or sqlite_codes.primary(error) == sqlite3.SQLITE_FULL:
        kind = NoRoomForBackupError
        advice = f"free space in {manifests.folder()} (pharmdb keeps the newest {manifests.KEPT} backups)"
    return kind(
        expected=f"a backup in {manifests.folder()}",
        found=str(error),
        unchanged="the database; no part of a backup was left behind",
        note=f"{advice}, then run the same command again; {manifests.NO_BACKUP}",
    )


def _copy(
    connection: Connection, target: targets.Target, place: targets.Target, copy: Path
) -> tuple[postgresql_dumps.Digest, str]:
    """Copies one snapshot, compares the copy with it, checks its integrity and computes its fingerprint."""
    with sqlite_copies.snapshot_sqlite(place.path, copy) as snapshot, ThreadPoolExecutor(1) as pool:
        sqlite_copies.copy_sqlite(snapshot, copy)
        # SQLite releases the GIL, so the checks run in parallel.
        compared = pool.submit(sqlite_copies.compare_sqlite, snapshot)
        checked = pool.submit(sqlite_copies.check_sqlite, copy)
        with transactions.reading(targets.of_file(copy)) as reader:
            mark = _fingerprint(reader)
        faults = checked.result() or compared.result()
        rows = {} if faults else sqlite_copies.count_sqlite(snapshot)
    if faults:
        raise UnsoundSourceError(
            expected="a sound database to back up",
            found="; ".join(faults),
            command=targets.command(target, "pharmdb restore"),
            note=f"this restores the newest backup; {manifests.NO_BACKUP}",
        )
    return postgresql_dumps.Digest(rows, ""), mark


def _dump(
    connection: Connection, target: targets.Target, place: targets.Target, copy: Path
) -> tuple[postgresql_dumps.Digest, str]:
    """Dumps one snapshot, and compares the content of the dump with the snapshot."""
    with driver_errors.explaining(target), _snapshot(target, connection) as reader:
        server = postgresql_dumps.server_version(reader)
        with postgresql_dumps.dumping(reader, target, copy):
            source = postgresql_dumps.digest_postgresql(reader)
            mark = _fingerprint(reader)
    if postgresql_dumps.digest_dump(copy, server) != source:
        raise BackupError(
            expected="a dump with the same rows as the database",
            found="a dump with other rows",
            note=f"run the same command again; {manifests.NO_BACKUP}",
        )
    return source, mark


def _snapshot(target: targets.Target, connection: Connection) -> AbstractContextManager[Connection]:
    """A read-only connection has a snapshot to use; for a writing one a new reader is opened."""
    driver: Any = connection.connection.driver_connection
    return nullcontext(connection) if driver.read_only else transactions.reading(target)


def _fingerprint(connection: Connection) -> str:
    """The fingerprint; "" if the schema isn't at head or lacks a table."""
    if not revisions.is_at_head(connection):
        return ""
    if not {model.__tablename__ for model in MODELS} <= set(inspect(connection).get_table_names()):
        return ""
    return fingerprint(connection)


def _publish(partial: Path, entry: Backup) -> None:
    """Renames backup and manifest, both already flushed to disk; the manifest comes last, as only it makes a backup."""
    manifest = Path(f"{partial}.json")
    with os.fdopen(os.open(manifest, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(entry), file, indent=1)
    for path in (partial, manifest):
        files.sync(path)
    partial.rename(entry.path)
    manifest.rename(f"{entry.path}.json")
    files.sync(manifests.folder())


def _make_room(newest: Backup) -> None:
    """Keeps the newest backups of the database, including the one just verified, and deletes the others."""
    same = [b for b in manifests.known() if (b.target, b.dialect) == (newest.target, newest.dialect)]
    for old in same[manifests.KEPT :]:
        if old.name != newest.before_restore_of:
            Path(f"{old.path}.json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
