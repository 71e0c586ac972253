"""What the server itself says about the database: its name, its size, and whether it runs on this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from sqlalchemy import (
    Connection,
)

from pharmdb.database.targets import Target


def server_name(connection: Connection, target: Target) -> str:
    """The database's name as `confirm` takes it, from the server itself: a URL may leave it out."""
    if target.is_sqlite:
        return target.name
    return str(connection.exec_driver_sql("SELECT current_database()").scalar_one())


def is_local(connection: Connection) -> bool:
    """Whether the server runs on this machine: a file, a Unix socket or a loopback address.

    Asks the connection itself, because a service file or PGHOST may name another host than the URL.
    """
    if connection.dialect.name == "sqlite":
        return True
    driver: Any = connection.connection.dbapi_connection
    info = driver.info
    if info.host.startswith(("/", "@")):
        return True
    try:
        return ip_address(info.hostaddr or info.host).is_loopback
    except ValueError:
        return str(info.host) == "localhost"


# Up to so many bytes a database is looked at whole.
LARGE = 2**27


def size(connection: Connection) -> int:
    """The bytes of the database, as the file or the catalogue tells them: nothing is counted."""
    if connection.dialect.name == "sqlite":
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    else:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = quote_ident(current_schema())::regnamespace"
        )
    return int(connection.exec_driver_sql(sql).scalar_one())
