"""Converts the clean rows of an SQLite source in SQL, a batch at a time; all other rows are left to Python.

A row is clean if SQL gives exactly what Python would give. One query per batch tells which rows are clean, makes their
lines for the checksum and, for PostgreSQL, their text for COPY; SQLite then inserts them with one INSERT … SELECT.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from pharmdb.legacy import checksums, columns, stages
from pharmdb.legacy.columns import NEVER, Wanted
from pharmdb.legacy.reading import IN_LIST, Source
from pharmdb.legacy.stages import BATCH, OldTable, Row

# With more exceptions than this, a list of them in every query costs more than it saves.
_MOST = 20_000


@dataclass
class Batch:
    """Some rows of a table in the order of their ids: `clean` of them are converted by SQL, the `others` by Python.

    `lines`: the clean rows' lines for the checksum, joined by line feeds; `single`: the same by id, where there are
    others. `copied`: their text for COPY. `strings`: how many clean rows have JSON in a JSON string, by column.
    """

    others: Sequence[Row]
    clean: int = 0
    largest_id: int = 0
    lines: bytes = b""
    single: dict[int, bytes] = field(default_factory=dict)
    copied: bytes = b""
    strings: dict[str, int] = field(default_factory=dict)
    # The first and the last id of all rows.
    span: tuple[int, int] = (0, 0)


def lane(source: Source, table: OldTable, wanted: Wanted, rows: Collection[int], users: Collection[int]) -> Lane | None:
    """The way of a table's clean rows; None if Python has to convert all of them.

    Rows with these ids, and those of these users, are never clean.
    """
    if any(column.clean == NEVER for column in columns.of(table, wanted).values()):
        return None
    if not source.is_utf8 or len(rows) + len(users) > _MOST:
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
            conditions.append(
                f"EXISTS (SELECT 1 FROM {source.name(stages.TABLES[0])} AS u WHERE u.id = old_row.{owner})"
            )
        for name, ids in (("id", rows), (owner, users)):
            if ids:
                conditions.append(f"NOT {name} {IN_LIST}")
                self._exceptions.append(json.dumps(list(ids)))
        self._clean = " AND ".join(conditions)
        line = checksums.in_sql(column.check.source.replace("{x}", name) for name, column in self._columns.items())
        self._made = [line, self._copied()] if wanted.to_postgresql else [line]
        self._holds = [checksums.HOLDS_JSON.replace("{x}", name) for name in self._documents]
        source.driver.create_function("real_text", 1, repr, deterministic=True)

    @property
    def _rows(self) -> str:
        """SQL for the rows, with the new names of the columns."""
        names = zip(self._table.names, self._columns, strict=True)
        selected = ", ".join(f"{self._source.column(self._table, old)} AS {new}" for old, new in names)
        return f"SELECT {selected} FROM {self._source.name(self._table)}"

    def _judged(self, beyond: str) -> str:
        """SQL for the next rows, and whether they are clean."""
        # LIMIT keeps SQLite from computing the condition again for each use of it.
        some = f"({self._rows} WHERE id {beyond} ? ORDER BY id LIMIT {BATCH}) AS old_row"
        return f"(SELECT *, CASE WHEN {self._clean} THEN 1 ELSE 0 END AS ok FROM {some} LIMIT {BATCH})"

    def _copied(self) -> str:
        """SQL for a row as a line of COPY."""
        forms = (
            f"coalesce({column.copied.replace('{x}', column.written).replace('{x}', name)}, '\\N')"
            for name, column in self._columns.items()
        )
        return " || char(9) || ".join(forms)

    def batches(self) -> Iterator[Batch]:
        """All rows of the table, up to BATCH at a time."""
        joined = (f"group_concat(CASE WHEN ok THEN {made} END, char(10))" for made in self._made)
        counted = (f"sum(CASE WHEN ok THEN {holds} END)" for holds in self._holds)
        ids = "group_concat(CASE WHEN NOT ok THEN id END)"
        together = ", ".join(("count(*)", "sum(ok)", "min(id)", "max(id)", ids, *joined, *counted))
        after, beyond = -(2**63), ">="
        while True:
            judged = self._judged(beyond)
            found = self._read(f"{together} FROM {judged}", after)[0]
            rows, clean, first, last, others = found[:5]
            texts, strings = found[5 : 5 + len(self._made)], found[5 + len(self._made) :]
            if not rows:
                return
            if clean == rows and all(map(_is_text, texts)):
                lines, *copied = (text.encode() for text in texts)
                batch = Batch((), clean, last, lines, copied=copied[0] if copied else b"")
                batch.strings = dict(zip(self._documents, strings, strict=True))
            else:
                batch = self._mixed(judged, after, map(int, others.split(",")) if others else ())
            batch.span = first, last
            yield batch
            after, beyond = last, ">"

    def _mixed(self, judged: str, after: int, others: Iterable[int]) -> Batch:
        """A batch with rows that are not clean, or that have text that can't be stored."""
        parts = ", ".join(("id", *self._made, *self._holds))
        found: dict[int, list[Any]] = {}
        unclean = set(others)
        for id_, *made in self._read(f"{parts} FROM {judged} WHERE ok", after):
            if all(map(_is_text, made[: len(self._made)])):
                found[id_] = made
            else:
                unclean.add(id_)
        batch = Batch(self._source.these(self._table, unclean), len(found), max(found, default=0))
        batch.single = {id_: made[0].encode() for id_, made in found.items()}
        if len(self._made) > 1:
            batch.copied = "\n".join(made[1] for made in found.values()).encode()
        for place, name in enumerate(self._documents, len(self._made)):
            batch.strings[name] = sum(made[place] for made in found.values())
        return batch

    def _read(self, selected: str, after: int) -> list[Any]:
        with self._source.reading():
            return self._source.read(f"SELECT {selected}", (*self._exceptions, after))

    def insert(self, writer: Connection, batch: Batch) -> None:
        """Inserts the clean rows of a batch over the connection that the source is attached to."""
        others = json.dumps([row[0] for row in batch.others])
        values = ", ".join(column.written.replace("{x}", name) for name, column in self._columns.items())
        but = f"AND NOT id {IN_LIST}" if batch.others else ""
        sql = (
            f"INSERT INTO main.{self._table.table} ({', '.join(self._columns)}) "
            f"SELECT {values} FROM ({self._rows} WHERE id BETWEEN ? AND ? {but})"
        )
        driver: Any = writer.connection.driver_connection
        driver.execute(sql, (*batch.span, others) if batch.others else batch.span)


def _is_text(value: Any) -> bool:
    """Whether a value that SQLite says is text can be stored as such: not if it is bytes or has a NUL."""
    return isinstance(value, str) and "\0" not in value
