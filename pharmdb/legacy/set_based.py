"""Converts the clean rows of an SQLite source in SQL, a batch at a time; all other rows are left to Python.

A row is clean if SQL gives exactly what Python would give. One query per batch tells which rows are clean, makes their
lines for the checksum and, for PostgreSQL, their text for COPY; SQLite then inserts them with one INSERT … SELECT.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pharmdb.legacy import checksums, columns, second_reader, stages
from pharmdb.legacy.columns import NEVER, Wanted
from pharmdb.legacy.raw_rows import IN_LIST, Source
from pharmdb.legacy.second_reader import BEFORE_ALL
from pharmdb.legacy.stages import BATCH, OldTable, Row

# With more exceptions than this, a list of them in every query costs more than it saves.
MOST = 20_000
# From so many rows on, a second process saves more time than it takes to start.
_MANY = 50_000
# The place of the last id in the answers.
_LAST = 3


@dataclass
class Batch:
    """Some rows of a table in the order of their ids: `clean` of them are converted by SQL, the `others` by Python.

    `largest_id`: of the clean rows. `span`: the first and the last id of all. `lines`: the clean rows' lines for the
    checksum, joined by line feeds, if there are no others; else `single` has them by id. `copied`: their text for COPY.
    `strings`: how many clean rows have JSON in a JSON string, by column.
    """

    others: Sequence[Row]
    clean: int = 0
    largest_id: int = 0
    span: tuple[int, int] = (0, 0)
    lines: bytes = b""
    copied: bytes = b""
    single: dict[int, bytes] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)


def is_clean(lines: bytes, rows: int, unclean: Sequence[bytes]) -> bool:
    """Whether the lines of so many rows have nothing that only Python can judge, such as text that is not UTF-8."""
    if not lines.isascii() and isinstance(second_reader.decode(lines), bytes):
        return False
    if b"\n" in unclean and lines.count(b"\n") >= rows:
        return False
    # One byte is found much faster than two.
    return not any(part[-1:] in lines and part in lines for part in unclean if part != b"\n")


def lane(source: Source, table: OldTable, wanted: Wanted, rows: Collection[int], users: Collection[int]) -> Lane | None:
    """The way of a table's clean rows; None if Python has to convert all of them.

    Rows with these ids, and those of these users, are never clean.
    """
    if any(column.clean == NEVER for column in columns.of(table, wanted).values()):
        return None
    if not source.is_utf8 or len(rows) + len(users) > MOST:
        return None
    with source.reading():
        for each in {table, stages.TABLES[0]}:
            odd = f"SELECT 1 FROM {source.name(each)} WHERE typeof(id) <> 'integer' LIMIT 1"
            if source.driver.execute(odd).fetchone():
                return None
    return Lane(source, table, wanted, rows, users)


class Lane:
    """The clean rows of one table, which all have whole numbers as ids."""

    def __init__(
        self, source: Source, table: OldTable, wanted: Wanted, rows: Collection[int], users: Collection[int]
    ) -> None:
        self._source, self._table, self._columns = source, table, columns.of(table, wanted)
        self._documents = [name for name, kind in zip(table.columns, table.kinds, strict=True) if kind == "document"]
        owner = table.columns[table.owner or 0]
        conditions, self._exceptions = [columns.clean(table, wanted)], []
        if table.owner is not None:
            conditions.append(f"{owner} IN (SELECT id FROM {{users}})")
        for name, ids in (("id", rows), (owner, users)):
            if ids:
                conditions.append(f"NOT {name} {IN_LIST}")
                self._exceptions.append(json.dumps(list(ids)))
        self._clean = " AND ".join(conditions)
        line = checksums.in_sql(
            column.check.source["sqlite"].replace("{x}", name) for name, column in self._columns.items()
        )
        self._made = [line, self._copied()] if wanted.to_postgresql else [line]
        # SQLite is written by this process, and one other reads as fast.
        self._readers = second_reader.PROCESSES if wanted.to_postgresql else 1
        self._unclean = columns.UNCLEAN_FOR_POSTGRESQL if wanted.to_postgresql else columns.UNCLEAN
        # A clean document for PostgreSQL is a string.
        is_string = "{x} IS NOT NULL" if wanted.to_postgresql else checksums.IS_STRING
        self._strings = [is_string.replace("{x}", name) for name in self._documents]

    def _copied(self) -> str:
        """SQL for a row as a line of COPY."""
        forms = []
        for column in self._table.model.__table__.columns:
            made = self._columns[column.name]
            form = made.copied.replace("{x}", made.written).replace("{x}", column.name)
            forms.append(f"coalesce({form}, '\\N')" if column.nullable else form)
        return " || '\t' || ".join(forms)

    def _rows(self, source: Source) -> str:
        """SQL for all rows, with the new names of the columns."""
        names = zip(self._table.names, self._columns, strict=True)
        selected = ", ".join(f"{source.column(self._table, old)} AS {new}" for old, new in names)
        return f"SELECT {selected} FROM {source.name(self._table)}"

    @contextmanager
    def batches(self, rows: int) -> Iterator[Iterator[Batch]]:
        """Yields all rows of the table, of which there are about so many, up to BATCH at a time.

        The rows of a large table of a constant source are read by other processes meanwhile.
        """
        with ExitStack() as stack:
            found = self._found()
            if self._source.constant and rows >= _MANY:
                # A machine that gives no other process reads with one.
                with suppress(OSError):
                    found = stack.enter_context(second_reader.answers(self._query(), self._readers))
            yield self._batches(found)

    def _query(self) -> second_reader.Query:
        """What other processes read; they skip the batches that are not theirs."""
        alone = replace(self._source, schema="")
        skip = f"SELECT id FROM {alone.name(self._table)} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ? * {BATCH} - 1"
        return second_reader.Query(alone.place.path, *self._judging(alone=True), _LAST, skip)

    def _judging(self, *, alone: bool = False) -> tuple[str, tuple[Any, ...]]:
        """The query that tells of the rows after an id whether all are clean, with its parameters before the id."""
        joined = (f"group_concat(CASE WHEN ok THEN {made} END, char(10))" for made in self._made)
        counted = (f"count(CASE WHEN ok AND {is_string} THEN 1 END)" for is_string in self._strings)
        together = ", ".join(("count(*)", "sum(ok)", "min(id)", "max(id)", *joined, *counted))
        source = replace(self._source, schema="") if alone else self._source
        return f"SELECT {together} FROM {self._judged(source)}", tuple(self._exceptions)

    def _judged(self, source: Source) -> str:
        """SQL for the rows after an id, and whether they are clean."""
        # LIMIT keeps SQLite from computing the condition again for each use of it.
        clean = self._clean.replace("{users}", source.name(stages.TABLES[0]))
        after = f"id > ?{len(self._exceptions) + 1}"
        some = f"({self._rows(source)} WHERE {after} ORDER BY id LIMIT {BATCH}) AS old_row"
        return f"(SELECT *, CASE WHEN {clean} THEN 1 ELSE 0 END AS ok FROM {some} LIMIT {BATCH})"

    def _found(self) -> Iterator[tuple[Any, ...]]:
        sql, parameters = self._judging()
        found: tuple[Any, ...] = (1, 0, 0, BEFORE_ALL)
        while found[0]:
            with self._source.reading():
                (found,) = self._source.read(sql, (*parameters, found[_LAST]), decoding=False)
            yield found

    def _batches(self, answers: Iterator[tuple[Any, ...]]) -> Iterator[Batch]:
        texts, after = len(self._made), BEFORE_ALL
        while True:
            with self._source.reading():
                rows, clean, first, last, *made = next(answers)
            if not rows:
                return
            if clean == rows and is_clean(made[0], rows, self._unclean):
                batch = Batch((), clean, last, (first, last), *made[:texts])
                batch.strings = dict(zip(self._documents, made[texts:], strict=True))
            else:
                batch = self._mixed(after)
                batch.span = first, last
            yield batch
            after = last

    def _mixed(self, after: float) -> Batch:
        """The batch after an id, of which some rows may not be clean."""
        texts = len(self._made)
        with self._source.reading():
            parts = ", ".join(
                ["id", "ok", *(f"CASE WHEN ok THEN {made} END" for made in (*self._made, *self._strings))]
            )
            sql, parameters = f"SELECT {parts} FROM {self._judged(self._source)}", (*self._exceptions, after)
            rows = self._source.read(sql, parameters, decoding=False)
        found = {id_: made for id_, ok, *made in rows if ok and is_clean(made[0], 1, self._unclean)}
        others = self._source.these(self._table, [row[0] for row in rows if row[0] not in found])
        batch = Batch(others, len(found), max(found, default=0))
        batch.single = {id_: made[0] for id_, made in found.items()}
        batch.copied = b"\n".join(text for made in found.values() for text in made[1:texts])
        for place, name in enumerate(self._documents, texts):
            batch.strings[name] = sum(bool(made[place]) for made in found.values())
        return batch

    def _clean_rows(self, batch: Batch) -> tuple[str, tuple[Any, ...]]:
        """SQL for the clean rows of a batch with the new names of the columns, and its parameters."""
        but = f"AND NOT id {IN_LIST}" if batch.others else ""
        others = (json.dumps([row[0] for row in batch.others]),) if batch.others else ()
        return f"{self._rows(self._source)} WHERE id BETWEEN ? AND ? {but}", (*batch.span, *others)

    def insert(self, batch: Batch) -> None:
        """Inserts the clean rows of a batch over the connection that the source is attached to."""
        rows, parameters = self._clean_rows(batch)
        values = ", ".join(column.written.replace("{x}", name) for name, column in self._columns.items())
        into = f"main.{self._table.table} ({', '.join(self._columns)})"
        self._source.driver.execute(f"INSERT INTO {into} SELECT {values} FROM ({rows})", parameters)
