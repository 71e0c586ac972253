"""development, test or production: what PHARMDB_ENV and the database itself say."""

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

_stamp = Table(
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
    """PHARMDB_ENV, or development. Raises ParameterError for any other word."""
    name = os.environ.get("PHARMDB_ENV") or "development"
    if name not in settings.ENVIRONMENTS:
        raise ParameterError(
            expected=f"PHARMDB_ENV to be one of {', '.join(settings.ENVIRONMENTS)}",
            found=f"PHARMDB_ENV={name!r}",
            next="export PHARMDB_ENV=development",
        )
    return name


def environment(connection: Connection) -> str:
    """The stricter of PHARMDB_ENV and what the database remembers."""
    configured = configured_environment()
    remembered = remembered_environment(connection) or configured
    return "production" if "production" in (configured, remembered) else remembered


def remembered_environment(connection: Connection) -> str | None:
    """What the database itself says; None where it says nothing."""
    if not inspect(connection).has_table(_stamp.name):
        return None
    return connection.scalar(select(_stamp.c.name))


def stamp_environment(connection: Connection) -> None:
    """Makes the database remember the environment; one that was production stays so."""
    name = environment(connection)
    _stamp.create(connection, checkfirst=True)
    connection.execute(_stamp.delete().where(_stamp.c.name != name))
    if connection.scalar(select(_stamp.c.name)) is None:
        connection.execute(_stamp.insert().values(id=1, name=name))


def refuse_production(connection: Connection | None, verb: str) -> None:
    """Raises ProtectedError where PHARMDB_ENV or, given its connection, the database itself says production."""
    expected = f"a development or test database to {verb}"
    if configured_environment() == "production":
        raise ProtectedError(expected=expected, found="PHARMDB_ENV says production", next="unset PHARMDB_ENV")
    if connection is not None and environment(connection) == "production":
        raise ProtectedError(
            expected=expected,
            found="the database itself says production",
            next="point PHARMDB_URL at another database; if this one is a mere copy: "
            "UPDATE pharmdb_environment SET name = 'development'",
        )
