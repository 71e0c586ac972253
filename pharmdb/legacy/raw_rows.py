"""Reads the raw rows of an old database, over a connection of its own or as a database attached to the target's."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from pharmdb.database import dialect, sqlite_reading, targets
from pharmdb.legacy import second_reader, sources, stages
from pharmdb.legacy.stages import BATCH, OldTable, Recognition, Row
from pharmdb.models import User
from pharmdb.schema import prisma_names

# The name of an attached source.
ATTACHED = "old"
_TRIM = {"sqlite": "trim({}, char(9, 10, 13, 32))", "postgresql": "btrim({}, E' \\t\\n\\r')"}


@dataclass(frozen=True)
class Source:
    """An old database that was recognized. `old` is named in errors; `place` is the file that is read.

    `schema` is ATTACHED if the source is attached to the connection, which then reads and writes in one transaction.
    `constant`: nobody writes to the file, so that another connection reads the same. `options`: as in `told_of`.
    """

    connection: Connection
    old: targets.Target
    place: targets.Target
    recognition: Recognition
    schema: str = ""
    constant: bool = False
    options: str = ""

    @property
    def driver(self) -> Any:
        return self.connection.connection.driver_connection

    def name(self, table: OldTable) -> str:
        """The quoted name of the table."""
        quoted = stages.quote_name(self.connection, table.name)
        return f"{self.schema}.{quoted}" if self.schema else quoted

    def column(self, table: OldTable, name: str) -> str:
        """The quoted name of a column; NULL if it does not exist at this stage."""
        there = name in self.recognition.columns[table.name]
        return stages.quote_name(self.connection, name) if there else "NULL"

    @property
    def is_utf8(self) -> bool:
        """Whether this is an SQLite file with text in UTF-8, as all but a few are."""
        return self.connection.dialect.name == "sqlite" and dialect.of(self.connection).keeps_utf8(self.connection)

    @property
    def is_postgresql(self) -> bool:
        return self.connection.dialect.name == "postgresql"

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For blocks that only read: an error in them comes from the source."""
        with sources.told_of(self.old, self.place, self.options):
            yield

    def count(self, table: OldTable) -> int:
        """The number of rows of a table."""
        with self.reading():
            return int(self.connection.exec_driver_sql(f"SELECT count(*) FROM {self.name(table)}").scalar_one())

    def rows(self, table: OldTable) -> Generator[list[Row]]:
        """The rows ordered by id, BATCH at a time; a column that does not exist at this stage is None.

        PostgreSQL returns times, enums and documents as text.
        """
        own = dialect.of(self.connection)
        with self.reading():
            own.read_bytes(self.connection, second_reader.decode)
            with closing(own.cursor(self.connection, "old_rows")) as cursor:
                cursor.execute(f"SELECT {self._selected(table)} FROM {self.name(table)} ORDER BY id")
                while batch := cursor.fetchmany(BATCH):
                    yield batch

    def read(self, sql: str, parameters: Sequence[Any], *, decoding: bool = True) -> list[Any]:
        """The rows of a query of an SQLite source; text is bytes if it is not UTF-8, or always without `decoding`."""
        second_reader.prepare(self.driver, decoding=decoding)
        try:
            found: list[Any] = self.driver.execute(sql, parameters).fetchall()
        finally:
            second_reader.prepare(self.driver)
        return found

    def these(self, table: OldTable, ids: Iterable[int]) -> list[Row]:
        """The rows with these ids, ordered by id."""
        sql = f"SELECT {self._selected(table)} FROM {self.name(table)} WHERE id {{}} ORDER BY id"
        with self.reading():
            if self.is_postgresql:
                found: list[Row] = self.driver.execute(sql.format(in_list(ids))).fetchall()
                return found
            return self.read(sql.format(IN_LIST), (json.dumps(list(ids)),))

    def _selected(self, table: OldTable) -> str:
        own = dialect.of(self.connection)

        def selected(name: str, kind: str) -> str:
            column = self.column(table, name)
            as_it_is = column == "NULL" or kind in ("id", "owner", "count", "real", "boolean")
            return column if as_it_is else own.as_text(column)

        return ", ".join(map(selected, table.names, table.kinds))

    def repeated(self, table: OldTable, key: tuple[str, ...]) -> set[int]:
        """The ids of the rows that share this key with another row; e-mails are compared case-insensitively."""
        columns = ", ".join(self.column(table, prisma_names.camel(column)) for column in key)
        if table.model is User:
            columns = f"lower({_TRIM[self.connection.dialect.name].format(columns)})"
        sql = (
            f"SELECT id FROM (SELECT id, count(*) OVER (PARTITION BY {columns}) AS n "
            f"FROM {self.name(table)}) AS counted WHERE n > 1"
        )
        with self.reading():
            return set(self.connection.exec_driver_sql(sql).scalars())

    def ids(self, table: OldTable) -> set[int]:
        """The ids of all rows of a table."""
        with self.reading():
            return set(self.connection.exec_driver_sql(f"SELECT id FROM {self.name(table)}").scalars())

    def names(self, table: OldTable) -> set[str]:
        """All values of a table's `name`."""
        with self.reading():
            cursor = self.driver.execute(f"SELECT DISTINCT name FROM {self.name(table)} WHERE name IS NOT NULL")
            return {row[0] for row in cursor}


# A condition on an SQLite column: the list of numbers is bound as JSON.
IN_LIST = "IN (SELECT value FROM json_each(?))"


def in_list(ids: Iterable[int]) -> str:
    """The same condition on a PostgreSQL column, for these numbers. PostgreSQL looks them up in a hash table."""
    return f"IN (SELECT unnest('{{{', '.join(map(str, map(int, ids)))}}}'::bigint[]))"


@contextmanager
def attached(writer: Connection, source: Source) -> Iterator[Source]:
    """Attaches an SQLite source to the SQLite connection that writes the target, for the rest of its transaction.

    Yields the source itself where that can't be done: between two kinds of database or two encodings, and in a folder
    that can't be written, where SQLite opens a file only by itself.
    """
    both = writer.dialect.name == source.connection.dialect.name == "sqlite"
    if not (
        both
        and source.is_utf8
        and dialect.of(writer).keeps_utf8(writer)
        and sqlite_reading.may(source.place.path.parent, os.W_OK)
    ):
        yield source
        return
    driver: Any = writer.connection.driver_connection
    with source.reading():
        driver.execute(f"ATTACH ? AS {ATTACHED}", (f"file:{quote(str(source.place.path))}?mode=ro",))
    usual = driver.text_factory
    try:
        yield replace(source, connection=writer, schema=ATTACHED)
    finally:
        driver.text_factory = usual
