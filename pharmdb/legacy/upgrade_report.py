"""The report of an upgrade: what it did, or would do, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pharmdb import reports
from pharmdb.backups import manifests
from pharmdb.database import targets
from pharmdb.doctor import results
from pharmdb.legacy import checksums, stages
from pharmdb.legacy.accounting import Account, Count
from pharmdb.seeding import seeding

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class UpgradeReport:
    """What an upgrade did, or would do.

    `recognized`: what, found (str); JSON that stays in JSON strings is counted there. `tables`, one row for each:
    table, source_table (str), source, imported, rejected (int64, rows), source_checksum, target_checksum (str, equal if
    all is well; "" in a dry run). `reasons`: table, reason (str), rows (int64). `rejects`, the first 1,000:
    source_table (str), source_id (int64), reason, row (str, JSON). `changes`: table, change (str), rows (int64); among
    them the rows created by --seed. `checks`: the doctor's checks of the result. `seeded`: the seed's report; None
    without `seed` and in a dry run. `fingerprint`: of the target's content, 64 hex digits. `command`: what runs this
    upgrade.
    """

    source: str
    target: str
    dry_run: bool
    nothing_left: bool
    recognition: stages.Recognition = field(repr=False)
    account: Account = field(repr=False)
    target_state: str = ""
    source_backup: manifests.Backup | None = field(default=None, repr=False)
    target_backup: manifests.Backup | None = field(default=None, repr=False)
    seeded: seeding.SeedReport | None = field(default=None, repr=False)
    fingerprint: str = ""
    doctor: results.CheckReport | None = field(default=None, repr=False)
    command: str = field(default="", repr=False)

    @property
    def stage(self) -> int:
        return self.recognition.stage

    @property
    def recognized(self) -> pd.DataFrame:
        rows = [*self.recognition.notes, *self._json_strings(), ("target", self.target_state)]
        return reports.table(rows, {"what": "str", "found": "str"})

    def _json_strings(self) -> Iterator[tuple[str, str]]:
        if self.account.decode_json:
            # Counted among the changes.
            return
        for (table, column), rows in sorted(self.account.json_strings.items()):
            yield "JSON strings", f"{table}.{column}: {rows} hold JSON; kept as they are (--decode-json decodes them)"

    @property
    def tables(self) -> pd.DataFrame:
        text, number = dict.fromkeys(("table", "source_table"), "str"), ("source", "imported", "rejected")
        sums = dict.fromkeys(("source_checksum", "target_checksum"), "str")
        return reports.table(list(map(_account_row, self.account.counts)), text | dict.fromkeys(number, "int64") | sums)

    @property
    def reasons(self) -> pd.DataFrame:
        rows = [(*key, rows) for key, rows in sorted(self.account.reasons.items())]
        return reports.table(rows, {"table": "str", "reason": "str", "rows": "int64"})

    @property
    def rejects(self) -> pd.DataFrame:
        columns = {"source_table": "str", "source_id": "int64", "reason": "str", "row": "str"}
        return reports.table(list(self.account.rejects), columns)

    @property
    def changes(self) -> pd.DataFrame:
        rows = [(*key, rows) for key, rows in sorted(self.account.changes.items())]
        return reports.table(rows, {"table": "str", "change": "str", "rows": "int64"})

    @property
    def backups(self) -> pd.DataFrame:
        """Columns: of (source or target), backup (its name for `restore`), rows (int64), revision (str)."""
        taken = (("source", self.source_backup), ("target", self.target_backup))
        rows = [(of, backup.id, backup.rows, backup.revision) for of, backup in taken if backup is not None]
        return reports.table(rows, {"of": "str", "backup": "str", "rows": "int64", "revision": "str"})

    @property
    def way_back(self) -> str:
        """The command that restores what the target held before; "" without a backup of it."""
        return manifests.way_back(self.target, self.target_backup)

    @property
    def checks(self) -> pd.DataFrame:
        return (self.doctor or results.CheckReport(self.target, ())).checks

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, fingerprint, next. Not ok if one of the doctor's checks failed."""
        imported = sum(count.imported for count in self.account.counts)
        rejected = sum(count.rejected for count in self.account.counts)
        changed = f"{imported} rows imported, {rejected} rejected"
        ok = self.doctor is None or not self.doctor.count(results.FAIL)
        next_ = "pharmdb inspect" if ok else "pharmdb doctor"
        if self.nothing_left:
            changed = "nothing: this source was already imported"
        elif self.dry_run:
            changed = f"nothing yet: {changed}"
            next_ = self.command
        return reports.outcome(
            ok=ok, changed=changed, fingerprint=self.fingerprint, next=targets.command(self.target, next_)
        )


def _account_row(count: Count) -> tuple[Any, ...]:
    target = "" if count.target_sum is None else checksums.shown(count.target_sum)
    counted = (count.source, count.imported, count.rejected)
    return (count.table.table, count.table.name, *counted, checksums.shown(count.source_sum), target)
