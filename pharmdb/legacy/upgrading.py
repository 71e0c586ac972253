"""An old Prisma database -> the current schema: recognized, backed up, copied, accounted for, checked."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, inspect, select

from pharmdb import reports
from pharmdb.backups import manifests, taking
from pharmdb.database import environments, ids, locks, servers, targets, transactions
from pharmdb.doctor import checking, results
from pharmdb.errors import ProtectedError
from pharmdb.legacy import checksums, sources, stages
from pharmdb.legacy.accounting import Account, Count, rejects_table
from pharmdb.models import MODELS, User, UserSettings
from pharmdb.schema import revisions
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import seeding
from pharmdb.types import BIGINT, VARCHAR, UTCDateTime, utcnow

if TYPE_CHECKING:
    import pandas as pd

# Which sources were upgraded into this database; the digest is over every row of the source.
_upgrades = Table(
    "pharmdb_upgrades",
    MetaData(),
    Column("id", BIGINT, primary_key=True),
    Column("source", VARCHAR, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("digest", VARCHAR, nullable=False),
    Column("upgraded_at", UTCDateTime, server_default=utcnow(), nullable=False),
    sqlite_strict=True,
)


EMPTY = "empty"


@dataclass(frozen=True, eq=False)
class UpgradeReport:
    """What an upgrade did, or would do.

    `recognized`: what, found (str). `tables`, one row for each: table, source_table (str), source, imported, rejected
    (int64, rows), source_checksum, target_checksum (str, equal where all is right; "" in a dry run). `reasons`: table,
    reason (str), rows (int64). `rejects`, the first 1,000: source_table (str), source_id (int64), reason, row (str,
    JSON). `changes`: table, change (str), rows (int64). `checks`: the doctor's table on the result. `seeded`: the
    report of the seed; None in a dry run and in production. `fingerprint`: of the target's content, 64 hex digits.
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

    @property
    def stage(self) -> int:
        return self.recognition.stage

    @property
    def recognized(self) -> pd.DataFrame:
        rows = [*self.recognition.notes, ("target", self.target_state)]
        return reports.table(rows, {"what": "str", "found": "str"})

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
        """of (source or target), backup (its name for `restore`), rows (int64), revision (str)."""
        taken = (("source", self.source_backup), ("target", self.target_backup))
        rows = [(of, backup.id, backup.rows, backup.revision) for of, backup in taken if backup is not None]
        return reports.table(rows, {"of": "str", "backup": "str", "rows": "int64", "revision": "str"})

    @property
    def checks(self) -> pd.DataFrame:
        return (self.doctor or results.CheckReport(self.target, ())).checks

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, fingerprint, next. Not ok where one of the doctor's checks failed."""
        imported = sum(count.imported for count in self.account.counts)
        rejected = sum(count.rejected for count in self.account.counts)
        changed = f"{imported} rows imported, {rejected} rejected"
        ok = self.doctor is None or not self.doctor.count(results.FAIL)
        next_ = "pharmdb inspect" if ok else "pharmdb doctor"
        if self.nothing_left:
            changed = "nothing: all of this source is there"
        elif self.dry_run:
            changed = f"nothing yet: {changed}"
            next_ = f"pharmdb upgrade --source {shlex.quote(self.source)}"
        return reports.outcome(
            ok=ok, changed=changed, fingerprint=self.fingerprint, next=targets.command(self.target, next_)
        )


def _account_row(count: Count) -> tuple[Any, ...]:
    target = "" if count.target_sum is None else checksums.shown(count.target_sum)
    counted = (count.source, count.imported, count.rejected)
    return (count.table.table, count.table.name, *counted, checksums.shown(count.source_sum), target)


def upgrade(source: str = "", database_url: str = "", *, dry_run: bool = False, confirm: str = "") -> UpgradeReport:
    """Copies an old database into `database_url` in one transaction, and accounts for every row.

    `source` is a path (relative to the project's root) or a URL; empty: PHARMDB_SOURCE. It is only read. What the
    target holds is backed up; learners' data give way only to `confirm`, the target's name. With `dry_run` nothing is
    written. A source that is there already, whole, is left at that.

    Raises RevisionError for what is no old database, ProtectedError where the target holds learners' data,
    ParameterError, BackupError, LockedError, UnavailableError; source and target are then what they were.
    """
    target, old = targets.target(database_url), sources.source_target(source)
    sources.refuse_same(old, target)
    seed = seeding.read()
    with ExitStack() as stack:
        with sources.told_of(old):
            place = stack.enter_context(sources.undisturbed(old))
            reader = stack.enter_context(transactions.watching(place))
            recognition = stages.recognize(reader, str(old))
        known = _recorded(target)
        if dry_run or known:
            with sources.told_of(old):
                sources.refuse_damaged(place)
            account = Account(reader, place, recognition, to_postgresql=not target.is_sqlite)
            account.run()
            done = account.digest in known and _holds(target, account)
            if done:
                _refuse_wrong(target, target.name, "all of this source", confirm)
            if dry_run or done:
                state = "holds all of this source" if done else _state(target, confirm)
                return UpgradeReport(str(old), str(target), dry_run, done, recognition, account, state)
        _look(target, confirm)
        # Before the lock is taken, because hashing is slow on purpose.
        hashes = seeding.hash_passwords(seed, {})
        with sources.told_of(old):
            taken = taking.take(reader, old, path=place.path if old.is_sqlite else None)
        assert taken is not None
        if old.is_sqlite:
            # The backup stands still, whoever goes on writing to the source.
            place = targets.of_file(taken.path)
            reader = stack.enter_context(transactions.watching(place))
        with transactions.changing_schema(target) as writer:
            state = _guard(writer, target, confirm)
            locks.hold_still(writer)
            before = taking.take(writer, target)
            _empty(writer)
            account = Account(reader, place, recognition, to_postgresql=not target.is_sqlite, writer=writer)
            account.run()
            seeded = _finish(writer, target, account, seed, hashes, (str(old), recognition.stage), recognition.reached)
            report = UpgradeReport(
                str(old),
                str(target),
                dry_run,
                False,
                recognition,
                account,
                state,
                taken,
                before,
                seeded,
                fingerprint(writer),
            )
    return replace(report, doctor=checking.check(database_url))


