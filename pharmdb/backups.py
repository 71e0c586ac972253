"""Backups: taken from one snapshot, verified before they count, listed, and brought back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection, inspect

from pharmdb import copies, database, dropping, reports, revisions
from pharmdb.errors import BackupError, PharmdbError, ProtectedError, RevisionError, UnavailableError
from pharmdb.fingerprints import fingerprint
from pharmdb.models import MODELS

if TYPE_CHECKING:
    import pandas as pd

KEPT = 10
SUFFIXES = {"sqlite": ".sqlite", "postgresql": ".pgdump"}
TRIES = 3


@dataclass(frozen=True)
class Backup:
    """A verified backup, as its manifest describes it."""

    name: str
    taken_at: str
    database: str
    # Which database it was, and the backup for whose restore it was taken, or "".
    target: str = field(repr=False)
    before_restore_of: str = field(repr=False)
    dialect: str
    revision: str
    environment: str
    # The fingerprint of the content; "" where the schema was not at head, so that it had none.
    fingerprint: str
    tables: dict[str, int] = field(repr=False)
    digest: str = field(repr=False)
    sha256: str = field(repr=False)
    size: int = field(repr=False)

    @property
    def id(self) -> str:
        """When it was taken: the part of its name by which `restore` knows it."""
        return self.name.partition("_")[0]

    @property
    def path(self) -> Path:
        return folder() / self.name

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    @property
    def contents(self) -> pd.DataFrame:
        """table (str), rows (int64)."""
        return _contents(self.tables)


def _contents(tables: dict[str, int]) -> pd.DataFrame:
    return reports.table(list(tables.items()), {"table": "str", "rows": "int64"})


@dataclass(frozen=True)
class BackupReport:
    """What was backed up: `tables` (table, rows), `backups` as list_backups gives them, `outcome`."""

    target: str
    backup: Backup
    all: list[Backup] = field(repr=False)

    @property
    def tables(self) -> pd.DataFrame:
        return self.backup.contents

    @property
    def backups(self) -> pd.DataFrame:
        return _table(self.all)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{self.backup.rows} rows backed up and verified",
            fingerprint=self.backup.fingerprint,
            next=database.command(self.target, "pharmdb restore"),
        )


def folder() -> Path:
    """Where backups lie: PHARMDB_BACKUPS (relative to the project's root), or data/backups."""
    return database.ROOT / (os.environ.get("PHARMDB_BACKUPS") or "data/backups")


def backup(database_url: str = "") -> BackupReport:
    """Backs the database up into data/backups while others go on writing, and verifies the copy.

    Raises BackupError where there is nothing to back up or the copy is not sound, UnavailableError, LockedError.
    """
    target = database.target(database_url)
    with database.reading(target) as connection:
        taken = take(connection, target)
    if taken is None:
        raise BackupError(
            expected=f"something in {target}", found="no table", next=database.command(target, "pharmdb reset")
        )
    return BackupReport(str(target), taken, of(target))


def list_backups(database_url: str = "") -> pd.DataFrame:
    """The backups of a database, newest first.

    backup (when it was taken, UTC, and its name for `restore`), revision, rows (int64), size_mib (float64, rounded up
    to a tenth), fingerprint (its first 12 hex digits; empty where the schema was not at head).
    """
    return _table(of(database.target(database_url)))


def _table(entries: list[Backup]) -> pd.DataFrame:
    rows = [(b.id, b.revision, b.rows, ceil(b.size / 2**20 * 10) / 10, b.fingerprint[:12]) for b in entries]
    columns = {"backup": "str", "revision": "str", "rows": "int64", "size_mib": "float64", "fingerprint": "str"}
    return reports.table(rows, columns)


def of(target: database.Target) -> list[Backup]:
    """The backups of one database, newest first."""
    dialect = _dialect(target)
    return [entry for entry in known() if (entry.target, entry.dialect) == (target.identity, dialect)]


def _dialect(target: database.Target) -> str:
    return "sqlite" if target.is_sqlite else "postgresql"


def known() -> list[Backup]:
    """All backups that have a manifest, newest first."""
    found = []
    for manifest in sorted(folder().glob("*.json"), reverse=True):
        try:
            entry = Backup(**json.loads(manifest.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            # Removed meanwhile to make room, or no manifest of ours.
            continue
        # A name that is not its manifest's may lead out of the folder.
        if f"{entry.name}.json" == manifest.name and entry.path.exists():
            found.append(entry)
    return found


def take(
    connection: Connection, target: database.Target, *, before_restore_of: str = "", path: Path | None = None
) -> Backup | None:
    """Takes and verifies a backup of what the connection's database holds; None where there is no table.

    Within a write transaction that has changed nothing yet the backup is exactly what the transaction will change:
    nobody else can write. `before_restore_of` names the backup that is about to replace this content: making room
    must not remove it. `path` is where a SQLite file is read from, if not where it lies.

    Raises BackupError, UnavailableError or LockedError; no part of a backup is then left behind.
    """
    if not inspect(connection).get_table_names():
        return None
    taken_at = datetime.now(UTC)
    revision = revisions.current_revision(connection) or "none"
    name = "_".join(
        (f"{taken_at:%Y%m%dT%H%M%S.%fZ}", quote(target.name, safe="").replace("_", "%5F"), revision.replace(", ", "+"))
    )
    name += SUFFIXES[connection.dialect.name]
    with _partial(name) as partial:
        if target.is_sqlite:
            digest, mark = _copy(target, path or target.path, partial)
        else:
            with database.explaining(target):
                digest, mark = _dump(target, partial, connection)
        entry = Backup(
            name=name,
            taken_at=taken_at.isoformat(),
            database=target.name,
            target=target.identity,
            before_restore_of=before_restore_of,
            dialect=connection.dialect.name,
            revision=revision,
            environment=database.environment(connection),
            fingerprint=mark,
            tables=digest.rows,
            digest=digest.sha256,
            sha256=_sha256(partial),
            size=partial.stat().st_size,
        )
        _publish(partial, entry)
    _make_room(entry)
    return entry


@contextmanager
def _partial(name: str) -> Iterator[Path]:
    """A file that only its owner can read; whatever happens, it is gone at the end."""
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder() / f"{name}.{os.getpid()}.partial"
    for old in folder().glob("*.partial*"):
        if _is_alive(old):
            continue
        published = old.with_name(old.name.split(".partial")[0].rpartition(".")[0])
        if not Path(f"{published}.json").exists():
            # Killed between its file and its manifest: without that nobody knows it.
            published.unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield path
    except (OSError, sqlite3.Error) as error:
        raise _failed(error) from error
    finally:
        for left in (path, *(Path(f"{path}{end}") for end in ("-journal", "-wal", "-shm", ".json"))):
            left.unlink(missing_ok=True)


def _is_alive(partial: Path) -> bool:
    """Whether the process that writes this file still runs; its number stands in the name."""
    number = partial.name.split(".partial")[0].rpartition(".")[2]
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _failed(error: Exception) -> PharmdbError:
    return BackupError(
        expected=f"a backup in {folder()}",
        found=str(error),
        unchanged="the database; no part of a backup was left behind",
        next=f"free space there (pharmdb keeps the newest {KEPT}), then run the same command again; {copies.NO_BACKUP}",
    )


def _copy(target: database.Target, path: Path, copy: Path) -> tuple[copies.Digest, str]:
    """Copies one snapshot, compares the copy with it, checks its integrity, and gives its fingerprint."""
    with copies.snapshot_sqlite(path, copy) as snapshot, ThreadPoolExecutor(1) as pool:
        copies.copy_sqlite(snapshot, copy)
        # SQLite leaves the interpreter free meanwhile.
        compared = pool.submit(copies.compare_sqlite, snapshot)
        checked = pool.submit(copies.check_sqlite, copy)
        with database.reading(database.of_file(copy)) as reader:
            mark = _fingerprint(reader)
        faults = checked.result() or compared.result()
        rows = {} if faults else copies.count_sqlite(snapshot)
    if faults:
        raise BackupError(
            expected="a sound database to back up",
            found="; ".join(faults),
            next=f"{database.command(target, 'pharmdb restore')}   (the newest good backup); {copies.NO_BACKUP}",
        )
    return copies.Digest(rows, ""), mark


def _dump(target: database.Target, copy: Path, connection: Connection) -> tuple[copies.Digest, str]:
    """Dumps from one snapshot, and compares what the dump holds with what that saw."""
    with _snapshot(target, connection) as reader:
        server = copies.server_version(reader)
        with copies.dumping(reader, target, copy):
            source = copies.digest_postgresql(reader)
            mark = _fingerprint(reader)
    if copies.digest_dump(copy, server) != source:
        raise BackupError(
            expected="a dump with the rows of its source",
            found="a dump that differs",
            next=f"run the same command again; {copies.NO_BACKUP}",
        )
    return source, mark


def _snapshot(target: database.Target, connection: Connection) -> AbstractContextManager[Connection]:
    """A reader's own snapshot serves; a writer's connection has none."""
    driver: Any = connection.connection.driver_connection
    return nullcontext(connection) if driver.read_only else database.reading(target)


def _fingerprint(connection: Connection) -> str:
    """The fingerprint; "" where the schema isn't at head, or lacks a table."""
    if revisions.current_revision(connection) != revisions.head():
        return ""
    if not {model.__tablename__ for model in MODELS} <= set(inspect(connection).get_table_names()):
        return ""
    return fingerprint(connection)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(partial: Path, entry: Backup) -> None:
    """The manifest makes a backup known, so it comes last; both are on the disk before they have their names."""
    manifest = Path(f"{partial}.json")
    with os.fdopen(os.open(manifest, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(asdict(entry), file, indent=1)
    for path in (partial, manifest):
        _sync(path)
    partial.rename(entry.path)
    manifest.rename(f"{entry.path}.json")
    _sync(folder())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_room(newest: Backup) -> None:
    """Of each database the newest backups are kept; the one just verified is among them."""
    same = [b for b in known() if (b.target, b.dialect) == (newest.target, newest.dialect)]
    for old in same[KEPT:]:
        if old.name != newest.before_restore_of:
            Path(f"{old.path}.json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)


# -- restore ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did.

    `restored` and `replaced`: table (str), rows (int64), what is there now and what was there before; `backups` as
    list_backups gives them. `fingerprint`: of the content that was brought back, "" if its schema is an old one.
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
        return _contents(self.before.tables if self.before else {})

    @property
    def backups(self) -> pd.DataFrame:
        return _table(self.all)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{self.backup.rows} rows brought back",
            fingerprint=self.fingerprint,
            next=database.command(self.target, "pharmdb migrate" if self.behind else "pharmdb inspect"),
        )


def restore(database_url: str = "", *, backup: str = "") -> RestoreReport:
    """Brings a backup back, after backing up what it replaces; the schema stays at the backup's revision.

    `backup` is a name from list_backups; empty: the newest of this database that
    no restore took. In one transaction: others see
    the old database or the restored one.

    Raises BackupError where there is no such backup or it isn't what its manifest says, ProtectedError for another
    environment's backup in production, LockedError, UnavailableError; the database is then what it was.
    """
    target = database.target(database_url)
    chosen = _choose(target, str(backup))
    with database.explaining(target):
        verify(chosen)
        before = _restore_sqlite(target, chosen) if target.is_sqlite else _restore_postgresql(target, chosen)
    return RestoreReport(str(target), chosen, before, chosen.revision != revisions.head(), of(target))


def _choose(target: database.Target, name: str) -> Backup:
    own = of(target)
    if name:
        same = (target.name, _dialect(target))
        entries = [b for b in known() if name in (b.id, b.name) and (b.database, b.dialect) == same]
    else:
        # What a restore set aside is not what the next one is to bring back: said twice, it does the same twice.
        entries = [b for b in own if not b.before_restore_of] or own
    if not entries:
        names = ", ".join(b.id for b in own) or "none"
        raise BackupError(
            expected=f"a backup {name!r} of {target.name} in {folder()}" if name else f"a backup of {target.name}",
            found=f"in {folder()}: {names}",
            unchanged="the database",
            next=database.command(target, f"pharmdb restore --backup {own[0].id}" if own else "pharmdb reset"),
        )
    return entries[0]


def verify(chosen: Backup) -> None:
    """Raises BackupError unless the file is what its manifest says, and opens."""
    found = ""
    if _sha256(chosen.path) != chosen.sha256:
        found = "a file that has changed since it was taken"
    elif chosen.dialect == "sqlite":
        found = "; ".join(copies.check_sqlite(chosen.path))
    _refuse_changed(chosen, found)


def glance(chosen: Backup) -> None:
    """As `verify`, but looks at size and beginning only: quick at every size."""
    with chosen.path.open("rb") as file:
        begins = file.read(16).startswith(copies.MAGIC[chosen.dialect])
    found = "" if begins else "a file that does not begin as one"
    if chosen.path.stat().st_size != chosen.size:
        found = f"a file of {chosen.path.stat().st_size:,} bytes; {chosen.size:,} were written"
    _refuse_changed(chosen, found)


def _refuse_changed(chosen: Backup, found: str) -> None:
    if found:
        raise BackupError(
            expected=f"{chosen.name} as it was taken",
            found=found,
            unchanged="the database",
            next="pharmdb restore --backup=…   with another name from its table",
        )


def _refuse_other_environment(connection: Connection, chosen: Backup) -> None:
    _refuse_environment(database.environment(connection), chosen)


def _refuse_environment(environment: str, chosen: Backup) -> None:
    if environment == "production" != chosen.environment:
        raise ProtectedError(
            expected="a backup of production for a production database",
            found=f"{chosen.name}, of {chosen.environment}",
            next="pharmdb restore --backup=…   with a backup of production",
        )


def _restore_sqlite(target: database.Target, chosen: Backup) -> Backup | None:
    if not target.path.exists():
        copies.load_sqlite(chosen.path, target.path, None, None)
        database.turn_to_wal(target.path)
        return None
    if copies.check_sqlite(target.path):
        _replace_damaged(target, chosen)
        return None
    before = None
    with database.reading(target) as connection:
        _refuse_other_environment(connection, chosen)
    # Without WAL nobody could look whether the database has changed while it is locked.
    database.turn_to_wal(target.path)
    for _ in range(TRIES):
        with copies.open_sqlite(target.path) as monitor:
            seen = copies.data_version(monitor)
            with database.reading(target) as connection:
                _refuse_other_environment(connection, chosen)
                before = take(connection, target, before_restore_of=chosen.name)
            if copies.load_sqlite(chosen.path, target.path, seen, monitor):
                return before
    raise copies.locked_error(target)


def _replace_damaged(target: database.Target, chosen: Backup) -> None:
    """A file that no SQLite can read has no transactions; it is set aside, whole, and a new one takes its place."""
    _refuse_damaged_production(target, chosen)
    aside = f"{target.path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    fresh = target.path.with_name(f".{target.path.name}.{os.getpid()}.partial")
    shutil.copyfile(chosen.path, fresh)
    _sync(fresh)
    for end in ("-wal", "-shm", ""):
        part = Path(f"{target.path}{end}")
        if part.exists():
            part.rename(f"{aside}{end}")
    fresh.rename(target.path)
    _sync(target.path.parent)


def _refuse_damaged_production(target: database.Target, chosen: Backup) -> None:
    """As _refuse_other_environment; where the file is too damaged to say what it is, PHARMDB_ENV alone counts."""
    environment = database.configured_environment()
    with suppress(UnavailableError, RevisionError), database.watching(target) as connection:
        environment = database.environment(connection)
    _refuse_environment(environment, chosen)


def _restore_postgresql(target: database.Target, chosen: Backup) -> Backup | None:
    with database.changing_schema(target) as connection:
        _refuse_other_environment(connection, chosen)
        database.hold_still(connection)
        before = take(connection, target, before_restore_of=chosen.name)
        dropping.drop_everything(connection)
        copies.load_postgresql(connection, chosen.path)
        if copies.digest_postgresql(connection).sha256 != chosen.digest:
            raise BackupError(
                expected=f"the content of {chosen.name}",
                found="other rows after loading it",
                unchanged="everything was rolled back",
                next="pharmdb restore --backup=…   with another name from its table",
            )
        return before
