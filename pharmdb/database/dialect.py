"""The differences between SQLite and PostgreSQL that several modules need: one object for each database.

Where a whole operation differs, such as a backup, its module has one function per database, in a dictionary by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import ip_address
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, Connection, SQLColumnExpression, Table, Text, cast, collate, exc, func, inspect
from sqlalchemy.dialects import postgresql, sqlite

from pharmdb.database.placements import IN_CLUSTER


class Dialect(ABC):
    """One kind of database. All methods work inside the caller's transaction."""

    # SQLAlchemy's name: the key of dictionaries such as {"sqlite": …, "postgresql": …}.
    name: ClassVar[str]

    @abstractmethod
    def insert(self, table: Table) -> Any:
        """An INSERT statement that supports ON CONFLICT."""

    @abstractmethod
    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        """SQL that formats a time as ISO 8601 in UTC, with milliseconds: 2026-01-31T23:59:00.000+00:00."""

    @abstractmethod
    def keeps_utf8(self, connection: Connection) -> bool:
        """Whether the database stores text as bytes of UTF-8, or as the bytes it was given."""

    @abstractmethod
    def by_bytes(self, connection: Connection, column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
        """What sorts text by the bytes that it has in UTF-8, whatever the database's encoding and collation."""

    @abstractmethod
    def as_text(self, expression: str) -> str:
        """SQL that casts a time, an enum or a document to text, whatever type the column has."""

    @abstractmethod
    def set_local(self, connection: Connection, **settings: str) -> None:
        """Changes server settings for this transaction; does nothing on SQLite, which has none."""

    @abstractmethod
    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        """Sets how this connection decodes text, if the database accepts bytes that are not valid text."""

    @abstractmethod
    def read_bytes(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        """Like `decode_text`, and a server sends such bytes, too; statements must then be ASCII in this transaction."""

    @abstractmethod
    def cursor(self, connection: Connection, name: str) -> Any:
        """A driver cursor that streams its result; `name` must be unique in the transaction."""

    @abstractmethod
    def server_name(self, connection: Connection, named: str) -> str:
        """The database's name according to the server; `named` is its name in the URL."""

    @abstractmethod
    def is_local(self, connection: Connection) -> bool:
        """Whether the database is on this machine."""

    @abstractmethod
    def size(self, connection: Connection) -> int:
        """The size of the database in bytes, from the file or the catalogue, without counting rows."""

    @abstractmethod
    def take_lock(self, connection: Connection, number: int) -> None:
        """Waits for the advisory lock with this number and holds it until the end of the transaction."""

    @abstractmethod
    def share_lock(self, connection: Connection, number: int) -> None:
        """As `take_lock`, together with others who share it, and until the connection is closed."""

    @abstractmethod
    def lock_tables(self, connection: Connection) -> None:
        """Locks all tables of the schema against other writers until the end of the transaction; readers continue."""

    @abstractmethod
    def wait_for_schema(self, connection: Connection) -> None:
        """Waits for a running schema change; call it before a snapshot is taken."""

    @abstractmethod
    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        """Keeps the transaction usable if a statement inside fails; the error itself is raised."""

    @abstractmethod
    def attempting(self, connection: Connection) -> AbstractContextManager[None]:
        """Statements inside are undone if our role may not do it, or another session holds a lock that they need."""

    @abstractmethod
    def analyze(self, connection: Connection, table: str) -> None:
        """Updates the planner's statistics for a table that was just filled, if the database needs it."""

    @abstractmethod
    def planning_without(self, connection: Connection, *methods: str) -> AbstractContextManager[None]:
        """Disables these planner methods (enable_seqscan, …), so that the planner prefers indexes."""

    @abstractmethod
    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        """Rows whose owner is missing, as (table, row), if the database can contain any."""


class SQLite(Dialect):
    """A file. A write transaction excludes all other writers from beginning to end."""

    name = "sqlite"

    def insert(self, table: Table) -> Any:
        return sqlite.insert(table)

    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        return cast(column, Text)

    def keeps_utf8(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("PRAGMA encoding").scalar_one() == "UTF-8")

    def by_bytes(self, connection: Connection, column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
        if self.keeps_utf8(connection):
            return collate(column, "BINARY")
        # BINARY compares the bytes of UTF-16.
        driver: Any = connection.connection.driver_connection
        driver.create_collation(_BY_BYTES, _compared)
        return collate(column, _BY_BYTES)

    def as_text(self, expression: str) -> str:
        return expression

    def set_local(self, connection: Connection, **settings: str) -> None:
        pass

    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        driver: Any = connection.connection.driver_connection
        driver.text_factory = decode

    def read_bytes(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        self.decode_text(connection, decode)

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

    def share_lock(self, connection: Connection, number: int) -> None:
        pass

    def lock_tables(self, connection: Connection) -> None:
        pass

    def wait_for_schema(self, connection: Connection) -> None:
        pass

    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        return nullcontext()

    def attempting(self, connection: Connection) -> AbstractContextManager[None]:
        return nullcontext()

    def analyze(self, connection: Connection, table: str) -> None:
        pass

    def planning_without(self, connection: Connection, *methods: str) -> AbstractContextManager[None]:
        return nullcontext()

    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        # Foreign keys are not enforced during a schema change.
        return [(table, row) for table, row, *_ in connection.exec_driver_sql("PRAGMA foreign_key_check")]


class PostgreSQL(Dialect):
    """A server with concurrent sessions."""

    name = "postgresql"

    def insert(self, table: Table) -> Any:
        return postgresql.insert(table)

    def time_text(self, column: SQLColumnExpression[Any]) -> ColumnElement[str]:
        return func.to_char(func.timezone("UTC", column), 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"', type_=Text)

    def keeps_utf8(self, connection: Connection) -> bool:
        driver: Any = connection.connection.dbapi_connection
        return driver.info.parameter_status("server_encoding") in ("UTF8", "SQL_ASCII")

    def by_bytes(self, connection: Connection, column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
        return collate(column, "C") if self.keeps_utf8(connection) else func.convert_to(column, "UTF8")

    def as_text(self, expression: str) -> str:
        return f"{expression}::text"

    def set_local(self, connection: Connection, **settings: str) -> None:
        for name, value in settings.items():
            connection.exec_driver_sql(f"SET LOCAL {name} = '{value}'")

    def decode_text(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        pass

    def read_bytes(self, connection: Connection, decode: Callable[[bytes], Any]) -> None:
        from psycopg.adapt import Loader

        class Decoding(Loader):
            def load(self, data: Any) -> Any:
                return decode(bytes(data))

        driver: Any = connection.connection.driver_connection
        # In any other encoding the server checks what it stores.
        if driver.info.parameter_status("server_encoding") == "SQL_ASCII":
            connection.exec_driver_sql("SET LOCAL client_encoding TO 'SQL_ASCII'")
            for name in ("text", "varchar", "bpchar", "name"):
                driver.adapters.register_loader(name, Decoding)

    def cursor(self, connection: Connection, name: str) -> Any:
        driver: Any = connection.connection.driver_connection
        # A server-side cursor: a client-side one fetches the whole result at once.
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

    def share_lock(self, connection: Connection, number: int) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock_shared({number})")

    def lock_tables(self, connection: Connection) -> None:
        tables = inspect(connection).get_table_names()
        quote_name = connection.dialect.identifier_preparer.quote_identifier
        if tables:
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(map(quote_name, sorted(tables)))} IN SHARE MODE")

    def wait_for_schema(self, connection: Connection) -> None:
        # A snapshot taken while a reset holds its locks would show the new tables without their rows. LOCK TABLE waits
        # for the reset before the snapshot is taken.
        from psycopg import errors

        lock = "LOCK TABLE users IN ACCESS SHARE MODE"
        if connection.info.get(IN_CLUSTER):
            # On the coordinator alone: a schema change locks it there, too, and a node that hangs would stop everybody.
            lock = f"SET LOCAL {_PROPAGATION} TO off; {lock}; SET LOCAL {_PROPAGATION} TO on"
        try:
            connection.exec_driver_sql(lock)
        except exc.DBAPIError as error:
            driver: Any = connection.connection.dbapi_connection
            # A worker of a Citus cluster is down: no schema change can run, and what is elsewhere can be read.
            worker = isinstance(error.orig, errors.ConnectionFailure) and not driver.closed
            if not worker and not isinstance(error.orig, (errors.UndefinedTable, errors.InsufficientPrivilege)):
                raise
            connection.rollback()
            # With the settings of a new transaction, which a pooler needs.
            connection.begin()

    def savepoint(self, connection: Connection) -> AbstractContextManager[Any]:
        return connection.begin_nested()

    @contextmanager
    def attempting(self, connection: Connection) -> Iterator[None]:
        from psycopg import errors

        try:
            with connection.begin_nested():
                # Behind a pooler it is not the session's.
                usual = connection.exec_driver_sql("SHOW lock_timeout").scalar_one()
                self.set_local(connection, lock_timeout="100ms")
                yield
                self.set_local(connection, lock_timeout=usual)
        except exc.DBAPIError as error:
            if not isinstance(error.orig, (errors.InsufficientPrivilege, errors.LockNotAvailable)):
                raise

    def analyze(self, connection: Connection, table: str) -> None:
        connection.exec_driver_sql(f"ANALYZE {table}")

    @contextmanager
    def planning_without(self, connection: Connection, *methods: str) -> Iterator[None]:
        connection.exec_driver_sql("; ".join(f"SET LOCAL {method} = off" for method in methods))
        yield
        # If a statement failed, the rollback resets them.
        connection.exec_driver_sql("; ".join(f"SET LOCAL {method} TO DEFAULT" for method in methods))

    def broken_keys(self, connection: Connection) -> Sequence[tuple[str, Any]]:
        return []


_BY_BYTES = "pharmdb_by_bytes"


def _compared(left: str, right: str) -> int:
    """Code points are in the order of their bytes in UTF-8."""
    return (left > right) - (left < right)


_PROPAGATION = "citus.enable_ddl_propagation"
_DIALECTS: dict[str, Dialect] = {each.name: each for each in (SQLite(), PostgreSQL())}


def of(connection: Connection) -> Dialect:
    """The dialect of a connection."""
    return named(connection.dialect.name)


def named(name: str) -> Dialect:
    """The dialect with this SQLAlchemy name."""
    return _DIALECTS[name]
