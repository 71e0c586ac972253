"""Statements at nearly the driver's speed.

SQLAlchemy makes the SQL once for each database; after that a call goes straight to the driver's cursor, and only the
columns that need it are converted. The connection is one of database.reading, writing or keeping.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC
from operator import itemgetter, methodcaller
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, TextClause, literal_column
from sqlalchemy.exc import DBAPIError

from pharmdb.types import DOCUMENT, UTCDateTime

# A named tuple with the query's columns.
Row = Any
_Arrange = Callable[[dict[str, Any]], Sequence[Any]]
# The SQL, what makes its parameters of named values, what makes a row of the driver's.
_Compiled = tuple[str, _Arrange, Callable[[Any], Row]]

# Forms of one statement that are kept: callers use few limits.
MOST_COMPILED = 64


class Prepared:
    """One statement with named parameters, compiled at its first use on each database."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextClause) -> None:
        self._statement = statement
        self._columns = [] if isinstance(statement, TextClause) else list(statement.selected_columns)
        self._binary = not any(column.type is DOCUMENT for column in self._columns)
        self._compiled: dict[tuple[str, str, int | None], _Compiled] = {}

    def rows(self, connection: Connection, values: dict[str, Any], limit: int | None = None) -> list[Row]:
        """The rows, at most `limit`; UTCDateTime values are aware, documents are decoded.

        Raises ValueError for a negative limit.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        sql, arrange, make = self._at_hand(connection, limit)
        driver: Any = connection.connection.driver_connection
        # psycopg reads numbers and times quicker in binary form, documents as text.
        options = {"binary": True} if self._binary and connection.dialect.name == "postgresql" else {}
        return [make(row) for row in driver.execute(sql, arrange(values), **options).fetchall()]

    def write(self, connection: Connection, **values: Any) -> None:
        """Runs the statement inside the caller's transaction.

        Raises sqlalchemy.exc.IntegrityError and its like, as the connection itself would.
        """
        if not connection.in_transaction():
            # After a commit or rollback of the caller's the driver would begin one that nobody commits.
            connection.begin()
        self.write_alone(connection, **values)

    def write_alone(self, connection: Connection, **values: Any) -> None:
        """As `write`, but on a connection of `database.keeping(…, autocommit=True)`: it is a transaction by itself."""
        sql, arrange, _ = self._at_hand(connection)
        driver: Any = connection.connection.driver_connection
        dialect: Any = connection.dialect
        try:
            driver.execute(sql, arrange(values))
        except dialect.dbapi.Error as error:
            raise DBAPIError.instance(
                sql, None, error, dialect.dbapi.Error, hide_parameters=True, dialect=dialect
            ) from error

    def _at_hand(self, connection: Connection, limit: int | None = None) -> _Compiled:
        zone = ""
        if connection.dialect.name == "postgresql":
            driver: Any = connection.connection.driver_connection
            zone = driver.info.parameter_status("TimeZone")
        key = (connection.dialect.name, zone, limit)
        if key not in self._compiled:
            if len(self._compiled) >= MOST_COMPILED:
                self._compiled.clear()
            self._compiled[key] = self._compile(connection, zone, limit)
        return self._compiled[key]

    def _compile(self, connection: Connection, zone: str, limit: int | None) -> _Compiled:
        dialect: Any = connection.dialect
        # psycopg takes parameters by place quicker than by name.
        by_place = type(dialect)(paramstyle="format") if dialect.name == "postgresql" else dialect
        statement = self._statement
        if limit is not None and isinstance(statement, Select):
            # Written into the SQL: PostgreSQL would plan a query anew each time whose limit it doesn't know.
            statement = statement.limit(literal_column(str(int(limit))))
        compiled: Any = statement.compile(dialect=by_place)
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        binds: dict[str, BindParameter[Any]] = compiled.binds
        converted = [
            (name, convert)
            for name, bind in binds.items()
            if (convert := bind.type.bind_processor(dialect)) is not None
        ]

        arrange = _arranging(compiled.positiontup, fixed, converted)
        # A query's columns are its row's fields, whatever they are; a type checker can't know them.
        kind: Any = namedtuple("Row", [column.key for column in self._columns])  # type: ignore[misc]
        decoders = [
            (place, decode)
            for place, column in enumerate(self._columns)
            if (decode := _decoder(column.type, dialect, zone)) is not None
        ]
        if not decoders:
            return str(compiled), arrange, kind._make

        def make(row: Any) -> Row:
            found = list(row)
            for place, decode in decoders:
                if found[place] is not None:
                    found[place] = decode(found[place])
            return kind._make(found)

        return str(compiled), arrange, make


def _arranging(order: list[str], fixed: dict[str, Any], converted: list[tuple[str, Any]]) -> _Arrange:
    """What puts named values into the order of the parameters; `converted` are those that the driver can't take."""
    # With two names at least an itemgetter gives a tuple, and is the quickest.
    take: _Arrange = itemgetter(*order) if len(order) > 1 else lambda values: [values[name] for name in order]
    if not fixed and not converted:
        return take

    def arrange(values: dict[str, Any]) -> Sequence[Any]:
        found = fixed | values
        for name, convert in converted:
            found[name] = convert(found[name])
        return take(found)

    return arrange


def _decoder(type_: Any, dialect: Any, zone: str) -> Callable[[Any], Any] | None:
    """What makes a Python value of the driver's; psycopg makes documents, and times in the session's zone, itself."""
    if dialect.name == "postgresql":
        return methodcaller("astimezone", UTC) if isinstance(type_, UTCDateTime) and zone != "UTC" else None
    found: Callable[[Any], Any] | None = type_.dialect_impl(dialect).result_processor(dialect, None)
    return found
