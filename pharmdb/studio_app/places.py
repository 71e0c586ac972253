"""Keyset pagination: the order of rows and positions in it, so that late pages cost no more than early ones."""

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
    """One column of the order. NULL sorts as the greatest value, as on PostgreSQL."""

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
        """A range condition on the first column only, which can use an index; true if there is none."""
        if self.nullable or value is None:
            return true()
        descending = self.descending != backwards
        bounded: ColumnElement[bool] = self.raw <= self.bound(value) if descending else self.raw >= self.bound(value)
        return bounded


def order_of(table: Table, view: View) -> list[Part]:
    """The columns of the order, ending with the key. Raises UnfitError for a column that can't be sorted."""
    parts = []
    for name, descending in view.sort:
        found = table.column(name)
        if not found.searchable:
            raise values.UnfitError(f"{name} is a secret, so rows can't be sorted by it")
        parts.append(Part(found.raw, found.bound, descending, found.nullable))
    sorted_by = {name for name, _ in view.sort}
    # The key is sorted in the direction of the last sort column, so that an index on both can be used.
    last = view.sort[-1][1] if view.sort else False
    for name in table.key:
        if name not in sorted_by:
            parts.append(_key_part(table, name, last))
    return parts


def _key_part(table: Table, name: str, descending: bool) -> Part:
    if name in table.columns:
        found = table.columns[name]
        # SQLite allows NULL in a primary key that is not the rowid.
        return Part(found.raw, found.bound, descending, found.nullable)
    return Part(column(name, NullType()), _as_tid if name == "ctid" else lambda value: value, descending, False)


def _as_tid(value: str) -> Any:
    return cast(literal(value, String), NamedType("tid"))


def place_of(order: list[Part], place: Sequence[str | None]) -> list[Any]:
    """The values of a position that the page holds. Raises UnfitError if it belongs to another order."""
    if len(place) != len(order):
        raise values.UnfitError("the address contains a position in another sort order")
    return [values.from_wire(text) for text in place]


def beyond(order: list[Part], place: list[Any], backwards: bool, inclusive: bool) -> ColumnElement[bool]:
    """The condition for all rows beyond a position: the first column beyond it, or equal and the next one beyond, …"""
    equal: list[ColumnElement[bool]] = []
    choices = []
    for part, value in zip(order, place, strict=True):
        choices.append(and_(true(), *equal, part.beyond(value, backwards)))
        equal.append(part.equals(value))
    if inclusive:
        choices.append(and_(true(), *equal))
    return and_(order[0].not_behind(place[0], backwards), or_(*choices))
