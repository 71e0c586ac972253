"""What the server itself reports about the database: its name, its size, and whether it runs on this machine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from pharmdb.database import dialect, targets
from pharmdb.database.targets import Target

# The doctor checks every row of a database of up to this many bytes.
LARGE = 2**27


def server_name(connection: Connection, target: Target) -> str:
    """The database's name as `confirm` expects it, from the server itself, because a URL may omit it."""
    return dialect.of(connection).server_name(connection, target.name)


def target_of(connection: Connection) -> Target:
    """The database of a connection."""
    if connection.dialect.name == "sqlite":
        return targets.of_file(connection.exec_driver_sql("PRAGMA database_list").all()[0][2])
    return Target(connection.engine.url)


def connect_options(target: Target) -> dict[str, Any]:
    """The options with which libpq connects to the target, including the password."""
    _, options = target.url.get_dialect()().create_connect_args(target.url)
    # libpq does not know `context`; a server without a conversion to PGCLIENTENCODING would refuse the connection.
    return {key: value for key, value in options.items() if key != "context"} | {"client_encoding": "utf8"}


def is_standby(connection: Connection) -> bool:
    """Whether the server only repeats what another one, its primary, writes."""
    if connection.dialect.name != "postgresql":
        return False
    return bool(connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one())


def is_local(connection: Connection) -> bool:
    """Whether the server runs on this machine: a file, a Unix socket or a loopback address.

    Asks the connection itself, because a service file or PGHOST may name another host than the URL.
    """
    return dialect.of(connection).is_local(connection)


def size(connection: Connection) -> int:
    """The size of the database in bytes, from the file or the catalogue, without counting rows."""
    return dialect.of(connection).size(connection)
