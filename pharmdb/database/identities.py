"""Which database it is: what distinguishes a database from its copies and from others of the same name."""

from __future__ import annotations

import platform
import sqlite3
from dataclasses import dataclass

from sqlalchemy import Connection, exc

from pharmdb.database import environments, targets, transactions
from pharmdb.errors import PharmdbError


@dataclass(frozen=True)
class Identity:
    """A database: the id that it records, and its place.

    `database_id` is "" if the database records none or can't be read. `machine` is the host of an SQLite file, and the
    system identifier of a PostgreSQL server, "" if the server can't be asked. `place` is the file, without symbolic
    links, or the database and its schema. `url` and `host` are for people.
    """

    dialect: str
    database_id: str
    machine: str
    place: str
    url: str
    host: str


def unread(target: targets.Target) -> Identity:
    """The identity of a database that is missing or can't be read: only its place is known."""
    host = platform.node()
    machine, place = (host, str(target.path.resolve())) if target.is_sqlite else ("", "")
    return Identity(target.dialect.name, "", machine, place, target.identity, host)


def of(connection: Connection, target: targets.Target) -> Identity:
    """The identity of the connection's database."""
    known = unread(target)
    machine, place = known.machine, known.place
    if not target.is_sqlite:
        machine, place = _server(connection)
    database_id = environments.read_stamp(connection).database_id
    return Identity(known.dialect, database_id, machine, place, known.url, known.host)


def look(target: targets.Target) -> Identity:
    """As `of`; `unread` if the database is missing, damaged or does not respond."""
    try:
        with transactions.watching(target) as connection:
            return of(connection, target)
    except (PharmdbError, exc.DBAPIError, sqlite3.Error):
        return unread(target)


def _server(connection: Connection) -> tuple[str, str]:
    """The system identifier, which every server gets from initdb, and the database with its schema."""
    allowed = connection.exec_driver_sql("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")
    number = ""
    if allowed.scalar_one():
        number = str(connection.exec_driver_sql("SELECT system_identifier FROM pg_control_system()").scalar_one())
    names = connection.exec_driver_sql("SELECT current_database(), coalesce(current_schema(), '')").one()
    return number or "unknown", "/".join(names)
