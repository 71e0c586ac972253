"""Guard, drop, migrate, seed: from any state to the known-good one, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from pharmdb import backups, database, dropping, reports, revisions, seeding
from pharmdb.errors import ProtectedError
from pharmdb.models import MODELS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ResetReport:
    """What a reset did.

    `destroyed`: kind, name (str), rows (Int64; empty for what holds none), one row for each table, view, … that was
    dropped. `backup`: of all that; None without one. `seeded`: the report of the seed. `fingerprint`: the seed
    fingerprint, 64 hex digits.
    """

    target: str
    revision: str
    objects: tuple[tuple[str, str, int | None], ...] = field(repr=False)
    backup: backups.Backup | None
    seeded: seeding.SeedReport

    @property
    def fingerprint(self) -> str:
        return self.seeded.fingerprint

    @property
    def destroyed(self) -> pd.DataFrame:
        return reports.table(list(self.objects), {"kind": "str", "name": "str", "rows": "Int64"})

    @property
    def way_back(self) -> str:
        """The command that brings back what was destroyed; "" without a backup."""
        return f"pharmdb restore --backup {self.backup.id}" if self.backup else ""

    @property
    def outcome(self) -> pd.DataFrame:
        return reports.outcome(
            ok=True,
            changed=f"{len(MODELS)} tables anew, {self.seeded.changed}",
            fingerprint=self.fingerprint,
            next="pharmdb inspect",
        )


def reset(database_url: str = "", *, confirm: str = "", backup: bool = True, seed_dir: str = "") -> ResetReport:
    """Drops everything in the database, applies all revisions and seeds: the known-good state, in one transaction.

    `confirm` is the database's name; it is needed for another program's database and for a server elsewhere. What is
    destroyed is backed up first, unless `backup` is False; nobody else can write between backup and reset.

    Raises ProtectedError in production and where `confirm` is missing, SeedError, BackupError, LockedError,
    UnavailableError; the database is then what it was.
    """
    target = database.target(database_url)
    if database.configured_environment() == "production":
        raise _production("PHARMDB_ENV")
    seed = seeding.read(seed_dir)
    # Before the lock is taken, because hashing is slow on purpose.
    hashes = seeding.hash_passwords(seed, {})
    with database.changing_schema(target) as connection:
        _guard(connection, target, confirm)
        database.hold_still(connection)
        destroyed = dropping.objects(connection)
        taken = backups.take(connection, target) if backup else None
        dropping.drop_everything(connection)
        revisions.upgrade(connection)
        database.stamp_environment(connection)
        seeded = seeding.apply(connection, target, seed, hashes)
        return ResetReport(str(target), revisions.current_revision(connection) or "", tuple(destroyed), taken, seeded)


def _production(source: str) -> ProtectedError:
    return ProtectedError(
        expected="a development or test database to reset",
        found=f"{source} says production",
        next="unset PHARMDB_ENV"
        if source == "PHARMDB_ENV"
        else "point PHARMDB_URL at another database; if this one is a mere copy: "
        "UPDATE pharmdb_environment SET name = 'development'",
    )


def _guard(connection: Connection, target: database.Target, confirm: str) -> None:
    if database.environment(connection) == "production":
        raise _production("the database itself")
    # Alembic's own table alone says nothing, and holds nothing.
    tables = [name for name in dropping.tables(connection) if name != "alembic_version"]
    reason = ""
    if not database.is_local(connection):
        reason = "a server that is not on this machine"
    elif tables and not _is_ours(connection, tables):
        reason = f"another program's tables: {', '.join(tables[:8])}"
    if reason and str(confirm) != target.name:
        raise ProtectedError(
            expected=f"confirm={target.name}, to destroy all of it",
            found=f"{reason}; confirm={confirm!r}",
            next=f"check that PHARMDB_URL is right; then pharmdb reset --confirm {target.name}",
        )


def _is_ours(connection: Connection, tables: list[str]) -> bool:
    """Whether one of the tables is pharmdb's or the old system's, by name and by columns."""
    if "pharmdb_environment" in tables:
        return True
    inspector = inspect(connection)
    for model in MODELS:
        columns = set(model.__table__.columns.keys()) - {"role"}
        old = {_camel(column) for column in columns}
        for name, wanted in ((model.__tablename__, columns), (model.__name__, old)):
            if name in tables and wanted <= {column["name"] for column in inspector.get_columns(name)}:
                return True
    return False


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
