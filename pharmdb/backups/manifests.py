"""The manifest of each backup, the backup folder, and the list of backups."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from pharmdb import reports, settings
from pharmdb.database import targets

if TYPE_CHECKING:
    import pandas as pd


KEPT = 10


SUFFIXES = {"sqlite": ".sqlite", "postgresql": ".pgdump"}


@dataclass(frozen=True)
class Backup:
    """A verified backup, as its manifest describes it."""

    name: str
    taken_at: str
    database: str
    # The identity of the database, and the backup whose restore this one precedes, or "".
    target: str = field(repr=False)
    before_restore_of: str = field(repr=False)
    dialect: str
    revision: str
    environment: str
    # The fingerprint of the content; "" if the schema was not at head.
    fingerprint: str
    tables: dict[str, int] = field(repr=False)
    digest: str = field(repr=False)
    sha256: str = field(repr=False)
    size: int = field(repr=False)

    @property
    def id(self) -> str:
        """When it was taken: the part of its name that identifies it for `restore`."""
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
        return contents(self.tables)


def contents(tables: dict[str, int]) -> pd.DataFrame:
    return reports.table(list(tables.items()), {"table": "str", "rows": "int64"})


def folder() -> Path:
    """The folder of the backups: PHARMDB_BACKUPS, or data/backups; see settings.backups."""
    return settings.backups()


def list_backups(database_url: str = "") -> pd.DataFrame:
    """The backups of a database, newest first.

    backup (when it was taken, UTC, and its name for `restore`), revision, rows (int64), size_mib (float64, rounded up
    to a tenth), fingerprint (its first 12 hex digits; empty if the schema was not at head).
    """
    return table_of(of(targets.target(database_url)))


def table_of(entries: list[Backup]) -> pd.DataFrame:
    rows = [(b.id, b.revision, b.rows, ceil(b.size / 2**20 * 10) / 10, b.fingerprint[:12]) for b in entries]
    columns = {"backup": "str", "revision": "str", "rows": "int64", "size_mib": "float64", "fingerprint": "str"}
    return reports.table(rows, columns)


def of(target: targets.Target) -> list[Backup]:
    """The backups of one database, newest first."""
    same = (target.identity, target.dialect.name)
    return [entry for entry in known() if (entry.target, entry.dialect) == same]


def known() -> list[Backup]:
    """All backups that have a manifest, newest first."""
    found = []
    for manifest in sorted(folder().glob("*.json"), reverse=True):
        try:
            entry = Backup(**json.loads(manifest.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            # Deleted in the meantime because it was old, or not one of our manifests.
            continue
        # A name that does not match its manifest could point outside the folder.
        if f"{entry.name}.json" == manifest.name and entry.path.exists():
            found.append(entry)
    return found


# The first bytes of a backup file.
MAGIC = {"sqlite": b"SQLite format 3\0", "postgresql": b"PGDMP"}


# Advice for commands that fail because of their backup.
NO_BACKUP = "to continue without a backup, add --no-backup to the command"
