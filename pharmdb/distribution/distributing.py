"""The distribute command: plans, backs up, and moves the tables onto a Citus cluster or back, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from pharmdb import reports
from pharmdb.arguments import checked
from pharmdb.backups import manifests, taking
from pharmdb.cluster import placing, planning
from pharmdb.cluster.planning import Step, Table
from pharmdb.database import locks, targets, transactions
from pharmdb.distribution import obstacles
from pharmdb.distribution.obstacles import Obstacle
from pharmdb.errors import DistributedError
from pharmdb.learning import table_sizes
from pharmdb.schema import revisions

if TYPE_CHECKING:
    import pandas as pd

COMMAND = "pharmdb distribute"


@dataclass(frozen=True)
class DistributeReport:
    """What a distribution does, or would do.

    `plan`: statement, table (str), rows (int64), locks (str: what others can't do until the end), growth_mib (int64:
    what the cluster needs more; less than 0 for what is freed). `placements`: table, placement, placed (str, ""
    for a table that is not distributed), key (str), rows (int64), as they are after the command. `obstacles`: what
    (str), found, next: why the plan can't be carried out. `backup`: taken before, or None.
    """

    target: str
    back: bool
    dry_run: bool
    steps: tuple[Step, ...]
    hindrances: tuple[Obstacle, ...]
    tables: tuple[Table, ...] = field(repr=False)
    backup: manifests.Backup | None = None

    @property
    def plan(self) -> pd.DataFrame:
        columns = {"statement": "str", "table": "str", "rows": "int64", "locks": "str", "growth_mib": "int64"}
        return reports.table([(*step[:4], round(step.growth_mib)) for step in self.steps], columns)

    @property
    def placements(self) -> pd.DataFrame:
        columns = dict.fromkeys(("table", "placement", "placed", "key"), "str") | {"rows": "int64"}
        rows = [(t.name, t.placement, t.placed, ", ".join(t.key), t.rows) for t in self.tables]
        return reports.table(rows, columns)

    @property
    def obstacles(self) -> pd.DataFrame:
        rows = [(o.what, o.found, o.command or o.note) for o in self.hindrances]
        return reports.table(rows, dict.fromkeys(("what", "found", "next"), "str"))

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, sha256 (of the backup), next. ok is False if an obstacle is in the way."""
        run = f"{COMMAND}{' --back' if self.back else ''} --no-dry-run"
        if self.hindrances:
            changed, next_ = f"nothing: {len(self.hindrances)} obstacle(s)", self.hindrances[0].command
        elif not self.steps:
            changed, next_ = f"nothing: already {self._where}", targets.command(self.target, "pharmdb doctor")
        elif self.dry_run:
            changed, next_ = f"nothing: {len(self.steps)} statements planned", targets.command(self.target, run)
        else:
            moved = sum(table.rows for table in self.tables)
            changed, next_ = f"{moved} rows {self._where}", targets.command(self.target, "pharmdb doctor")
        sha256 = self.backup.sha256 if self.backup else ""
        return reports.outcome(ok=not self.hindrances, changed=changed, sha256=sha256, next=next_)

    @property
    def _where(self) -> str:
        return "on one server" if self.back else "distributed"


@checked
def distribute(database_url: str = "", *, dry_run: bool = True, back: bool = False) -> DistributeReport:
    """Distributes the database over the workers of a Citus cluster, or brings it `back` to one server.

    A dry run only plans. Otherwise the database is backed up, and all statements run in one transaction, in which
    nobody else can write: after an interruption the database is the old one. If there is nothing to do, nothing is
    done and no backup taken.

    Raises DistributedError if something is in the way (a dry run lists it), RevisionError if the schema isn't at head,
    BackupError, LockedError, UnavailableError; the database is then unchanged.
    """
    target = targets.target(database_url)
    if dry_run:
        with transactions.reading(target) as connection:
            found, steps, hindrances = _look(connection, target, back)
        return DistributeReport(str(target), back, dry_run, tuple(steps), tuple(hindrances), tuple(found))
    if target.is_sqlite:
        # Not even its lock is taken.
        _refuse([obstacles.NO_CITUS])
    with transactions.changing_schema(target) as connection:
        found, steps, hindrances = _look(connection, target, back)
        _refuse(hindrances)
        taken = None
        if steps:
            locks.lock_tables(connection)
            # Now nobody writes any more: the numbers of rows are final.
            before, steps, _ = _look(connection, target, back)
            taken = taking.take(connection, target, advise=False)
            placing.run(connection, steps)
            found = placing.tables(connection)
            _compare(before, found)
    return DistributeReport(str(target), back, dry_run, tuple(steps), (), tuple(found), taken)


def _look(connection: Connection, target: targets.Target, back: bool) -> tuple[list[Table], list[Step], list[Obstacle]]:
    revisions.require_head(connection, target)
    found = _sized(connection, placing.tables(connection))
    hindrances = obstacles.obstacles(connection, target, found, back=back)
    steps = planning.back(found) if back else planning.forward(found, max(obstacles.workers(connection), 1))
    return found, steps, hindrances


def _sized(connection: Connection, found: list[Table]) -> list[Table]:
    sizes = table_sizes.measure(connection, {table.name: table.rows for table in found})
    return [replace(table, mib=sizes.get(table.name, (0.0, ""))[0] / 2**20) for table in found]


def _refuse(hindrances: list[Obstacle]) -> None:
    for obstacle in hindrances:
        raise DistributedError(
            expected=obstacle.expected, found=obstacle.found, command=obstacle.command, note=obstacle.note
        )


def _compare(before: list[Table], after: list[Table]) -> None:
    """Raises DistributedError if a table has more or fewer rows than before."""
    there = {table.name: table.rows for table in after}
    wrong = [f"{table.name}: {there[table.name]}" for table in before if there[table.name] != table.rows]
    if wrong:
        raise DistributedError(
            expected="as many rows as before in every table",
            found="; ".join(wrong),
            unchanged="everything was rolled back",
            note="please report this",
        )
