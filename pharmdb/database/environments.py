"""What a database records about itself: its environment, which PHARMDB_ENV can only make stricter, and its id."""

from __future__ import annotations

import os
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    inspect,
    select,
)

from pharmdb import settings
from pharmdb.database import dialect
from pharmdb.errors import ParameterError, ProtectedError

# The database's own record. A record that older code made has no database_id until the next write.
STAMP = Table(
    "pharmdb_environment",
    MetaData(),
    Column(
        "id",
        Integer,
        CheckConstraint("id = 1", name="ck_pharmdb_environment_one_row"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "name",
        String(16),
        CheckConstraint(f"name IN {settings.ENVIRONMENTS}", name="ck_pharmdb_environment_name"),
        nullable=False,
    ),
    Column("database_id", String(36)),
)


@dataclass(frozen=True)
class Stamp:
    """What a database records about itself; "" stands for what it does not record."""

    environment: str = ""
    database_id: str = ""


def configured_environment() -> str:
    """PHARMDB_ENV, or development. Raises ParameterError for an unknown environment."""
    name = os.environ.get("PHARMDB_ENV") or "development"
    if name not in settings.ENVIRONMENTS:
        near = [each for each in settings.ENVIRONMENTS if name.strip().lower()[:4] == each[:4]]
        raise ParameterError(
            expected=f"PHARMDB_ENV to be one of {', '.join(settings.ENVIRONMENTS)}",
            found=f"PHARMDB_ENV={name!r}",
            # Nothing is less strict by mistake: what looks like no environment has no command.
            command=f"export PHARMDB_ENV={near[0]}" if near else "",
            note="" if near else f"export PHARMDB_ENV with one of {', '.join(settings.ENVIRONMENTS)}",
        )
    return name


def environment(connection: Connection) -> str:
    """The stricter of PHARMDB_ENV and the environment recorded in the database."""
    configured = configured_environment()
    remembered = remembered_environment(connection) or configured
    return "production" if "production" in (configured, remembered) else remembered


def remembered_environment(connection: Connection) -> str | None:
    """The environment recorded in the database; None if there is no record."""
    if not inspect(connection).has_table(STAMP.name):
        return None
    return connection.scalar(select(STAMP.c.name))


def known_environment(stamp: Stamp) -> str:
    """The stricter of PHARMDB_ENV and the recorded environment; "" if neither is set."""
    configured = configured_environment() if os.environ.get("PHARMDB_ENV") else ""
    return "production" if "production" in (configured, stamp.environment) else stamp.environment or configured


def read_stamp(connection: Connection) -> Stamp:
    """What the database records about itself."""
    inspector = inspect(connection)
    if not inspector.has_table(STAMP.name):
        return Stamp()
    there = {column["name"] for column in inspector.get_columns(STAMP.name)}
    columns = [STAMP.c.name, *([STAMP.c.database_id] if "database_id" in there else [])]
    row = connection.execute(select(*columns)).first()
    return Stamp(*(value or "" for value in row)) if row else Stamp()


def stamp_environment(connection: Connection, kept: Stamp = Stamp()) -> None:
    """Records environment and id in the database; a production database stays one, and an id never changes.

    `kept` is the record from before everything was dropped.
    """
    found = read_stamp(connection)
    before = Stamp(found.environment or kept.environment, found.database_id or kept.database_id)
    name = known_environment(before) or configured_environment()
    put_stamp(connection, Stamp(name, before.database_id or str(uuid4())))


def ensure_id(connection: Connection) -> None:
    """Gives a database of older code an id, unless our role may not alter the record or somebody is reading it."""
    found = read_stamp(connection)
    if not found.environment or found.database_id:
        return
    with dialect.of(connection).attempting(connection):
        put_stamp(connection, Stamp(database_id=str(uuid4())))


def put_stamp(connection: Connection, stamp: Stamp) -> None:
    """Records this in the database; "" leaves a part as it is. Creates table and column if they are missing."""
    STAMP.create(connection, checkfirst=True)
    if "database_id" not in {column["name"] for column in inspect(connection).get_columns(STAMP.name)}:
        column = STAMP.c.database_id
        kind = column.type.compile(connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {STAMP.name} ADD COLUMN {column.name} {kind}")
    found = read_stamp(connection)
    wanted = Stamp(
        stamp.environment or found.environment or configured_environment(), stamp.database_id or found.database_id
    )
    # Also where nothing is to be changed: a database that can't be written to is never taken for a migrated one.
    connection.execute(STAMP.delete().where(STAMP.c.name != wanted.environment))
    if wanted != found:
        connection.execute(STAMP.delete())
        values = {"id": 1, "name": wanted.environment, "database_id": wanted.database_id or None}
        connection.execute(STAMP.insert().values(values))


def refuse_production(connection: Connection | None, verb: str) -> None:
    """Raises ProtectedError if PHARMDB_ENV or, given a connection, the database itself says production."""
    expected = f"a development or test database to {verb}"
    if configured_environment() == "production":
        raise ProtectedError(
            expected=expected,
            found="PHARMDB_ENV says production",
            note="a shell for production destroys nothing: use another one, with the PHARMDB_URL of another database",
        )
    if connection is not None and environment(connection) == "production":
        raise ProtectedError(
            expected=expected,
            found="the database itself says production",
            note="set PHARMDB_URL to another database; if this one is only a copy: "
            "UPDATE pharmdb_environment SET name = 'development'",
        )
