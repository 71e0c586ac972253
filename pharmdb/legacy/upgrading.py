"""Upgrades an old Prisma database to the current schema: recognize, back up, copy, account for every row, check."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from pharmdb.backups import taking
from pharmdb.database import environments, ids, locks, targets, transactions
from pharmdb.doctor import checking
from pharmdb.legacy import receiving, sources, stages
from pharmdb.legacy.accounting import Account
from pharmdb.legacy.receiving import Content, Kind
from pharmdb.legacy.upgrade_report import UpgradeReport
from pharmdb.models import User, UserSettings
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import seeding


def upgrade(source: str = "", database_url: str = "", *, dry_run: bool = False, confirm: str = "") -> UpgradeReport:
    """Copies an old database to `database_url` in one transaction, and accounts for every row.

    `source` is a path (relative to the project's root) or a URL; if empty, PHARMDB_SOURCE is used. It is only read. The
    target is backed up first; learners' data in it is replaced only if `confirm` is the target's name. With `dry_run`
    nothing is written. A source that was already imported completely is not imported again.

    Raises RevisionError if the source is not an old database, ProtectedError if the target holds learners' data,
    ParameterError, BackupError, LockedError, UnavailableError; source and target are then unchanged.
    """
    target, old = targets.target(database_url), sources.source_target(source)
    sources.refuse_same(old, target)
    to_postgresql = not target.is_sqlite
    seed = seeding.read()
    with ExitStack() as stack:
        with sources.told_of(old):
            place = stack.enter_context(sources.undisturbed(old))
            reader = stack.enter_context(transactions.watching(place))
            recognition = stages.recognize(reader, str(old))
        known = receiving.recorded(target)
        if dry_run or known:
            with sources.told_of(old, place):
                sources.refuse_damaged(place)
            account = Account(reader, old, place, recognition, to_postgresql=to_postgresql)
            account.run()
            done = account.digest in known and receiving.holds(target, account)
            if done:
                receiving.refuse_wrong(old, target, target.name, Content(Kind.SOURCE), confirm)
            if dry_run or done:
                state = "contains all of this source" if done else receiving.state_of(old, target, confirm)
                return UpgradeReport(str(old), str(target), dry_run, done, recognition, account, state)
        receiving.look(old, target, confirm)
        # Done before the lock is taken, because hashing is slow by design.
        hashes = seeding.hash_passwords(seed, {})
        with sources.told_of(old):
            taken = taking.take(reader, old, place=place)
        assert taken is not None
        if old.is_sqlite:
            # The backup does not change, even if somebody goes on writing to the source.
            place = targets.of_file(taken.path)
            reader = stack.enter_context(transactions.watching(place))
        with transactions.changing_schema(target) as writer:
            content = receiving.guard(writer, old, target, confirm)
            locks.lock_tables(writer)
            before = taking.take(writer, target)
            receiving.empty(writer)
            account = Account(reader, old, place, recognition, to_postgresql=to_postgresql, writer=writer)
            account.run()
            seeded = _finish(writer, target, account, seed, hashes, (str(old), recognition.stage), recognition.reached)
            report = UpgradeReport(
                str(old),
                str(target),
                dry_run,
                False,
                recognition,
                account,
                str(content),
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
    """Finishes the import: missing settings, sequences, the default accounts, the record of the upgrade."""
    # New rows get neither the id of a rejected row nor that of a row which the source has deleted.
    ids.keep_above(
        writer, {count.table.table: max(count.largest_id, reached.get(count.table.name, 0)) for count in account.counts}
    )
    lacking = select(User.id).where(~select(UserSettings.id).where(UserSettings.user_id == User.id).exists())
    writer.execute(UserSettings.__table__.insert().from_select(["user_id"], lacking.order_by(User.id)))  # type: ignore[attr-defined]
    production = environments.environment(writer) == "production"
    seeded = None if production else seeding.apply(writer, target, seed, hashes, mark=False)
    writer.execute(receiving.upgrades.insert().values(source=source[0], stage=source[1], digest=account.digest))
    return seeded
