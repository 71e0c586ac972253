"""The restore command: backs up the current content, then replaces it with a backup."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from pharmdb import reports
from pharmdb.backups import files, manifests, postgresql_dumps, sqlite_copies, taking
from pharmdb.backups.manifests import Backup
from pharmdb.database import driver_errors, engines, environments, locks, targets, time_zone, transactions
from pharmdb.errors import BackupError, ProtectedError, RevisionError, UnavailableError
from pharmdb.schema import dropping, revisions

if TYPE_CHECKING:
    import pandas as pd


TRIES = 3


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did.

    `restored` and `replaced`: table (str), rows (int64), the content now and before; `backups`: the table of
    list_backups. `fingerprint`: of the restored content, "" if its schema is an old one.
    """

    target: str
    backup: Backup
    before: Backup | None
    behind: bool
    all: list[Backup] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        return self.backup.fingerprint

    @property
    def restored(self) -> pd.DataFrame:
        return self.backup.contents

    @property
    def replaced(self) -> pd.DataFrame:
        return manifests.contents(self.before.tables if self.before else {})

    @property
    def backups(self) -> pd.DataFrame:
        return manifests.table_of(self.all)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{self.backup.rows} rows restored",
            fingerprint=self.fingerprint,
            next=targets.command(self.target, "pharmdb migrate" if self.behind else "pharmdb inspect"),
        )


def restore(database_url: str = "", *, backup: str = "") -> RestoreReport:
    """Restores a backup, after backing up what it replaces; the schema stays at the backup's revision.

    `backup` is a name from list_backups; empty: the newest backup of this database that was not taken by a restore.
    Runs in one transaction: others see the old database or the restored one.

    Raises BackupError if the backup does not exist or does not match its manifest, ProtectedError for another
    environment's backup in production, LockedError, UnavailableError; the database is then unchanged.
    """
    target = targets.target(database_url)
    chosen = _choose(target, str(backup))
    with driver_errors.explaining(target):
        verify(chosen)
        load = {"sqlite": _restore_sqlite, "postgresql": _restore_postgresql}
        before = load[target.dialect.name](target, chosen)
    return RestoreReport(str(target), chosen, before, chosen.revision != revisions.head(), manifests.of(target))


def _choose(target: targets.Target, name: str) -> Backup:
    own = manifests.of(target)
    if name:
        same = (target.name, target.dialect.name)
        entries = [b for b in manifests.known() if name in (b.id, b.name) and (b.database, b.dialect) == same]
    else:
        # Without the backups that restores take first, so that running it again does the same.
        entries = [b for b in own if not b.before_restore_of] or own
    if not entries:
        names = ", ".join(b.id for b in own) or "none"
        raise BackupError(
            expected=f"a backup {name!r} of {target.name} in {manifests.folder()}"
            if name
            else f"a backup of {target.name}",
            found=f"in {manifests.folder()}: {names}",
            unchanged="the database",
            command=targets.command(target, f"pharmdb restore --backup {own[0].id}" if own else "pharmdb reset"),
        )
    return entries[0]


def verify(chosen: Backup) -> None:
    """Raises BackupError unless the file matches its manifest and can be opened."""
    found = ""
    if files.sha256(chosen.path) != chosen.sha256:
        found = "a file that has changed since it was taken"
    elif chosen.dialect == "sqlite":
        found = "; ".join(sqlite_copies.check_sqlite(chosen.path))
    _refuse_changed(chosen, found)


def verify_quickly(chosen: Backup) -> None:
    """Like `verify`, but checks only the size and the first bytes: fast at every size."""
    with chosen.path.open("rb") as file:
        begins = file.read(16).startswith(manifests.MAGIC[chosen.dialect])
    found = "" if begins else "a file that does not begin like a backup"
    if chosen.path.stat().st_size != chosen.size:
        found = f"a file of {chosen.path.stat().st_size:,} bytes instead of {chosen.size:,}"
    _refuse_changed(chosen, found)


def _refuse_changed(chosen: Backup, found: str) -> None:
    if found:
        raise BackupError(
            expected=f"{chosen.name} as it was taken",
            found=found,
            unchanged="the database",
            note="restore another one, by its name: pharmdb restore --backup=…",
        )


def _refuse_other_environment(connection: Connection, chosen: Backup) -> None:
    _refuse_environment(environments.environment(connection), chosen)


def _refuse_environment(environment: str, chosen: Backup) -> None:
    if environment == "production" != chosen.environment:
        raise ProtectedError(
            expected="a backup of production for a production database",
            found=f"{chosen.name}, of {chosen.environment}",
            note="restore a backup of production, by its name: pharmdb restore --backup=…",
        )


def _restore_sqlite(target: targets.Target, chosen: Backup) -> Backup | None:
    if not target.path.exists():
        sqlite_copies.load_sqlite(chosen.path, target.path, None, None)
        engines.turn_to_wal(target.path)
        return None
    if sqlite_copies.check_sqlite(target.path):
        _replace_damaged(target, chosen)
        return None
    before = None
    with transactions.reading(target) as connection:
        _refuse_other_environment(connection, chosen)
    # Only in WAL mode can a reader check whether the database has changed while it is locked.
    engines.turn_to_wal(target.path)
    for _ in range(TRIES):
        with sqlite_copies.open_sqlite(target.path) as monitor:
            seen = sqlite_copies.data_version(monitor)
            with transactions.reading(target) as connection:
                _refuse_other_environment(connection, chosen)
                before = taking.take(connection, target, before_restore_of=chosen.name)
            if sqlite_copies.load_sqlite(chosen.path, target.path, seen, monitor):
                return before
    raise sqlite_copies.locked_error(target)


def _replace_damaged(target: targets.Target, chosen: Backup) -> None:
    """An unreadable file supports no transactions; it is renamed, with its -wal, and replaced by a new file."""
    _refuse_damaged_production(target, chosen)
    aside = f"{target.path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    fresh = target.path.with_name(f".{target.path.name}.{os.getpid()}.partial")
    shutil.copyfile(chosen.path, fresh)
    files.sync(fresh)
    for end in ("-wal", "-shm", ""):
        part = Path(f"{target.path}{end}")
        if part.exists():
            part.rename(f"{aside}{end}")
    fresh.rename(target.path)
    files.sync(target.path.parent)


def _refuse_damaged_production(target: targets.Target, chosen: Backup) -> None:
    """Like _refuse_other_environment; if the file is too damaged to be asked, only PHARMDB_ENV counts."""
    environment = environments.configured_environment()
    with suppress(UnavailableError, RevisionError), transactions.watching(target) as connection:
        environment = environments.environment(connection)
    _refuse_environment(environment, chosen)


def _restore_postgresql(target: targets.Target, chosen: Backup) -> Backup | None:
    with transactions.changing_schema(target) as connection:
        _refuse_other_environment(connection, chosen)
        locks.lock_tables(connection)
        before = taking.take(connection, target, before_restore_of=chosen.name)
        dropping.drop_everything(connection)
        postgresql_dumps.load_postgresql(connection, chosen.path)
        time_zone.use_utc(connection)
        if postgresql_dumps.digest_postgresql(connection).sha256 != chosen.digest:
            raise BackupError(
                expected=f"the content of {chosen.name}",
                found="other rows after loading it",
                unchanged="everything was rolled back",
                note="restore another one, by its name: pharmdb restore --backup=…",
            )
        return before
