"""The manifest of each backup, the backup folder, and the list of backups."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pharmdb import reports, settings
from pharmdb.database import identities, targets
from pharmdb.database.identities import Identity
from pharmdb.errors import BackupError

if TYPE_CHECKING:
    import pandas as pd


KEPT = 10


SUFFIXES = {"sqlite": ".sqlite", "postgresql": ".pgdump"}


# The form of a manifest. Readers ignore fields that they do not know; up to form 2 there was a fingerprint.
FORMAT = 3


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A verified backup, as its manifest describes it. Fields with a default are missing in some manifests."""

    name: str
    taken_at: str
    # Counts the backups of the folder: their order, whatever the clock says.
    sequence: int = field(default=0, repr=False)
    database: str
    # Which database it is of: see identities.Identity.
    database_id: str = field(default="", repr=False)
    machine: str = field(default="", repr=False)
    place: str = field(default="", repr=False)
    target: str = field(repr=False)
    host: str = field(default="", repr=False)
    # The backup whose restore this one precedes, or "".
    before_restore_of: str = field(repr=False)
    dialect: str
    revision: str
    environment: str
    tables: dict[str, int] = field(repr=False)
    # Of the file: what identifies the content, and proves later that it is still the one that was verified.
    sha256: str
    # Up to form 2, of a dump: postgresql_dumps.old_digest, which a restore computes of what it has loaded.
    digest: str = field(default="", repr=False)
    size: int = field(repr=False)

    @property
    def id(self) -> str:
        """When it was taken: the part of its name that identifies it for `restore`."""
        return self.name.partition("_")[0]

    @property
    def path(self) -> Path:
        return folder() / self.name

    @property
    def origin(self) -> str:
        """The database that it is of, for people."""
        where = self.place if self.dialect == "sqlite" and self.place else self.target
        return f"{where} on {self.host}" if self.host else where

    @property
    def rows(self) -> int:
        return sum(self.tables.values())

    @property
    def contents(self) -> pd.DataFrame:
        """table (str), rows (int64)."""
        return contents(self.tables)


def contents(tables: dict[str, int]) -> pd.DataFrame:
    return reports.table(list(tables.items()), {"table": "str", "rows": "int64"})


def folder() -> Path:
    """The folder of the backups: PHARMDB_BACKUPS, or data/backups; see settings.backups."""
    return settings.backups()


def list_backups(database_url: str = "") -> pd.DataFrame:
    """The backups of a database, newest first.

    backup (when it was taken, UTC, and its name for `restore`), revision, rows (int64), size_mib (float64, rounded up
    to a tenth), sha256 (the first 12 hex digits of the file's SHA-256).
    """
    return table_of(of(targets.target(database_url)))


def table_of(entries: list[Backup]) -> pd.DataFrame:
    rows = [(b.id, b.revision, b.rows, ceil(b.size / 2**20 * 10) / 10, b.sha256[: reports.SHORT]) for b in entries]
    columns = {"backup": "str", "revision": "str", "rows": "int64", "size_mib": "float64", "sha256": "str"}
    return reports.table(rows, columns)


def of(target: targets.Target) -> list[Backup]:
    """The backups of one database, newest first."""
    entries = known()
    mine = identities.look(target) if entries else identities.unread(target)
    return [entry for entry in entries if belongs(entry, mine)]


def belongs(entry: Backup, mine: Identity) -> bool:
    """Whether a backup is of this database, and not of a copy of it or of another one with the same name.

    A copy has the same id and another place. Where one of both records no id, the place decides.
    """
    if entry.dialect != mine.dialect:
        return False
    if not entry.place:
        # A manifest of 1.0 knows only a URL, which means one database in the home folder that it is relative to.
        return entry.target == mine.url and folder().resolve().is_relative_to(settings.home().resolve())
    if not mine.place:
        # A server that can't be asked.
        return (entry.target, entry.host) == (mine.url, mine.host)
    if entry.place != mine.place:
        return False
    same_machine = entry.machine == mine.machine
    if entry.database_id and mine.database_id:
        # A container has another host name in each run.
        return entry.database_id == mine.database_id and (same_machine or mine.dialect == "sqlite")
    return same_machine


def known() -> list[Backup]:
    """All backups that have a readable manifest, newest first. Raises BackupError for the folder."""
    return scan()[0]


def scan() -> tuple[list[Backup], list[str]]:
    """The backups in the folder, newest first, and the names of the manifests that can't be used.

    Raises BackupError if the folder can't be read.
    """
    try:
        names = [p.name for p in folder().iterdir() if p.name.endswith(".json") and ".partial" not in p.name]
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise BackupError(
            expected=f"to read the backups in {folder()}",
            found=str(error),
            unchanged="the database",
            command=f"ls -ld {shlex.quote(str(folder()))}",
            note="run the command as the user who took the backups, or set PHARMDB_BACKUPS to your own folder",
        ) from error
    found, unusable = [], []
    for name in sorted(names):
        try:
            entry = read((folder() / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            # Deleted in the meantime because it was old.
            continue
        except (OSError, ValueError, TypeError):
            unusable.append(name)
            continue
        # A name that does not match its manifest could point outside the folder.
        if f"{entry.name}.json" == name and entry.path.exists():
            found.append(entry)
        else:
            unusable.append(name)
    return sorted(found, key=lambda entry: (entry.sequence, entry.name), reverse=True), unusable


_KINDS = {"str": str, "int": int, "dict[str, int]": dict}


def read(text: str) -> Backup:
    """A backup from the text of its manifest; fields of newer code are ignored. Raises ValueError or TypeError."""
    try:
        values: Any = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise TypeError("not an object")
    entry = Backup(**{f.name: values[f.name] for f in fields(Backup) if f.name in values})
    for f in fields(Backup):
        if not isinstance(getattr(entry, f.name), _KINDS[str(f.type)]):
            raise TypeError(f.name)
    if not all(isinstance(number, int) and 0 <= number < 2**63 for number in (entry.size, *entry.tables.values())):
        raise ValueError("numbers of rows and bytes")
    if datetime.fromisoformat(entry.taken_at).tzinfo is None:
        raise ValueError("a time without its zone")
    return entry


def write(entry: Backup) -> str:
    """The text of a manifest."""
    return json.dumps({"format": FORMAT} | asdict(entry), indent=1)


def way_back(target: str, before: Backup | None, after: Backup | None = None) -> str:
    """The command that restores what an operation replaced; "" without a backup of it.

    `after` is the backup that replaced it: if it brought another environment, the way back needs a confirmation.
    """
    if before is None:
        return ""
    text = f"pharmdb restore --backup {before.id}"
    if after is not None and needs_confirm(before.environment, after.environment):
        text += f" --confirm {shlex.quote(before.database)}"
    return targets.command(target, text)


def needs_confirm(one: str, other: str) -> bool:
    """Whether a backup of one environment is restored into the other one only if that is confirmed."""
    return one != other and "production" in (one, other)


# The first bytes of a backup file.
MAGIC = {"sqlite": b"SQLite format 3\0", "postgresql": b"PGDMP"}


# Advice for commands that fail because of their backup.
NO_BACKUP = "to continue without a backup, add --no-backup to the command"
