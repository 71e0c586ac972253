"""Filters and searches of a table as SQL, with every value as a bound parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, and_, column, false, func, or_, true
from sqlalchemy.types import NullType

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Column, Table

OPERATORS = ("=", "≠", "<", "≤", ">", "≥", "between", "contains", "in", "is empty", "is not empty")


@dataclass(frozen=True)
class Filter:
    """One condition on a column. `upper` is the second value of `between`, `items` are the values of `in`."""

    column: str
    operator: str
    value: str = ""
    upper: str = ""
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A view of a table: filters (all must match, or with `match` "any" at least one), a search, an order, a page.

    `sort` is ((column, descending), …); the key is the tie-breaker. NULL sorts as the greatest value. `place` is the
    position of a row in that order, as in `Page.first` and `Page.last`; `direction` selects the rows "after" it,
    "before" it, or "from" it on. Without a place: the first page, or with "before" the last.
    """

    filters: tuple[Filter, ...] = ()
    match: Literal["all", "any"] = "all"
    search: str = ""
    sort: tuple[tuple[str, bool], ...] = ()
    size: int = 50
    place: tuple[str | None, ...] | None = None
    direction: Literal["after", "before", "from"] = "after"


def condition(table: Table, view: View) -> ColumnElement[bool]:
    """The filters and the search as SQL, with bound values. Raises UnfitError if a value does not fit."""
    parts = [_compared(table.column(each.column), each) for each in view.filters]
    filters = and_(true(), *parts) if view.match == "all" or not parts else or_(false(), *parts)
    return and_(filters, _searched(table, view.search)) if view.search else filters


def _searched(table: Table, text: str) -> ColumnElement[bool]:
    kinds = ("text", "integer", "number", "datetime", "date", "enum", "json", "raw", "any")
    columns = [c for c in table.columns.values() if c.searchable and c.kind in kinds]
    return or_(false(), *(_contains(c, text) for c in columns))


def _contains(found: Column, text: str) -> ColumnElement[bool]:
    if "\0" in text and not found.sqlite:
        raise values.UnfitError("PostgreSQL can't store NUL characters")
    # LIKE would stop at a NUL on SQLite, and ILIKE would fold non-ASCII letters on PostgreSQL.
    position = func.instr if found.sqlite else func.strpos
    return position(found.lowered, values.lowered(text)) > 0


def _compared(found: Column, each: Filter) -> ColumnElement[bool]:
    if each.operator == "is empty":
        return column(found.name, NullType()).is_(None)
    if each.operator == "is not empty":
        return column(found.name, NullType()).is_not(None)
    if not found.searchable:
        raise values.UnfitError(f"{found.name} is a secret: comparisons would allow guessing it")
    if found.kind == "bytes":
        raise values.UnfitError(f"{found.name} contains bytes, so it can only be filtered by empty or not empty")
    if each.operator == "contains":
        return _contains(found, each.value)
    raw = found.raw
    if each.operator == "between":
        low, high = (found.bound(found.parsed(text)) for text in (each.value, each.upper))
        return and_(raw >= low, raw <= high)
    if each.operator == "in":
        return raw.in_([found.bound(found.parsed(item)) for item in each.items])
    value = found.bound(found.parsed(each.value))
    operators: dict[str, Callable[[], ColumnElement[bool]]] = {
        "=": lambda: raw == value,
        "≠": lambda: raw.is_distinct_from(value),
        "<": lambda: raw < value,
        "≤": lambda: raw <= value,
        ">": lambda: raw > value,
        "≥": lambda: raw >= value,
    }
    if each.operator not in operators:
        raise values.UnfitError(f"a filter must use one of {', '.join(OPERATORS)}, not {each.operator!r}")
    return operators[each.operator]()
