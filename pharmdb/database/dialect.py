"""What SQLite and PostgreSQL do differently, as far as several modules need it: one object for each.

Where a whole job differs, as a backup does, each side has functions of its own beside the job, in one table by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import ip_address
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, SQLColumnExpression, Table, Text, cast, exc, func, inspect
from sqlalchemy.dialects import postgresql, sqlite


class Dialect(ABC):
    """One kind of database. All methods work inside the caller's transaction."""

    # As SQLAlchemy calls it: the key of tables like {"sqlite": …, "postgresql": …}.
    name: ClassVar[str]
    # The collation that orders text by its bytes.
    byte_order: ClassVar[str]

    @abstractmethod
    def insert(self, table: Table) -> Any:
        """An INSERT that knows ON CONFLICT."""

    @abstractmethod
    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        """A time as the database's own text in ISO 8601, in UTC to the millisecond: 2026-01-31T23:59:00.000Z."""

    @abstractmethod
    def as_text(self, expression: str) -> str:
        """The SQL for a time, an enum or a document as text, whatever type the column has."""

    @abstractmethod
    def set_local(self, connection: Connection, **settings: str) -> None:
        """Settings for this transaction, where the database has some of its own."""

    @abstractmethod
    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        """How this connection reads text, where the database lets in bytes that are none."""

    @abstractmethod
    def cursor(self, connection: Connection, name: str) -> Any:
        """A cursor of the driver's that does not hold the whole result; `name` is unique in the transaction."""

    @abstractmethod
    def server_name(self, connection: Connection, named: str) -> str:
        """The database's name by the server's own word; `named` is what the URL calls it."""

    @abstractmethod
    def is_local(self, connection: Connection) -> bool:
        """Whether the database is on this machine."""

    @abstractmethod
    def size(self, connection: Connection) -> int:
        """The bytes of the database, as the file or the catalogue tells them: nothing is counted."""

    @abstractmethod
    def take_lock(self, connection: Connection, number: int) -> None:
        """Waits until nobody else holds this lock, and keeps it until the transaction's end."""

    @abstractmethod
    def hold_still(self, connection: Connection) -> None:
        """Until the transaction's end nobody else writes to a table of the schema; they can still read."""

    @abstractmethod
    def wait_for_schema(self, connection: Connection) -> None:
        """Before a snapshot is taken: waits for whoever is changing the schema."""

    @abstractmethod
    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        """Keeps the transaction usable where a statement in it fails; the failure itself is raised."""

    @abstractmethod
    def analyze(self, connection: Connection, table: str) -> None:
        """Tells the planner about a table that was just filled, where it would guess otherwise."""

    @abstractmethod
    def planning_without(self, connection: Connection, *ways: str) -> AbstractContextManager[None]:
        """Closes these ways to the planner (enable_seqscan, …), so that what is left are the indexes."""

    @abstractmethod
    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        """Rows whose owner is missing, as (table, row), where the database lets them in."""


class SQLite(Dialect):
    """A file. A write transaction keeps all other writers out from its beginning to its end."""

    name = "sqlite"
    byte_order = "BINARY"

    def insert(self, table: Table) -> Any:
        return sqlite.insert(table)

    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        return func.replace(cast(column, Text), "+00:00", "Z")

    def as_text(self, expression: str) -> str:
        return expression

    def set_local(self, connection: Connection, **settings: str) -> None:
        pass

    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        driver: Any = connection.connection.driver_connection
        driver.text_factory = decode

    def cursor(self, connection: Connection, name: str) -> Any:
        driver: Any = connection.connection.driver_connection
        return driver.cursor()

    def server_name(self, connection: Connection, named: str) -> str:
        return named

    def is_local(self, connection: Connection) -> bool:
        return True

    def size(self, connection: Connection) -> int:
        sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        return int(connection.exec_driver_sql(sql).scalar_one())

    def take_lock(self, connection: Connection, number: int) -> None:
        pass

    def hold_still(self, connection: Connection) -> None:
        pass

    def wait_for_schema(self, connection: Connection) -> None:
        pass

    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        return nullcontext()

    def analyze(self, connection: Connection, table: str) -> None:
        pass

    def planning_without(self, connection: Connection, *ways: str) -> AbstractContextManager[None]:
        return nullcontext()

    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        # Keys are not enforced while the schema is changed.
        return [(table, row) for table, row, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check")]


class PostgreSQL(Dialect):
    """A server, which others use at the same time."""

    name = "postgresql"
    byte_order = "C"

    def insert(self, table: Table) -> Any:
        return postgresql.insert(table)

    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        return func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"', type_=Text)

    def as_text(self, expression: str) -> str:
        return f"{expression}::text"

    def set_local(self, connection: Connection, **settings: str) -> None:
        for name, value in settings.items():
            connection.exec_driver_sql(f"SET LOCAL {name} = '{value}'")

    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        pass

    def cursor(self, connection: Connection, name: str) -> Any:
        driver: Any = connection.connection.driver_connection
        # A cursor of the server's: the driver's own takes the whole result at once.
        return driver.cursor(name=name)

    def server_name(self, connection: Connection, named: str) -> str:
        return str(connection.exec_driver_sql("SELECT current_database()").scalar_one())

    def is_local(self, connection: Connection) -> bool:
        driver: Any = connection.connection.dbapi_connection
        info = driver.info
        if info.host.startswith(("/", "@")):
            return True
        try:
            return ip_address(info.hostaddr or info.host).is_loopback
        except ValueError:
            return str(info.host) == "localhost"

    def size(self, connection: Connection) -> int:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = quote_ident(current_schema())::regnamespace"
        )
        return int(connection.exec_driver_sql(sql).scalar_one())

    def take_lock(self, connection: Connection, number: int) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({number})")

    def hold_still(self, connection: Connection) -> None:
        tables = inspect(connection).get_table_names()
        quote_name = connection.dialect.identifier_preparer.quote_identifier
        if tables:
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote_name, sorted(tables)))} IN SHARE MODE")

    def wait_for_schema(self, connection: Connection) -> None:
        # A snapshot taken while a reset holds its locks would show its new tables without their rows. LOCK TABLE waits
        # for the reset before there is a snapshot.
        from psycopg import errors

        try:
            connection.exec_driver_sql("LOCK TABLE users IN ACCESS SHARE MODE")
        except exc.ProgrammingError as error:
            if not isinstance(error.orig, (errors.UndefinedTable, errors.InsufficientPrivilege)):
                raise
            driver: Any = connection.connection.dbapi_connection
            driver.rollback()

    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        return connection.begin_nested()

    def analyze(self, connection: Connection, table: str) -> None:
        connection.exec_driver_sql(f"ANALYZE {table}")

    @contextmanager
    def planning_without(self, connection: Connection, *ways: str) -> Iterator[None]:
        connection.exec_driver_sql("; ".join(f"SET LOCAL {way} = off" for way in ways))
        yield
        # Where a statement failed, the rollback sets them back.
        connection.exec_driver_sql("; ".join(f"SET LOCAL {way} TO DEFAULT" for way in ways))

    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        return []


_DIALECTS: dict[str, Dialect] = {each.name: each for each in (SQLite(), PostgreSQL())}


def of(connection: Connection) -> Dialect:
    """The kind of database that a connection leads to."""
    return named(connection.dialect.name)


def named(name: str) -> Dialect:
    """The kind of database that SQLAlchemy calls so."""
    return _DIALECTS[name]