def _finish(
    writer: Connection,
    target: targets.Target,
    account: Account,
    seed: seeding.Seed,
    hashes: Any,
    source: tuple[str, int],
    reached: dict[str, int],
) -> seeding.SeedReport | None:
    """What comes after the copy: settings for everybody, sequences, the default accounts, the record."""
    # A rejected row's id is used by no other, nor that of a row which the source once had.
    ids.keep_above(
        writer, {count.table.table: max(count.largest_id, reached.get(count.table.name, 0)) for count in account.counts}
    )
    lacking = select(User.id).where(~select(UserSettings.id).where(UserSettings.user_id == User.id).exists())
    writer.execute(UserSettings.__table__.insert().from_select(["user_id"], lacking.order_by(User.id)))  # type: ignore[attr-defined]
    production = environments.environment(writer) == "production"
    seeded = None if production else seeding.apply(writer, target, seed, hashes, mark=False)
    writer.execute(_upgrades.insert().values(source=source[0], stage=source[1], digest=account.digest))
    return seeded


# -- the target -------------------------------------------------------------------------------------


def _guard(connection: Connection, target: targets.Target, confirm: str) -> str:
    """Says what the target holds. Raises ProtectedError where that may not be replaced."""
    revisions.require_known(connection, target)
    state = _content(connection)
    if state.startswith("learners"):
        environments.refuse_production(connection, "replace")
    _refuse_wrong(target, servers.server_name(connection, target), state, confirm)
    return state


def _refuse_wrong(target: targets.Target, name: str, state: str, confirm: str) -> None:
    # A name that is wrong is never ignored: whoever gave it meant another database.
    if (confirm or state.startswith("learners")) and str(confirm) != name:
        raise ProtectedError(
            expected=f"an empty or freshly reset target, or confirm={name} to replace what it holds",
            found=f"{state}; confirm={confirm!r}",
            next=targets.command(target, f"pharmdb upgrade --source … --confirm {shlex.quote(name)}"),
        )


def _content(connection: Connection) -> str:
    there = set(inspect(connection).get_table_names())
    filled = {
        model.__tablename__: connection.exec_driver_sql(f"SELECT count(*) FROM {model.__tablename__}").scalar_one()
        for model in MODELS
        if model.__tablename__ in there
    }
    rows = sum(filled.values())
    if rejects_table.name in there:
        # What an earlier migration could not let in is somebody's work, too.
        rows += connection.scalar(select(func.count()).select_from(rejects_table)) or 0
    if not rows:
        return EMPTY
    small = rows < 1000 and revisions.current_revision(connection) == revisions.head()
    if small and fingerprint(connection, seed=True) == seeding.KNOWN_GOOD:
        return "freshly reset"
    return f"learners' data: {rows} rows in {sum(map(bool, filled.values()))} tables"


def _look(target: targets.Target, confirm: str) -> str:
    """As _guard, before anything is locked or backed up."""
    if target.is_sqlite and not target.path.parent.is_dir():
        # Opened only to fail with what is wrong.
        with transactions.reading(target):
            pass
    if not _is_there(target):
        _refuse_wrong(target, target.name, EMPTY, confirm)
        return EMPTY
    with transactions.reading(target) as connection:
        return _guard(connection, target, confirm)


def _state(target: targets.Target, confirm: str) -> str:
    """What the target holds, and why an upgrade would be refused; for a dry run."""
    try:
        return _look(target, confirm)
    except ProtectedError as error:
        return f"{error.found}; expected: {error.expected}"


def _is_there(target: targets.Target) -> bool:
    return not target.is_sqlite or target.path.exists()


def _recorded(target: targets.Target) -> set[str]:
    """The digests of the sources that were upgraded into this target."""
    if not _is_there(target):
        return set()
    with transactions.reading(target) as connection:
        if not inspect(connection).has_table(_upgrades.name):
            return set()
        return set(connection.scalars(select(_upgrades.c.digest)))


def _holds(target: targets.Target, account: Account) -> bool:
    """Whether each table still has as many rows as were imported from this source."""
    with transactions.reading(target) as connection:
        return all(
            connection.exec_driver_sql(f"SELECT count(*) FROM {count.table.table}").scalar_one() >= count.imported
            for count in account.counts
        )


def _empty(connection: Connection) -> None:
    """The schema at head, without a row of content."""
    revisions.upgrade(connection)
    environments.stamp_environment(connection)
    for table in (rejects_table, _upgrades):
        table.create(connection, checkfirst=True)
        connection.execute(table.delete())
    for model in reversed(MODELS):
        connection.execute(model.__table__.delete())  # type: ignore[attr-defined]
