"""Whose tables a database holds, and the reset that this allows."""

from __future__ import annotations

import shlex
from collections.abc import Collection

from sqlalchemy import Connection, inspect

from pharmdb.database import environments, servers, targets
from pharmdb.models import MODELS
from pharmdb.schema import prisma_names


def is_ours(connection: Connection, tables: Collection[str]) -> bool:
    """Whether one of the tables is pharmdb's or the old system's, judged by name and columns."""
    return "pharmdb_environment" in tables or _any_like(connection, tables, old=False) or is_old(connection, tables)


def is_old(connection: Connection, tables: Collection[str]) -> bool:
    """Whether one of the tables is the old system's, judged by name and columns."""
    return _any_like(connection, tables, old=True)


def _any_like(connection: Connection, tables: Collection[str], *, old: bool) -> bool:
    inspector = inspect(connection)
    for model in MODELS:
        columns = set(model.__table__.columns.keys()) - {"role"}
        name = model.__name__ if old else model.__tablename__
        wanted = {prisma_names.camel(column) for column in columns} if old else columns
        if name in tables and wanted <= {column["name"] for column in inspector.get_columns(name)}:
            return True
    return False


def reset_command(connection: Connection, target: targets.Target) -> str:
    """The reset of a database that holds our tables, with the confirmation that it needs; "" where it is refused."""
    if environments.environment(connection) == "production":
        return ""
    name = servers.server_name(connection, target)
    confirm = "" if servers.is_local(connection) else f" --confirm {shlex.quote(name)}"
    return targets.command(target, f"pharmdb reset{confirm}")
