"""The target of an upgrade: what it contains, whether that may be replaced, and how it is emptied."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, inspect, select

from pharmdb.database import environments, servers, storable, targets, transactions
from pharmdb.errors import ProtectedError
from pharmdb.legacy.accounting import Account, rejects_table
from pharmdb.models import MODELS
from pharmdb.schema import revisions
from pharmdb.schema.fingerprints import fingerprint
from pharmdb.seeding import seeding
from pharmdb.types import BIGINT, VARCHAR, UTCDateTime, utcnow

# The sources that were upgraded into this database; the digest covers every row of the source.
upgrades = Table(
    "pharmdb_upgrades",
    MetaData(),
    Column("id", BIGINT, primary_key=True),
    Column("source", VARCHAR, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("digest", VARCHAR, nullable=False),
    Column("upgraded_at", UTCDateTime, server_default=utcnow(), nullable=False),
    sqlite_strict=True,
)


class Kind(Enum):
    """The kinds of content a target can have. Learners' data is replaced only with `confirm`."""

    EMPTY = "empty"
    FRESH = "freshly reset"
    LEARNERS = "learners' data"
    SOURCE = "all of this source"


@dataclass(frozen=True)
class Content:
    """What a target contains; `rows` and `tables` count learners' data. `str()` gives a phrase for messages."""

    kind: Kind
    rows: int = 0
    tables: int = 0

    def __str__(self) -> str:
        if self.kind is Kind.LEARNERS:
            return f"{self.kind.value}: {self.rows} rows in {self.tables} tables"
        return str(self.kind.value)


def guard(connection: Connection, command: str, target: targets.Target, confirm: str) -> Content:
    """Returns what the target contains. Raises ProtectedError if that may not be replaced."""
    revisions.require_known(connection, target)
    content = _content(connection)
    if content.kind is Kind.LEARNERS:
        environments.refuse_production(connection, "replace")
    refuse_wrong(command, target, servers.server_name(connection, target), content, confirm)
    return content


def refuse_wrong(command: str, target: targets.Target, name: str, content: Content, confirm: str) -> None:
    """Raises ProtectedError if `confirm` is required but missing, or is not the target's name.

    `command` is what runs this upgrade, without its confirmation.
    """
    # A wrong name is never ignored: the caller meant another database.
    if (confirm or content.kind is Kind.LEARNERS) and str(confirm) != name:
        raise ProtectedError(
            expected=f"an empty or freshly reset target, or confirm={name} to replace what it holds",
            found=f"{content}; confirm={confirm!r}",
            command=targets.command(target, f"{command} --confirm {shlex.quote(name)}"),
        )


def _content(connection: Connection) -> Content:
    there = set(inspect(connection).get_table_names())
    filled = {
        model.__tablename__: connection.exec_driver_sql(f"SELECT count(*) FROM {model.__tablename__}").scalar_one()
        for model in MODELS
        if model.__tablename__ in there
    }
    rows = sum(filled.values())
    if rejects_table.name in there:
        # Rows rejected by an earlier migration are somebody's data, too.
        rows += connection.scalar(select(func.count()).select_from(rejects_table)) or 0
    if not rows:
        return Content(Kind.EMPTY)
    small = rows < 1000 and revisions.is_at_head(connection)
    if small and fingerprint(connection, seed=True) == seeding.KNOWN_GOOD:
        return Content(Kind.FRESH)
    return Content(Kind.LEARNERS, rows, sum(map(bool, filled.values())))


def look(command: str, target: targets.Target, confirm: str) -> Content:
    """Like `guard`, before anything is locked or backed up."""
    if target.is_sqlite and not target.in_own_folder and not target.path.parent.is_dir():
        # Opening it raises the error that says what is wrong.
        with transactions.reading(target):
            pass
    if not _is_there(target):
        refuse_wrong(command, target, target.name, Content(Kind.EMPTY), confirm)
        return Content(Kind.EMPTY)
    with transactions.reading(target) as connection:
        return guard(connection, command, target, confirm)


def state_of(command: str, target: targets.Target, confirm: str) -> str:
    """What the target contains, or why an upgrade would be refused; for a dry run."""
    try:
        return str(look(command, target, confirm))
    except ProtectedError as error:
        return f"{error.found}; expected: {error.expected}"


def _is_there(target: targets.Target) -> bool:
    return not target.is_sqlite or target.path.exists()


def recorded(target: targets.Target) -> set[str]:
    """The digests of the sources that were upgraded into this target."""
    if not _is_there(target):
        return set()
    with transactions.reading(target) as connection:
        if not inspect(connection).has_table(upgrades.name):
            return set()
        return set(connection.scalars(select(upgrades.c.digest)))


def holds(target: targets.Target, account: Account) -> bool:
    """Whether each table still has as many rows as were imported from this source."""
    with transactions.reading(target) as connection:
        return all(
            connection.exec_driver_sql(f"SELECT count(*) FROM {count.table.table}").scalar_one() >= count.imported
            for count in account.counts
        )


def record(connection: Connection, source: str, stage: int, digest: str) -> None:
    """Records that this source was upgraded into the database."""
    source = storable.limits(connection).shown(source)
    connection.execute(upgrades.insert().values(source=source, stage=stage, digest=digest))


def empty(connection: Connection) -> None:
    """Brings the schema to head and deletes all rows."""
    revisions.upgrade(connection)
    environments.stamp_environment(connection)
    for table in (rejects_table, upgrades):
        table.create(connection, checkfirst=True)
        connection.execute(table.delete())
    for model in reversed(MODELS):
        connection.execute(model.__table__.delete())  # type: ignore[attr-defined]
