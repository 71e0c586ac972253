"""The environment (development, test or production), from PHARMDB_ENV and from the database itself."""

from __future__ import annotations

import os

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
from pharmdb.errors import ParameterError, ProtectedError

# The database's own record of its environment.
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
)


def configured_environment() -> str:
    """PHARMDB_ENV, or development. Raises ParameterError for an unknown environment."""
    name = os.environ.get("PHARMDB_ENV") or "development"
    if name not in settings.ENVIRONMENTS:
        raise ParameterError(
            expected=f"PHARMDB_ENV to be one of {', '.join(settings.ENVIRONMENTS)}",
            found=f"PHARMDB_ENV={name!r}",
            command="export PHARMDB_ENV=development",
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


def stamp_environment(connection: Connection) -> None:
    """Records the environment in the database; a production database stays one."""
    name = environment(connection)
    STAMP.create(connection, checkfirst=True)
    connection.execute(STAMP.delete().where(STAMP.c.name != name))
    if connection.scalar(select(STAMP.c.name)) is None:
        connection.execute(STAMP.insert().values(id=1, name=name))


def refuse_production(connection: Connection | None, verb: str) -> None:
    """Raises ProtectedError if PHARMDB_ENV or, given a connection, the database itself says production."""
    expected = f"a development or test database to {verb}"
    if configured_environment() == "production":
        raise ProtectedError(expected=expected, found="PHARMDB_ENV says production", command="unset PHARMDB_ENV")
    if connection is not None and environment(connection) == "production":
        raise ProtectedError(
            expected=expected,
            found="the database itself says production",
            note="set PHARMDB_URL to another database; if this one is only a copy: "
            "UPDATE pharmdb_environment SET name = 'development'",
        )
