"""Bulk inserts into one table: `executemany` on the driver's connection for SQLite, COPY for PostgreSQL.

An INSERT of fifty rows saves a twentieth to a tenth of the time. Measured and rejected: ADBC loads an Arrow table into
SQLite 1.5 times as fast, but over its own connection, outside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from typing import Any

from sqlalchemy import Connection

# Rows of one INSERT on SQLite.
_AT_ONCE = 50


def insert(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Inserts the rows inside the caller's transaction, without holding all of them in memory.

    Values are raw: times as text in the column's format, documents as text; `stored_values.stored` makes them of
    Python's values. The table's constraints apply as usual.
    """
    with streaming(connection, table, columns) as stream:
        stream.rows(rows)


class Stream:
    """Takes rows of one table bit by bit; on PostgreSQL all go into one COPY, during which nothing else can be done."""

    def __init__(self, driver: Any, sqlite: bool, table: str, columns: list[str], stack: ExitStack) -> None:
        self._driver, self._sqlite, self._table, self._columns = driver, sqlite, table, columns
        self._stack = stack
        self._copy: Any = None

    def rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Writes rows of Python's values."""
        if self._sqlite:
            _executemany(self._driver, self._table, self._columns, rows)
            return
        write = self._begun().write_row
        for row in rows:
            write(row)

    def text(self, lines: bytes) -> None:
        """Writes rows that are lines in the text format of COPY, without the last line feed; on PostgreSQL only."""
        if lines:
            self._begun().write(lines)
            self._begun().write(b"\n")

    def pause(self) -> None:
        """Ends the COPY, until more rows come."""
        self._stack.close()
        self._copy = None

    def _begun(self) -> Any:
        if self._copy is None:
            statement = f"COPY {self._table} ({', '.join(self._columns)}) FROM STDIN"
            self._copy = self._stack.enter_context(self._stack.enter_context(self._driver.cursor()).copy(statement))
        return self._copy


@contextmanager
def streaming(connection: Connection, table: str, columns: Sequence[str]) -> Iterator[Stream]:
    """Yields a stream that inserts rows like `insert`."""
    if not connection.in_transaction():
        # After a commit or rollback by the caller the driver would begin a transaction that nobody commits.
        connection.begin()
    quote = connection.dialect.identifier_preparer.quote
    driver, sqlite = connection.connection.driver_connection, connection.dialect.name == "sqlite"
    with ExitStack() as stack:
        yield Stream(driver, sqlite, quote(table), [*map(quote, columns)], stack)


def _executemany(driver: Any, table: str, columns: list[str], rows: Iterable[Sequence[Any]]) -> None:
    start, row = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ", f"({', '.join('?' * len(columns))})"
    source, rest = iter(rows), list[Sequence[Any]]()
    many = max(1, min(_AT_ONCE, driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(columns)))

    def whole() -> Iterator[list[Any]]:
        while len(some := list(islice(source, many))) == many:
            yield list(chain.from_iterable(some))
        rest.extend(some)

    driver.executemany(start + ", ".join([row] * many), whole())
    driver.executemany(start + row, rest)
