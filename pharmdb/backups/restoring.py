"""The restore command: backs up the current content, then replaces it with a backup."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from pharmdb import reports, settings
from pharmdb.arguments import checked
from pharmdb.backups import (
    files,
    keeping,
    manifests,
    ownership,
    postgresql_dumps,
    postgresql_rows,
    sqlite_copies,
    sqlite_integrity,
    taking,
)
from pharmdb.backups.guarding import Guard
from pharmdb.backups.manifests import Backup
from pharmdb.cluster import placing
from pharmdb.database import (
    driver_errors,
    engines,
    environments,
    identities,
    locks,
    targets,
    time_zone,
    transactions,
)
from pharmdb.database.environments import Stamp
from pharmdb.errors import BackupError, DamagedError, LockedError, PharmdbError, ProtectedError
from pharmdb.schema import dropping, revisions

if TYPE_CHECKING:
    import pandas as pd


TRIES = 3


@dataclass(frozen=True)
class Done:
    """What was done to the database: the backup of what was replaced, if one was taken; the path of a damaged file.

    `refused`: the owners and privileges that were not restored, as (role, reason, statement).
    """

    before: Backup | None = None
    set_aside: str = ""
    refused: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did.

    `restored` and `replaced`: table (str), rows (int64), the content now and before; `not_given`: role, reason,
    statement (str), the owners and privileges that could not be restored on PostgreSQL; `backups`: the table of
    list_backups. `set_aside`: the path of the damaged file that was replaced, or "".
    """

    target: str
    backup: Backup
    done: Done = field(repr=False)
    behind: bool
    all: list[Backup] = field(repr=False)

    @property
    def before(self) -> Backup | None:
        """The backup of what was replaced."""
        return self.done.before

    @property
    def set_aside(self) -> str:
        return self.done.set_aside

    @property
    def way_back(self) -> str:
        """The command that restores what was replaced; "" without a backup of it."""
        return manifests.way_back(self.target, self.before, self.backup)

    @property
    def restored(self) -> pd.DataFrame:
        return self.backup.contents

    @property
    def replaced(self) -> pd.DataFrame:
        return manifests.contents(self.before.tables if self.before else {})

    @property
    def not_given(self) -> pd.DataFrame:
        return reports.table(list(self.done.refused), dict.fromkeys(("role", "reason", "statement"), "str"))

    @property
    def backups(self) -> pd.DataFrame:
        return manifests.table_of(self.all)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{self.backup.rows} rows restored",
            sha256=self.backup.sha256,
            next=targets.command(self.target, "pharmdb migrate" if self.behind else "pharmdb inspect"),
        )


@checked
def restore(database_url: str = "", *, backup: str = "", confirm: str = "", no_backup: bool = False) -> RestoreReport:
    """Restores a backup, after backing up what it replaces; the schema stays at the backup's revision.

    `backup` is a name from list_backups; empty: the newest backup of this database that was not taken by a restore.
    `confirm` is the database's name; it is required for a backup of another database, and for one of production if
    this database is not, or the other way round: the database then becomes what the backup was. Otherwise its own
    environment stays; its id always does. Without a backup of what is replaced, with `no_backup`, there is no way back.
    Runs in one transaction: others see the old database or the restored one.

    Raises BackupError if the backup does not exist or does not match its manifest, ProtectedError if a required
    `confirm` is missing, LockedError, UnavailableError; the database is then unchanged.
    """
    target = targets.target(database_url)
    with driver_errors.explaining(target):
        chosen = _choose(target, str(backup))
        with keeping.in_use(chosen, target):
            with _readable(chosen, target):
                seen = files.state(chosen.path)
            verify(chosen, target)
            load = {"sqlite": _restore_sqlite, "postgresql": _restore_postgresql}
            try:
                done = load[target.dialect.name](Guard(target, chosen, str(confirm), seen), not no_backup)
            except _OtherFileError as error:
                raise _unusable(chosen, target, *error.args) from error
    return RestoreReport(str(target), chosen, done, chosen.revision != revisions.head(), manifests.of(target))


