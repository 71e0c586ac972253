"""Prepared statements that run at nearly the driver's speed.

SQLAlchemy compiles the SQL once for each database; after that, a call goes straight to the driver, and only the columns
that need it are converted. The connection comes from database.reading, writing or keeping.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Sequence
from datetime import UTC
from operator import itemgetter, methodcaller
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, TextClause, literal_column
from sqlalchemy.exc import DBAPIError

from pharmdb.schema import json_values
from pharmdb.types import DOCUMENT, UTCDateTime

# A named tuple with a field for each column of the query.
Row = Any
_Arrange = Callable[[dict[str, Any]], Sequence[Any]]
# The SQL, a function from named values to its parameters, and a function from the driver's row to a Row.
_Compiled = tuple[str, _Arrange, Callable[[Any], Row]]

# The most compiled forms of one statement that are cached; callers use only a few limits.
MOST_COMPILED = 64


class Prepared:
    """One statement with named parameters, compiled when it is first used on each database."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextClause) -> None:
        self._statement = statement
        self._columns = [] if isinstance(statement, TextClause) else list(statement.selected_columns)
        self._binary = not any(column.type is DOCUMENT for column in self._columns)
        self._compiled: dict[tuple[str, str, int | None], _Compiled] = {}

    def rows(self, connection: Connection, values: dict[str, Any], limit: int | None = None) -> list[Row]:
        """The rows, at most `limit`; UTCDateTime values are timezone-aware, JSON of both shapes is decoded.

        Raises ValueError for a negative limit.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"a limit is 0 or more, not {limit}")
        sql, arrange, make = self._at_hand(connection, limit)
        driver: Any = connection.connection.driver_connection
        # psycopg reads numbers and times faster in binary form, and documents faster as text.
        options = {"binary": True} if self._binary and connection.dialect.name == "postgresql" else {}
        return [make(row) for row in driver.execute(sql, arrange(values), **options).fetchall()]

    def write(self, connection: Connection, **values: Any) -> None:
        """Runs the statement in the caller's transaction.

        Raises the same errors as the connection itself, such as sqlalchemy.exc.IntegrityError.
        """
        if not connection.in_transaction():
            # After the caller's commit or rollback, the driver would begin a transaction that nobody commits.
            connection.begin()
        self.write_alone(connection, **values)

    def write_alone(self, connection: Connection, **values: Any) -> None:
        """Like `write`, as a transaction of its own, on a connection from `database.keeping(…, autocommit=True)`."""
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
        # psycopg binds positional parameters faster than named ones.
        by_place = type(dialect)(paramstyle="format") if dialect.name == "postgresql" else dialect
        statement = self._statement
        if limit is not None and isinstance(statement, Select):
            # A literal limit: with a parameter, PostgreSQL would plan the query anew each time.
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
        # The fields are the query's columns, which a type checker can't know.
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
    """Returns a function that orders named values as parameters; `converted` are those the driver can't take as is."""
    # With two or more names, itemgetter returns a tuple and is the fastest way.
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
    """A converter of the driver's values, or None: psycopg itself decodes documents and session-zone times."""
    if type_ is DOCUMENT and dialect.name == "postgresql":
        return json_values.decoded
    if dialect.name == "postgresql":
        return methodcaller("astimezone", UTC) if isinstance(type_, UTCDateTime) and zone != "UTC" else None
    found: Callable[[Any], Any] | None = type_.dialect_impl(dialect).result_processor(dialect, None)
    if type_ is DOCUMENT and (parse := found):
        return lambda text: json_values.decoded(parse(text))
    return found
