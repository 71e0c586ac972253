"""The reset command: guard, drop, migrate and seed, from any state to the known-good one, in one transaction."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from pharmdb import reports
from pharmdb.arguments import checked
from pharmdb.backups import manifests, taking
from pharmdb.cluster import placing
from pharmdb.database import environments, locks, servers, targets, transactions
from pharmdb.errors import ProtectedError
from pharmdb.models import MODELS
from pharmdb.schema import dropping, ownership, revisions
from pharmdb.seeding import seeding

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ResetReport:
    """What a reset did.

    `destroyed`: kind, name (str), rows (Int64; empty except for tables), one row for each table, view, … that was
    dropped. `backup`: the backup of all that, or None. `seeded`: the report of the seed. `fingerprint`: the seed
    fingerprint, 64 hex digits.
    """

    target: str
    revision: str
    objects: tuple[tuple[str, str, int | None], ...] = field(repr=False)
    backup: manifests.Backup | None
    seeded: seeding.SeedReport

    @property
    def fingerprint(self) -> str:
        return self.seeded.fingerprint

    @property
    def destroyed(self) -> pd.DataFrame:
        return reports.table(list(self.objects), {"kind": "str", "name": "str", "rows": "Int64"})

    @property
    def way_back(self) -> str:
        """The command that restores the previous content; "" without a backup."""
        return manifests.way_back(self.target, self.backup)

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{len(MODELS)} tables recreated, {self.seeded.changed}",
            fingerprint=self.fingerprint,
            next=targets.command(self.target, "pharmdb doctor"),
        )


@checked
def reset(database_url: str = "", *, confirm: str = "", backup: bool = True, seed_dir: str = "") -> ResetReport:
    """Drops everything in the database, applies all revisions and seeds: the known-good state, in one transaction.

    `confirm` is the database's name; it is required for another program's database and for a server on another
    machine. The old content is backed up first, unless `backup` is False; nobody else can write between backup and
    reset.

    Raises ProtectedError in production and if a required `confirm` is missing, SeedError, BackupError, LockedError,
    UnavailableError; the database is then unchanged.
    """
    target = targets.target(database_url)
    environments.refuse_production(None, "reset")
    seed = seeding.read(seed_dir)
    # Before the lock is taken, because hashing is deliberately slow.
    hashes = seeding.hash_passwords(seed, {})
    with transactions.changing_schema(target) as connection:
        _guard(connection, target, confirm)
        locks.lock_tables(connection)
        destroyed = dropping.objects(connection)
        stamp = environments.read_stamp(connection)
        taken = taking.take(connection, target) if backup else None
        # On a Citus cluster the new tables are distributed like the old ones.
        with placing.gathered(connection, emptied=True):
            dropping.drop_everything(connection)
            revisions.upgrade(connection)
            environments.stamp_environment(connection, stamp)
            seeded = seeding.apply(connection, target, seed, hashes)
        return ResetReport(str(target), revisions.current_revision(connection) or "", tuple(destroyed), taken, seeded)


def _guard(connection: Connection, target: targets.Target, confirm: str) -> None:
    environments.refuse_production(connection, "reset")
    name = servers.server_name(connection, target)
    tables = dropping.tables(connection)
    # Alembic's table alone does not show whose database it is, and holds no data; nor does a type.
    others = [n for kind, n in dropping.names(connection) if kind not in ("type", "domain") and n != "alembic_version"]
    reason = ""
    if not servers.is_local(connection):
        reason = "a server that is not on this machine"
    elif others and not ownership.is_ours(connection, tables):
        reason = f"another program's {'tables' if tables else 'objects'}: {', '.join((tables or others)[:8])}"
    # A wrong name is never ignored: the caller meant another database.
    if (reason or confirm) and str(confirm) != name:
        raise ProtectedError(
            expected=f"confirm={name}, to destroy everything in it",
            found=f"{reason or 'a database that needs no confirm'}; confirm={confirm!r}",
            command=targets.command(target, f"pharmdb reset --confirm {shlex.quote(name)}"),
        )