def _choose(target: targets.Target, name: str) -> Backup:
    """The backup with this name, or the newest that no restore has taken, so that running it again does the same."""
    known, unusable = manifests.scan()
    mine = identities.look(target)
    own = [b for b in known if manifests.belongs(b, mine)]
    entries = [b for b in own if not b.before_restore_of] or own
    if name:
        entries = [b for b in known if name in (b.id, b.name) and b.dialect == target.dialect.name]
        # Only backups of 1.0 can have the same time.
        entries = [b for b in entries if b in own] or entries
    if entries:
        return entries[0]
    found = [", ".join(b.id for b in own[: manifests.KEPT]) or "none of this database"]
    others = [b for b in known if b not in own and b.dialect == target.dialect.name]
    if others:
        found.append("of others: " + ", ".join(f"{b.id} ({b.origin})" for b in others[:8]))
    if unusable:
        found.append("not readable: " + ", ".join(unusable[:8]))
    raise BackupError(
        expected=f"a backup {name!r}" if name else f"a backup of {target}",
        found=f"in {manifests.folder()}: {'; '.join(found)}",
        unchanged="the database",
        command=targets.command(target, f"pharmdb restore --backup {own[0].id}" if own else "pharmdb backup --list"),
        note=""
        if own
        else "PHARMDB_BACKUPS names the folder of the backups; "
        f"one of another database needs its name and --confirm {shlex.quote(target.name)}",
    )


def verify(chosen: Backup, target: targets.Target | None = None) -> None:
    """Raises BackupError unless the file is still the one that was verified when it was taken.

    The error names another backup of the target, if one is given.
    """
    with _readable(chosen, target):
        same = files.sha256(chosen.path) == chosen.sha256
    _refuse_changed(chosen, target, "" if same else "a file that has changed since it was taken")
    # Opening the file would roll it back.
    journal = chosen.path.with_name(f"{chosen.name}-journal")
    _refuse_changed(chosen, target, f"a journal of another database beside it: {journal}" if journal.exists() else "")


def verify_quickly(chosen: Backup, target: targets.Target | None = None) -> None:
    """Like `verify`, but checks only the size and the first bytes: fast at every size."""
    with _readable(chosen, target):
        with chosen.path.open("rb") as file:
            begins = file.read(16).startswith(manifests.MAGIC[chosen.dialect])
        size = chosen.path.stat().st_size
    found = "" if begins else "a file that does not begin like a backup"
    if size != chosen.size:
        found = f"a file of {size:,} bytes instead of {chosen.size:,}"
    _refuse_changed(chosen, target, found)


