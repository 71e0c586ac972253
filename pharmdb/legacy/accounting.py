"""Copies or rejects every row of an old database, and counts both. Used by the upgrade only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table

from pharmdb import progress
from pharmdb.database import bulk, ids, indexes, storable
from pharmdb.errors import PharmdbError
from pharmdb.legacy import checksums, columns, server_based, set_based, stages
from pharmdb.legacy.columns import Wanted
from pharmdb.legacy.judging import Decide, Judge
from pharmdb.legacy.raw_rows import Source
from pharmdb.legacy.server_based import ServerLane
from pharmdb.legacy.set_based import Batch, Lane
from pharmdb.models import DatasetOverride, User
from pharmdb.types import BIGINT, DOCUMENT, VARCHAR, UTCDateTime, utcnow

SHOWN = 1000
# The change that stands for the rows of the seed's accounts.
CREATED = "created by --seed"

# Must match the table that the constraints revision creates.
rejects_table = Table(
    "upgrade_rejects",
    MetaData(),
    Column("id", BIGINT, primary_key=True),
    Column("source_table", VARCHAR, nullable=False),
    Column("source_id", BigInteger().with_variant(Integer(), "sqlite"), nullable=False),
    Column("row", DOCUMENT, nullable=False),
    Column("reason", VARCHAR, nullable=False),
    Column("rejected_at", UTCDateTime, server_default=utcnow(), nullable=False),
    sqlite_strict=True,
)
# The columns of an override whose values the upgrade may change.
_ADAPTED = ("name", "json_text", "is_active")


@dataclass
class Count:
    """How many rows of one table were imported and rejected, and the checksums of source, target and rejects."""

    table: stages.OldTable
    source: int = 0
    imported: int = 0
    rejected: int = 0
    source_sum: str = checksums.NONE
    target_sum: str | None = None
    rejects_sum: int = 0
    largest_id: int = 0


class Account:
    """Reads an old database once: with a writer it copies the rows, without one it only counts them.

    Memory holds one batch of rows and the users' ids, so it does not grow with the number of attempts. If `exclusive`,
    the target may be locked against readers.
    """

    def __init__(
        self,
        source: Source,
        *,
        to_postgresql: bool,
        limits: storable.Limits,
        decode_json: bool = False,
        writer: Connection | None = None,
        exclusive: bool = False,
    ) -> None:
        self._source = source
        has_role = "role" in source.recognition.columns["User"]
        self._wanted = Wanted(to_postgresql=to_postgresql, has_role=has_role, decode_json=decode_json)
        self._limits = limits
        self._judge = Judge(source, self._wanted, limits)
        self._writer, self._exclusive = writer, exclusive
        # A table that does not exist at this stage has no rows on either side.
        empty = None if writer is None else checksums.NONE
        self.counts = tuple(Count(table, target_sum=empty) for table in stages.TABLES)
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.rejects: list[tuple[str, int, str, str]] = []
        self._unwritten: list[tuple[str, int, str, str]] = []

    @property
    def decode_json(self) -> bool:
        return self._wanted.decode_json

    @property
    def changes(self) -> Counter[tuple[str, str]]:
        """The imported rows by table and change."""
        return self._judge.changes

    @property
    def json_strings(self) -> Counter[tuple[str, str]]:
        """Imported rows of a table whose column has JSON in a JSON string, decoded or not."""
        return self._judge.json_strings

    @property
    def digest(self) -> str:
        """A hash of every row of the source, imported or not: it identifies the source's content."""
        found = [(c.table.name, c.source, c.source_sum, c.rejects_sum) for c in self.counts]
        return sha256(repr(found).encode()).hexdigest()

    def run(self) -> None:
        """Copies or counts all rows. Raises PharmdbError if one was neither imported nor rejected."""
        there = [count for count in self.counts if self._source.recognition.has(count.table)]
        expected = {count.table.name: self._source.count(count.table) for count in there}
        with progress.counting("upgrade", sum(expected.values())) as advance:
            for count in there:
                rows = expected[count.table.name]
                with self._filling(count.table, rows) as stream:
                    self._take_all(count, rows, stream, advance)
                self._write_rejects()
                if count.table.model is User:
                    self._judge.users = self._source.ids(count.table) - self._judge.rejected_users
                if not count.source == rows == count.imported + count.rejected:
                    raise _unequal(count, f"{rows} rows", f"{count.imported} imported")

    @contextmanager
    def _filling(self, table: stages.OldTable, rows: int) -> Iterator[bulk.Stream | None]:
        if self._writer is None:
            yield None
            return
        with (
            indexes.rebuilt(self._writer, table.table, rows, exclusive=self._exclusive),
            bulk.streaming(self._writer, table.table, table.columns) as stream,
        ):
            yield stream

    def _take_all(self, count: Count, rows: int, stream: bulk.Stream | None, advance: Callable[[int], object]) -> None:
        several, checksum = self._judge.repeated(count.table), checksums.Sum()
        judge, line = self._judge.judge(count.table, several), self._line(count.table)
        lane = self._lane(count.table, several)
        with lane.batches(rows) if lane else self._batches(count.table) as batches:
            for batch in batches:
                kept, lines = self._judged(count, batch.others, judge, line)
                if batch.single:
                    # In the order of the ids, as the target has them.
                    single = batch.single | {row[0]: made for row, made in zip(kept, lines, strict=True)}
                    lines = [single[id_] for id_ in sorted(single)]
                checksum.add(b"\n".join(lines) if batch.others else batch.lines)
                count.source += batch.clean + len(batch.others)
                count.imported += batch.clean + len(kept)
                count.largest_id = max(count.largest_id, batch.largest_id)
                for column, strings in batch.strings.items():
                    self._judge.count_strings(count.table, column, strings)
                if stream is not None:
                    self._write(stream, lane, batch, kept)
                advance(batch.clean + len(batch.others))
        count.source_sum = checksum.value

    @contextmanager
    def _batches(self, table: stages.OldTable) -> Iterator[Iterator[Batch]]:
        with closing(self._source.rows(table)) as rows:
            yield map(Batch, rows)

    def _lane(self, table: stages.OldTable, several: Set[int]) -> Lane | ServerLane | None:
        # What another encoding lacks, only Python finds; only an attached source is read and written at once.
        apart = self._writer is not None and not self._wanted.to_postgresql and not self._source.schema
        if self._limits.escapes or apart:
            return None
        exceptions = several, self._judge.rejected_users
        if self._source.is_postgresql:
            return server_based.lane(self._source, table, self._wanted, *exceptions, copying=self._writer is not None)
        return set_based.lane(self._source, table, self._wanted, *exceptions)

    def _judged(
        self, count: Count, rows: Iterable[stages.Row], judge: Decide, line: _Line
    ) -> tuple[list[list[Any]], list[bytes]]:
        """The new rows of those that are imported, and their lines; all others are rejected."""
        kept: list[list[Any]] = []
        lines: list[bytes] = []
        for row in rows:
            if row[0] <= ids.LARGEST:
                count.largest_id = max(count.largest_id, row[0])
            try:
                found = judge(row)
            except stages.RejectedError as error:
                self._reject(count, row, error)
            else:
                kept.append(found)
                lines.append(line(row, found))
        return kept, lines

    def _reject(self, count: Count, row: stages.Row, error: stages.RejectedError) -> None:
        reason = self._limits.shown(str(error))
        stored = stages.as_json(count.table, row, self._limits)
        entry = (count.table.table, row[0], reason, stored)
        count.rejects_sum = (count.rejects_sum + checksums.digest(entry)) % checksums.MODULUS
        count.rejected += 1
        # Grouped without the value, which differs from row to row.
        self.reasons[count.table.table, error.kind] += 1
        if len(self.rejects) < SHOWN:
            # The hash is kept in the target's table, but never shown.
            shown = json.loads(stored)
            if "passwordHash" in shown:
                shown["passwordHash"] = "***"
            self.rejects.append((*entry[:3], json.dumps(shown, ensure_ascii=False)))
        if self._writer is not None:
            self._unwritten.append(entry)

    def _write(self, stream: bulk.Stream, lane: Lane | ServerLane | None, batch: Batch, kept: list[list[Any]]) -> None:
        if self._wanted.to_postgresql:
            stream.text(batch.copied)
        elif isinstance(lane, Lane) and batch.clean:
            lane.insert(batch)
        if kept:
            stream.rows(kept)
        if len(self._unwritten) >= stages.BATCH:
            stream.pause()
            self._write_rejects()

    def _write_rejects(self) -> None:
        if self._writer is not None and self._unwritten:
            names = ("source_table", "source_id", "reason", "row")
            bulk.insert(self._writer, rejects_table.name, names, self._unwritten)
            self._unwritten.clear()

    def _line(self, table: stages.OldTable) -> _Line:
        """Returns a function that makes an imported row's line for the checksum."""
        checks = [column.check.old for column in columns.of(table, self._wanted).values()]
        # These changes are reported as changes; the checksum must include them.
        adapted = [table.columns.index(name) for name in _ADAPTED if table.model is DatasetOverride]

        def line(row: stages.Row, found: list[Any]) -> bytes:
            values = list(row)
            for place in adapted:
                values[place] = found[place]
            return checksums.line(check(value) for check, value in zip(checks, values, strict=True))

        return line

    def verify(self, writer: Connection, marks: Mapping[str, int], created: Mapping[str, int]) -> None:
        """Compares the final state of the target with the source; to be called after everything else was written.

        `marks`: each table's largest id that the source gave. Rows above it were created by the upgrade itself: as many
        as `created` says, and listed among the changes. Raises PharmdbError if any row or value differs.
        """
        for count in self.counts:
            table, mark = count.table.table, marks[count.table.table]
            checks = {name: column.check for name, column in columns.of(count.table, self._wanted).items()}
            count.target_sum = checksums.of_target(writer, table, checks, mark)
            if count.target_sum != count.source_sum:
                sums = (checksums.shown(each) for each in (count.source_sum, count.target_sum))
                raise _unequal(
                    count, "unchanged values", "source and target have the checksums {} and {}".format(*sums)
                )
            more = writer.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE id > {int(mark)}").scalar_one()
            if more != created.get(table, 0):
                raise _unequal(count, f"{created.get(table, 0)} new rows", f"{more}")
            if more:
                self.changes[table, CREATED] = more


_Line = Callable[[stages.Row, list[Any]], bytes]


def _unequal(count: Count, expected: str, found: str) -> PharmdbError:
    return PharmdbError(
        expected=f"each row of {count.table.name} imported or rejected: {expected}",
        found=f"{found}; {count.imported} rows imported, {count.rejected} rejected",
        unchanged="everything was rolled back",
        note="this is a bug in pharmdb: please report it with this message",
    )
