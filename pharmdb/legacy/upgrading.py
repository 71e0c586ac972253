"""Upgrades an old Prisma database to the current schema: recognize, back up, copy, account for every row, check."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from pharmdb.arguments import checked
from pharmdb.backups import keeping, taking
from pharmdb.cluster import placing
from pharmdb.database import ids, locks, storable, targets, transactions
from pharmdb.doctor import checking
from pharmdb.legacy import raw_rows, receiving, sources, stages
from pharmdb.legacy.accounting import Account
from pharmdb.legacy.receiving import Content, Kind
from pharmdb.legacy.upgrade_report import UpgradeReport
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import seeding


@checked
def upgrade(
    source: str = "",
    database_url: str = "",
    *,
    dry_run: bool = False,
    confirm: str = "",
    seed: bool = False,
    decode_json: bool = False,
    backup: bool = True,
) -> UpgradeReport:
    """Copies an old database to `database_url` in one transaction, and accounts for every row.

    `source` is a path (relative to the project's root) or a URL; if empty, PHARMDB_SOURCE is used. It is only read. The
    target is backed up first, and so is the source, unless `backup` is False; learners' data in the target is replaced
    only if `confirm` is its name. With `dry_run`
    nothing is written. A source that was already imported completely is not imported again. With `seed`, what is
    missing of the seed's accounts is created; no row of the source is changed for that. JSON that JSON strings hold, as
    the application stores it, stays as it is, or with `decode_json` becomes the JSON itself.

    Raises RevisionError if the source is not an old database, ProtectedError if the target holds learners' data or if
    the default accounts would be created in production, ParameterError, BackupError, LockedError, UnavailableError;
    source and target are then unchanged.
    """
    target, old = targets.target(database_url), sources.source_target(source)
    wanted = {"--seed": seed, "--decode-json": decode_json}
    given = [option for option, is_given in wanted.items() if is_given]
    command = sources.command(old, *given)
    sources.refuse_same(old, target, command)
    options = targets.command(target, "".join(f" {option}" for option in given))
    accounts = seeding.read() if seed else None
    with ExitStack() as stack:
        with sources.told_of(old, options=options):
            place = stack.enter_context(sources.undisturbed(old))
            reader = stack.enter_context(transactions.watching(place))
            recognition = stages.recognize(reader, str(old))
        known = receiving.recorded(target)
        account_of = partial(
            Account, to_postgresql=not target.is_sqlite, limits=storable.of(target), decode_json=decode_json
        )
        if dry_run or known:
            with sources.told_of(old, place, options):
                sources.refuse_damaged(place)
            account = account_of(raw_rows.Source(reader, old, place, recognition, options=options))
            account.run()
            done = account.digest in known and receiving.holds(target, account)
            if done:
                receiving.refuse_wrong(command, target, target.name, Content(Kind.SOURCE), confirm)
            if dry_run or done:
                state = "contains all of this source" if done else receiving.state_of(command, target, confirm)
                return UpgradeReport(str(old), str(target), dry_run, done, recognition, account, state, command=command)
        receiving.look(command, target, confirm)
        # Done before the lock is taken, because hashing is slow by design.
        hashes = seeding.hash_passwords(accounts, {}) if accounts else {}
        with sources.told_of(old, options=options):
            if not backup:
                sources.refuse_damaged(place)
            taken = taking.take(reader, old, place=place) if backup else None
        if taken is not None and old.is_sqlite:
            # The backup does not change, even if somebody goes on writing to the source.
            stack.enter_context(keeping.in_use(taken, old))
            place = targets.of_file(taken.path)
            reader = stack.enter_context(transactions.watching(place))
        with transactions.changing_schema(target) as writer:
            content = receiving.guard(writer, command, target, confirm)
            if accounts:
                seeding.refuse_known_passwords(writer, accounts)
            locks.lock_tables(writer)
            before = taking.take(writer, target) if backup else None
            with placing.gathered(writer, emptied=True):
                receiving.empty(writer)
                constant = taken is not None and old.is_sqlite
                source_ = raw_rows.Source(reader, old, place, recognition, constant=constant, options=options)
                with raw_rows.attached(writer, source_) as attached:
                    account = account_of(attached, writer=writer, exclusive=content.kind is not Kind.LEARNERS)
                    account.run()
                marks = _keep_ids(writer, account, recognition.reached)
                seeded = None
                if accounts:
                    seeded = seeding.apply(writer, target, accounts, hashes, only_missing=True, mark=False)
                created = {table: new for table, new, *_ in seeded.counts} if seeded else {}
                receiving.record(writer, str(old), recognition.stage, account.digest)
                account.verify(writer, marks, created)
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
                    command=command,
                )
    return replace(report, doctor=checking.check(database_url))


def _keep_ids(writer: Connection, account: Account, reached: Mapping[str, int]) -> dict[str, int]:
    """Each table's largest id that the source ever gave: no new row gets one of a rejected or deleted row."""
    marks = {count.table.table: max(count.largest_id, reached.get(count.table.name, 0)) for count in account.counts}
    ids.keep_above(writer, marks)
    return marks
