"""Decides row by row: what an old row becomes, or why it is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Set
from typing import Any, cast

from sqlalchemy import Table

from pharmdb.database import storable
from pharmdb.legacy import columns, conversion, stages
from pharmdb.legacy.columns import Wanted
from pharmdb.legacy.raw_rows import Source
from pharmdb.models import DatasetOverride, ProgressByTag, SpacedRepetitionItem, User, UserSettings
from pharmdb.schema import json_values

# Unique keys. Of accounts with the same e-mail the oldest is kept, of other rows the first; overrides get other names.
_UNIQUE = {
    User: ("email",),
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
Decide = Callable[[stages.Row], list[Any]]


class Judge:
    """Judges the rows of one source, users first.

    `users`: those that are imported; `rejected_users`: those that are not. `changes`: imported rows by table and
    change. `json_strings`: imported rows of a table whose column has JSON in a JSON string, decoded or not.
    """

    def __init__(self, source: Source, wanted: Wanted, limits: storable.Limits) -> None:
        self._source, self._wanted, self._limits = source, wanted, limits
        self.users: set[int] = set()
        self.rejected_users: set[int] = set()
        self.changes: Counter[tuple[str, str]] = Counter()
        self.json_strings: Counter[tuple[str, str]] = Counter()

    def repeated(self, table: stages.OldTable) -> set[int]:
        """The ids of the rows whose unique key another row has, too."""
        key = _UNIQUE.get(table.model)
        return self._source.repeated(table, key) if key else set()

    def judge(self, table: stages.OldTable, several: Set[int]) -> Decide:
        """Returns a function that converts an old row to a new one, or raises RejectedError.

        `several`: what `repeated` returns.
        """
        convert_values = columns.converter(table, self._wanted)
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
            accept = self._accept_user(table, convert, several)
        elif table.model is DatasetOverride:
            accept = self._number_name(table)
        else:
            accept = self._accept_once(table, several)
        owner = table.owner
        times = [place for place, kind in enumerate(table.kinds) if kind == "time"]
        reals = [(place, table.columns[place]) for place, kind in enumerate(table.kinds) if kind == "real"]
        documents = [(place, table.columns[place]) for place, kind in enumerate(table.kinds) if kind == "document"]

        def judge(row: stages.Row) -> list[Any]:
            if owner is not None and row[owner] not in self.users:
                was = "a user that was rejected" if row[owner] in self.rejected_users else "no user"
                raise stages.RejectedError(f"{table.columns[owner]} names {was}", conversion.shown(row[owner]))
            try:
                found = convert(row)
                accept(found)
            except stages.RejectedError:
                if table.model is User:
                    self.rejected_users.add(row[0])
                raise
            for place, change in noticed:
                if found[place] != row[place]:
                    self.changes[change] += 1
            if any(conversion.is_rounded(row[place]) for place in times):
                self.changes[table.table, "times rounded to milliseconds"] += 1
            for place, column in reals:
                if conversion.is_inexact(row[place]):
                    self.changes[table.table, f"{column} rounded to a float"] += 1
            for place, column in documents:
                if isinstance(row[place], str) and json_values.decoded_text(row[place]) != row[place]:
                    self.count_strings(table, column, 1)
            return found

        return judge

    def count_strings(self, table: stages.OldTable, column: str, rows: int) -> None:
        """Counts imported rows whose column has JSON in a JSON string."""
        self.json_strings[table.table, column] += rows
        if rows and self._wanted.decode_json:
            self.changes[table.table, f"JSON string decoded: {column}"] += rows

    def _accept_user(self, table: stages.OldTable, convert: Decide, several: Set[int]) -> Callable[[list[Any]], None]:
        """Of several accounts with the same e-mail, the oldest is kept."""
        email, created = table.columns.index("email"), table.columns.index("created_at")
        oldest: dict[str, tuple[str, int]] = {}
        for batch in self._source.rows(table) if several else ():
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
            self.users.add(found[0])

        return accept

    def _accept_once(self, table: stages.OldTable, several: Set[int]) -> Callable[[list[Any]], None]:
        key = _UNIQUE.get(table.model)
        if key is None:
            return lambda found: None
        places = [table.columns.index(column) for column in key]
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
        taken = self._source.names(table)
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
