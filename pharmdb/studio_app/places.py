"""The order of rows and a place in it, by keyset: no page costs more for its depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, cast, column, false, literal, or_, true
from sqlalchemy.types import NullType, String

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import NamedType, Table
from pharmdb.studio_app.filters import View


@dataclass(frozen=True)
class Part:
    """One column of the order. NULL is the greatest value, as PostgreSQL has it."""

    raw: ColumnElement[Any]
    bound: Any
    descending: bool
    nullable: bool

    def ordered(self, backwards: bool) -> ColumnElement[Any]:
        descending = self.descending != backwards
        ordered: ColumnElement[Any] = self.raw.desc() if descending else self.raw.asc()
        if not self.nullable:
            return ordered
        return ordered.nulls_first() if descending else ordered.nulls_last()

    def equals(self, value: Any) -> ColumnElement[bool]:
        return self.raw.is_(None) if value is None else self.raw == self.bound(value)

    def beyond(self, value: Any, backwards: bool) -> ColumnElement[bool]:
        if self.descending != backwards:
            return self.raw.is_not(None) if value is None else self.raw < self.bound(value)
        if value is None:
            return false()
        greater: ColumnElement[bool] = self.raw > self.bound(value)
        return or_(greater, self.raw.is_(None)) if self.nullable else greater

    def not_behind(self, value: Any, backwards: bool) -> ColumnElement[bool]:
        """A range on the first column alone, which an index can serve; true where there is none."""
        if self.nullable or value is None:
            return true()
        descending = self.descending != backwards
        bounded: ColumnElement[bool] = self.raw <= self.bound(value) if descending else self.raw >= self.bound(value)
        return bounded


def order_of(table: Table, view: View) -> list[Part]:
    """The columns of the order, the key last. Raises UnfitError for a column that can't be sorted by."""
    parts = []
    for name, descending in view.sort:
        found = table.column(name)
        if not found.searchable:
            raise values.UnfitError(f"{name} is a secret: it can't be sorted by")
        parts.append(Part(found.raw, found.bound, descending, found.nullable))
    sorted_by = {name for name, _ in view.sort}
    # The key goes the way of the last sort, so that an index on both can serve it.
    last = view.sort[-1][1] if view.sort else False
    for name in table.key:
        if name not in sorted_by:
            parts.append(_key_part(table, name, last))
    return parts


def _key_part(table: Table, name: str, descending: bool) -> Part:
    if name in table.columns:
        found = table.columns[name]
        # SQLite lets NULL into a primary key that is not the rowid.
        return Part(found.raw, found.bound, descending, found.nullable)
    return Part(column(name, NullType()), _as_tid if name == "ctid" else lambda value: value, descending, False)


def _as_tid(value: str) -> Any:
    return cast(literal(value, String), NamedType("tid"))


def place_of(order: list[Part], place: Sequence[str | None]) -> list[Any]:
    """The values of a place as the page holds it. Raises UnfitError for one of another order."""
    if len(place) != len(order):
        raise values.UnfitError("the address names a place in another order")
    return [values.from_wire(text) for text in place]


def beyond(order: list[Part], place: list[Any], backwards: bool, inclusive: bool) -> ColumnElement[bool]:
    """All rows on the far side of a place: the first column beyond it, or equal and the next one beyond, …"""
    equal: list[ColumnElement[bool]] = []
    choices = []
    for part, value in zip(order, place, strict=True):
        choices.append(and_(true(), *equal, part.beyond(value, backwards)))
        equal.append(part.equals(value))
    if inclusive:
        choices.append(and_(true(), *equal))
    return and_(order[0].not_behind(place[0], backwards), or_(*choices))