@contextmanager
def _readable(chosen: Backup, target: targets.Target | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(chosen, target, str(error)) from error


def _refuse_changed(chosen: Backup, target: targets.Target | None, found: str) -> None:
    if found:
        raise _unusable(chosen, target, found)


def _unusable(
    chosen: Backup, target: targets.Target | None, found: str, unchanged: str = "the database"
) -> BackupError:
    """The error for a backup that can't be restored; it names the newest other one of the same database."""
    others = [b for b in manifests.of(target) if b != chosen] if target else []
    others = [b for b in others if not b.before_restore_of] or others
    text = f"pharmdb restore --backup {others[0].id}" if others else "pharmdb backup --list"
    return BackupError(
        expected=f"{chosen.name} as it was taken",
        found=found,
        unchanged=unchanged,
        command=targets.command(target, text) if target else text,
        note="" if others or not target else "there is no other backup of this database",
    )


class _OtherFileError(Exception):
    """What was found, and what is unchanged; to be told when nothing is locked: the help asks the database."""


def _refuse_replaced(guard: Guard) -> None:
    """Raises _OtherFileError if the file is no longer the one that was verified: somebody writes to the folder."""
    try:
        same = files.state(guard.chosen.path) == guard.seen
    except OSError as error:
        raise _OtherFileError(str(error)) from error
    if not same:
        raise _OtherFileError("a file that was replaced while it was restored")


def _restore_sqlite(guard: Guard, keep: bool) -> Done:
    target, stamp = guard.target, guard.of_file()
    if target.in_own_folder:
        settings.make_private(target.path.parent)
    if not target.path.exists():
        with _prepared(guard, None, stamp) as copy:
            _create(guard, copy)
        engines.turn_to_wal(target.path)
        return Done()
    # Taking a backup of it finds any damage. To change its journal mode first would change a damaged file.
    checked_later = keep and _is_in_wal_mode(target.path)
    if checked_later or not sqlite_integrity.check_sqlite(target.path):
        try:
            return _overwrite(guard, stamp, keep)
        except (ProtectedError, LockedError):
            raise
        except (PharmdbError, sqlite3.Error):
            if not sqlite_integrity.check_sqlite(target.path):
                raise
    with _prepared(guard, None, stamp) as copy:
        return Done(set_aside=_replace_damaged(guard, copy))


def _is_in_wal_mode(path: Path) -> bool:
    """Whether the header says so, which can be read whatever else is damaged; False if it can't be read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(20)[18:] == b"\2\2"
    return False


def _overwrite(guard: Guard, stamp: Stamp, keep: bool) -> Done:
    target, before = guard.target, None
    # Only in WAL mode can a reader check whether the database has changed while it is locked.
    if not _is_in_wal_mode(target.path):
        engines.turn_to_wal(target.path)
    with _prepared(guard, sqlite_copies.page_size(target.path), stamp) as copy:
        for _ in range(TRIES):
            with sqlite_copies.open_sqlite(target.path) as monitor:
                seen = sqlite_copies.data_version(monitor)
                with transactions.reading(target) as connection:
                    guard.of(connection)
                    before = taking.take(connection, target, before_restore_of=guard.chosen.name) if keep else None
                if sqlite_copies.load_sqlite(copy, target.path, seen, monitor, partial(_refuse_replaced, guard)):
                    return Done(before)
    raise sqlite_copies.locked_error(target)


def _create(guard: Guard, copy: Path) -> None:
    path = guard.target.path
    os.close(settings.open_private(path, 0))
    try:
        sqlite_copies.load_sqlite(copy, path, None, None, partial(_refuse_replaced, guard))
    except BaseException:
        if not path.stat().st_size:
            path.unlink()
        raise


@contextmanager
def _prepared(guard: Guard, page_size: int | None, stamp: Stamp) -> Iterator[Path]:
    """The file of a backup, or a private copy of it that has this page size and records this stamp.

    A backup that records nothing, of another program's database, stays as it is.
    """
    chosen = guard.chosen
    try:
        with transactions.reading(targets.of_file(chosen.path)) as connection:
            recorded = environments.read_stamp(connection)
    except DamagedError as error:
        raise _unusable(chosen, guard.target, error.found) from error
    stamp = stamp if recorded.environment else Stamp()
    resized = page_size is not None and page_size != sqlite_copies.page_size(chosen.path)
    wanted = Stamp(stamp.environment or recorded.environment, stamp.database_id or recorded.database_id)
    if not resized and wanted == recorded:
        yield chosen.path
        return

    def fill(copy: Path) -> None:
        if resized:
            # A WAL database can't change its page size while it is overwritten.
            sqlite_copies.resize_sqlite(chosen.path, copy, page_size or 0)
        else:
            shutil.copyfile(chosen.path, copy)
        if wanted != recorded:
            with transactions.writing(targets.of_file(copy)) as connection:
                environments.put_stamp(connection, wanted)

    with keeping.scratch(chosen.name, fill) as copy:
        yield copy


def _replace_damaged(guard: Guard, copy: Path) -> str:
    """An unreadable file supports no transactions; it is renamed, with its -wal, and replaced by a new file."""
    path = guard.target.path.resolve()
    aside = f"{path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with suppress(FileNotFoundError):
        fresh.unlink()
    try:
        os.close(settings.open_private(fresh, os.O_EXCL))
        shutil.copyfile(copy, fresh)
        _refuse_replaced(guard)
        files.give_mode(path, fresh)
        files.sync(fresh)
        for end in ("-wal", "-shm", ""):
            part = Path(f"{path}{end}")
            if part.exists():
                part.rename(f"{aside}{end}")
        fresh.rename(path)
        files.sync(path.parent)
    finally:
        fresh.unlink(missing_ok=True)
    return aside


def _restore_postgresql(guard: Guard, keep: bool) -> Done:
    target, chosen = guard.target, guard.chosen
    with transactions.changing_schema(target) as connection:
        stamp = guard.of(connection)
        _refuse_other_schema(connection, target, chosen)
        locks.lock_tables(connection)
        before = taking.take(connection, target, before_restore_of=chosen.name) if keep else None
        with placing.gathered(connection, emptied=True):
            dropping.drop_everything(connection)
            loaded, owning = postgresql_dumps.load_postgresql(connection, chosen.path)
            _refuse_replaced(guard)
            time_zone.use_utc(connection)
            if not postgresql_rows.holds(connection, loaded, chosen.digest):
                raise _OtherFileError("other rows after loading it", "everything was rolled back")
            if environments.read_stamp(connection).environment:
                environments.put_stamp(connection, stamp)
        # Last, because afterwards our role may not even be allowed to read.
        return Done(before, refused=tuple(ownership.apply(connection, owning)))


def _refuse_other_schema(connection: Connection, target: targets.Target, chosen: Backup) -> None:
    """A dump names its schema, and is loaded into no other."""
    here = identities.of(connection, target).place.rpartition("/")[2]
    there = chosen.place.rpartition("/")[2]
    if chosen.place and here != there:
        raise BackupError(
            expected=f"a backup of the schema {here}",
            found=f"{chosen.name}, of the schema {there}",
            unchanged="the database",
            note=f"choose the schema in the URL: ?options=-csearch_path%3D{there}",
        )
