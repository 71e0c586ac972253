"""Copies or rejects every row of an old database, and counts both. Used by the upgrade only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table

from pharmdb import progress
from pharmdb.database import bulk, ids, storable, targets
from pharmdb.errors import PharmdbError
from pharmdb.legacy import checksums, conversion, sources, stages
from pharmdb.models import DatasetOverride, ProgressByTag, SpacedRepetitionItem, User, UserSettings
from pharmdb.schema import json_values
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
# Unique keys; users' e-mails and override names are handled separately.
_UNIQUE = {
    UserSettings: ("user_id",),
    ProgressByTag: ("user_id", "module", "course_block", "tag"),
    SpacedRepetitionItem: ("user_id", "entity_type", "entity_id"),
}
# Conversions that a user would notice, as named in the report.
_NOTICED = {
    ("users", "email"): "email trimmed or lower-cased",
    ("users", "role"): "role set to USER",
    ("dataset_overrides", "json_text"): "byte order mark before the JSON removed",
    ("dataset_overrides", "is_active"): "no longer active: json_text is not JSON",
}
# The columns of an override whose values the upgrade may change.
_ADAPTED = ("name", "json_text", "is_active")


@dataclass
class Count:
    """How many rows of one table were imported and rejected, and the checksums of source, target and rejects."""

    table: stages.OldTable
    source: int = 0
    imported: int = 0
    rejected: int = 0
    source_sum: int = 0
    target_sum: int | None = None
    rejects_sum: int = 0
    largest_id: int = 0


class Account:
    """Reads an old database once: with a writer it copies the rows, without one it only counts them.

    Memory holds one batch of rows and the users' ids, so it does not grow with the number of attempts.
    """

    def __init__(
        self,
        source: Connection,
        old: targets.Target,
        place: targets.Target,
        recognition: stages.Recognition,
        *,
        to_postgresql: bool,
        limits: storable.Limits,
        decode_json: bool = False,
        writer: Connection | None = None,
    ) -> None:
        self._source = source
        self._place = place
        self._old = old
        self._recognition = recognition
        self._to_postgresql = to_postgresql
        self._limits = limits
        self.decode_json = decode_json
        self._writer = writer
        self._users: set[int] = set()
        self._rejected_users: set[int] = set()
        # A table that does not exist at this stage has no rows on either side.
        empty = None if writer is None else 0
        self.counts = tuple(Count(table, target_sum=empty) for table in stages.TABLES)
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.changes: Counter[tuple[str, str]] = Counter()
        # Imported rows of a table whose column has JSON in a JSON string, decoded or not.
        self.json_strings: Counter[tuple[str, str]] = Counter()
        self.rejects: list[tuple[str, int, str, str]] = []

    @property
    def digest(self) -> str:
        """A hash of every row of the source, imported or not: it identifies the source's content."""
        found = [(c.table.name, c.source, c.source_sum, c.rejects_sum) for c in self.counts]
        return sha256(repr(found).encode()).hexdigest()

    def run(self) -> None:
        """Copies or counts all rows. Raises PharmdbError if one was neither imported nor rejected."""
        there = [count for count in self.counts if self._recognition.has(count.table)]
        with sources.told_of(self._old, self._place):
            expected = {count.table.name: stages.count(self._source, count.table) for count in there}
        with progress.counting("upgrade", sum(expected.values())) as advance:
            for count in there:
                judge, make = self._judge(count.table), self._tuple(count.table)
                for batch in self._batches(count.table):
                    self._take(count, batch, judge, make)
                    advance(len(batch))
                count.source_sum %= checksums.MODULUS
                if not count.source == expected[count.table.name] == count.imported + count.rejected:
                    raise _unequal(count, f"{expected[count.table.name]} rows", f"{count.imported} imported")

    def verify(self, writer: Connection, marks: Mapping[str, int], created: Mapping[str, int]) -> None:
        """Compares the final state of the target with the source; to be called after everything else was written.

        `marks`: each table's largest id that the source gave. Rows above it were created by the upgrade itself: as many
        as `created` says, and listed among the changes. Raises PharmdbError if any row or value differs.
        """
        for count in self.counts:
            table, mark = count.table.table, marks[count.table.table]
            count.target_sum = checksums.of_target(writer, count.table, mark)
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

    def _batches(self, table: stages.OldTable) -> Iterator[list[stages.Row]]:
        # Only reading happens in this block, so an error here always comes from the source.
        with sources.told_of(self._old, self._place):
            yield from stages.rows(self._source, table, self._recognition)

    def _take(self, count: Count, batch: list[stages.Row], judge: _Judge, make: _Make) -> None:
        kept: list[list[Any]] = []
        rejected: list[tuple[str, int, str, str]] = []
        for row in batch:
            try:
                found = judge(row)
            except stages.RejectedError as error:
                reason = self._limits.shown(str(error))
                entry = (count.table.table, row[0], reason, stages.as_json(count.table, row, self._limits))
                count.rejects_sum = (count.rejects_sum + checksums.digest(entry)) % checksums.MODULUS
                rejected.append(entry)
                # Grouped without the value, which differs from row to row.
                self.reasons[count.table.table, error.kind] += 1
            else:
                kept.append(found)
                count.source_sum += checksums.digest(make(row, found))
        count.source += len(batch)
        count.imported += len(kept)
        count.rejected += len(rejected)
        count.largest_id = max(count.largest_id, *(row[0] for row in batch if row[0] <= ids.LARGEST), 0)
        for table, id_, reason, stored in rejected[: SHOWN - len(self.rejects)]:
            # The hash is kept in the target's table, but never shown.
            shown = json.loads(stored)
            if "passwordHash" in shown:
                shown["passwordHash"] = "***"
            self.rejects.append((table, id_, reason, json.dumps(shown, ensure_ascii=False)))
        if self._writer is not None:
            bulk.insert(self._writer, count.table.table, count.table.columns, kept)
            bulk.insert(self._writer, rejects_table.name, ("source_table", "source_id", "reason", "row"), rejected)

    def _tuple(self, table: stages.OldTable) -> _Make:
        make = checksums.of_old_rows(table, decode_json=self.decode_json)
        if table.model is not DatasetOverride:
            return lambda row, found: make(row)
        adapted = [table.columns.index(name) for name in _ADAPTED]

        def make_adapted(row: stages.Row, found: list[Any]) -> tuple[Any, ...]:
            # These changes are reported as changes; the checksum must include them.
            values = list(row)
            for place in adapted:
                values[place] = found[place]
            return make(tuple(values))

        return make_adapted

    # -- accepting and rejecting rows ----------------------------------------------------------------

    def _judge(self, table: stages.OldTable) -> _Judge:
        """Returns a function that converts an old row to a new one, or raises RejectedError."""
        has_role = "role" in self._recognition.columns["User"]
        convert_values = conversion.converter(
            table, to_postgresql=self._to_postgresql, has_role=has_role, decode_json=self.decode_json
        )
        fault_of = self._limits.checker(cast(Table, table.model.__table__))

        def convert(row: stages.Row) -> list[Any]:
            found = convert_values(row)
            if fault := fault_of(found):
                raise stages.RejectedError(*fault)
            return found

        noticed = [
            (table.columns.index(column), (name, change))
            for (name, column), change in _NOTICED.items()
            if name == table.table
        ]
        if table.model is User:
            accept = self._accept_user(table, convert)
        elif table.model is DatasetOverride:
            accept = self._number_name(table)
        else:
            accept = self._accept_once(table)
        owner = table.owner
        times = [place for place, kind in enumerate(table.kinds) if kind == "time"]
        documents = [(place, table.columns[place]) for place, kind in enumerate(table.kinds) if kind == "document"]

        def judge(row: stages.Row) -> list[Any]:
            if owner is not None and row[owner] not in self._users:
                was = "a user that was rejected" if row[owner] in self._rejected_users else "no user"
                raise stages.RejectedError(f"{table.columns[owner]} names {was}", f"{row[owner]!r:.60}")
            try:
                found = convert(row)
                accept(found)
            except stages.RejectedError:
                if table.model is User:
                    self._rejected_users.add(row[0])
                raise
            for place, change in noticed:
                if found[place] != row[place]:
                    self.changes[change] += 1
            if any(conversion.is_rounded(row[place]) for place in times):
                self.changes[table.table, "times rounded to milliseconds"] += 1
            for place, column in documents:
                if isinstance(row[place], str) and json_values.decoded_text(row[place]) != row[place]:
                    self.json_strings[table.table, column] += 1
                    if self.decode_json:
                        self.changes[table.table, f"JSON string decoded: {column}"] += 1
            return found

        return judge

    def _repeated(self, table: stages.OldTable, key: tuple[str, ...]) -> set[int]:
        with sources.told_of(self._old, self._place):
            return stages.repeated(self._source, table, key)

    def _accept_user(self, table: stages.OldTable, convert: _Judge) -> Callable[[list[Any]], None]:
        """Of several accounts with the same e-mail, the oldest is kept."""
        email, created = table.columns.index("email"), table.columns.index("created_at")
        several = self._repeated(table, ("email",))
        oldest: dict[str, tuple[str, int]] = {}
        for batch in self._batches(table) if several else ():
            for row in batch:
                if row[0] not in several:
                    continue
                try:
                    found = convert(row)
                except stages.RejectedError:
                    continue
                mine = (found[created], found[0])
                oldest[found[email]] = min(mine, oldest.get(found[email], mine))

        def accept(found: list[Any]) -> None:
            kept = oldest.get(found[email])
            if kept is not None and kept[1] != found[0]:
                raise stages.RejectedError(f"an older account has the same e-mail: user {kept[1]}")
            self._users.add(found[0])

        return accept

    def _accept_once(self, table: stages.OldTable) -> Callable[[list[Any]], None]:
        key = _UNIQUE.get(table.model)
        if key is None:
            return lambda found: None
        places = [table.columns.index(column) for column in key]
        several = self._repeated(table, key)
        seen: set[tuple[Any, ...]] = set()

        def accept(found: list[Any]) -> None:
            if found[0] in several:
                values = tuple(found[place] for place in places)
                if values in seen:
                    raise stages.RejectedError(f"an earlier row has the same {', '.join(key)}")
                seen.add(values)

        return accept

    def _number_name(self, table: stages.OldTable) -> Callable[[list[Any]], None]:
        """Of several overrides with the same name, the first keeps it; a number is added to the others."""
        place = table.columns.index("name")
        with sources.told_of(self._old, self._place):
            taken = stages.names(self._source, table)
        used: set[str] = set()

        def number(found: list[Any]) -> None:
            name = found[place]
            if name in used:
                n = 2
                while (free := f"{name} ({n})") in taken:
                    n += 1
                taken.add(free)
                found[place] = free
                self.changes[table.table, "name numbered"] += 1
            used.add(found[place])

        return number


_Judge = Callable[[stages.Row], list[Any]]
_Make = Callable[[stages.Row, list[Any]], tuple[Any, ...]]


def _unequal(count: Count, expected: str, found: str) -> PharmdbError:
    return PharmdbError(
        expected=f"each row of {count.table.name} imported or rejected: {expected}",
        found=f"{found}; {count.imported} rows imported, {count.rejected} rejected",
        unchanged="everything was rolled back",
        note="this is a bug in pharmdb: please report it with this message",
    )
