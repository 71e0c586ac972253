"""What the server itself says about the database: its name, its size, and whether it runs on this machine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from pharmdb.database import dialect
from pharmdb.database.targets import Target

# Up to so many bytes a database is looked at whole.
LARGE = 2**27


def server_name(connection: Connection, target: Target) -> str:
    """The database's name as `confirm` takes it, from the server itself: a URL may leave it out."""
    return dialect.of(connection).server_name(connection, target.name)


def connect_options(target: Target) -> dict[str, Any]:
    """What libpq takes to connect to the target, the password among it."""
    _, options = target.url.get_dialect()().create_connect_args(target.url)
    # SQLAlchemy's own, which libpq does not know.
    return {key: value for key, value in options.items() if key != "context"}


def is_local(connection: Connection) -> bool:
    """Whether the server runs on this machine: a file, a Unix socket or a loopback address.

    Asks the connection itself, because a service file or PGHOST may name another host than the URL.
    """
    return dialect.of(connection).is_local(connection)


def size(connection: Connection) -> int:
    """The bytes of the database, as the file or the catalogue tells them: nothing is counted."""
    return dialect.of(connection).size(connection)
