"""Filters and searches of a table as SQL, with every value as a bound parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, select, true

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Column, Table

NULLS = ("is NULL", "is not NULL")
OPERATORS = ("=", "≠", "<", "≤", ">", "≥", "between", "last days", "contains", "in", "is empty", "is not empty", *NULLS)
_EQUAL = ("=", "≠", "in", *NULLS)
_TIMES = tuple(o for o in OPERATORS if not o.endswith("empty"))
_ORDERED = tuple(o for o in _TIMES if o != "last days")
_TEXTS = tuple(o for o in OPERATORS if o != "last days")
# The comparisons for each kind of values; the others have those of texts.
_OPERATORS = {
    "boolean": _EQUAL,
    "enum": _EQUAL,
    "bytes": NULLS,
    "integer": _ORDERED,
    "number": _ORDERED,
    "datetime": _TIMES,
    "date": _TIMES,
}
_MOST_DAYS = 100_000
# The most references that a filter follows, as in `user_id.role`.
_DEEPEST = 3


class FilterError(values.UnfitError):
    """A filter that can't be applied; `number` is its position, from 0."""

    def __init__(self, number: int, sentence: str) -> None:
        super().__init__(sentence)
        self.number = number


@dataclass(frozen=True)
class Filter:
    """One condition on a column. `upper` is the second value of `between`, `items` are the values of `in`.

    A column of the row that a reference refers to is named like `user_id.role`. A day such as 2026-01-31 is the whole
    day in UTC where times are compared. `last days`: today and the days before it, `value` of them in all.
    """

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


def operators_of(found: Column) -> tuple[str, ...]:
    """The comparisons that a filter on this column can use."""
    return NULLS if found.secret else _OPERATORS.get(found.kind, _TEXTS)


def condition(table: Table, view: View) -> ColumnElement[bool]:
    """The filters and the search as SQL, with bound values. Raises FilterError if a value does not fit."""
    parts = []
    for number, each in enumerate(view.filters):
        try:
            parts.append(_filtered(table, each.column, each))
        except values.UnfitError as error:
            raise FilterError(number, str(error)) from None
    filters = and_(true(), *parts) if view.match == "all" or not parts else or_(false(), *parts)
    return and_(filters, _searched(table, view.search)) if view.search else filters


def words(view: View) -> str:
    """The filters and the search in words, such as “score < 50 and role in ADMIN”; empty if there are none."""
    parts = [_words(each) for each in view.filters]
    joined = (" and " if view.match == "all" else " or ").join(parts)
    if not view.search:
        return joined
    searched = f"any column contains “{view.search}”"
    return searched if not joined else f"({joined}) and {searched}" if len(parts) > 1 else f"{joined} and {searched}"


def _words(each: Filter) -> str:
    if each.operator == "last days":
        return f"{each.column} in the last {each.value} days"
    if each.operator == "between":
        return f"{each.column} between {each.value} and {each.upper}"
    value = ", ".join(each.items) if each.operator == "in" else each.value
    return (
        f"{each.column} {each.operator}"
        if each.operator.startswith("is ")
        else f"{each.column} {each.operator} {value}"
    )


def _filtered(table: Table, path: str, each: Filter, depth: int = 0) -> ColumnElement[bool]:
    """A condition on a column of the table, or on one of a row that it refers to."""
    reference, dot, rest = path.partition(".")
    if path in table.columns or not dot or reference not in table.parents:
        return compared(table.column(path), each)
    if depth == _DEEPEST:
        raise values.UnfitError(f"a filter follows at most {_DEEPEST} references")
    parent, referred = table.parents[reference], table.foreign[reference][1]
    inner = select(parent.columns[referred].raw).select_from(parent.clause)
    return table.columns[reference].raw.in_(inner.where(_filtered(parent, rest, each, depth + 1)))


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


def compared(found: Column, each: Filter) -> ColumnElement[bool]:
    """A condition on this column. Raises UnfitError if it does not fit."""
    raw, operator = found.raw, each.operator
    if operator not in OPERATORS:
        raise values.UnfitError(f"a filter must use one of {', '.join(OPERATORS)}, not {operator!r}")
    if operator in NULLS:
        return raw.is_(None) if operator == "is NULL" else raw.is_not(None)
    if not found.searchable:
        raise values.UnfitError(f"{found.name} is a secret: comparisons would allow guessing it")
    if found.kind == "bytes":
        raise values.UnfitError(f"{found.name} contains bytes, so it can only be filtered by NULL or not NULL")
    if operator in ("is empty", "is not empty"):
        texts = found.kind in ("text", "enum", "json", "any")
        empty = or_(raw.is_(None), found.lowered == "") if texts else raw.is_(None)
        return empty if operator == "is empty" else not_(empty)
    if operator == "contains":
        return _contains(found, each.value)
    if operator == "last days":
        return _last_days(found, each.value)
    if operator == "between":
        return and_(_bounded(found, each.value, "≥"), _bounded(found, each.upper, "≤"))
    if operator == "in":
        if found.kind == "datetime":
            return or_(false(), *(_bounded(found, item, "=") for item in each.items))
        return raw.in_([found.bound(found.parsed(item)) for item in each.items])
    return _bounded(found, each.value, operator)


def _bounded(found: Column, text: str, operator: str) -> ColumnElement[bool]:
    """A comparison with a value, or with a whole day."""
    raw = found.raw
    if found.kind == "datetime" and (day := _day(text)) is not None:
        begin, end = _start(found, day), _start(found, day + timedelta(days=1)) if day < date.max else None
        before_end = true() if end is None else raw < end
        days: dict[str, Callable[[], ColumnElement[bool]]] = {
            "=": lambda: and_(raw >= begin, before_end),
            "≠": lambda: or_(raw.is_(None), raw < begin, not_(before_end)),
            "<": lambda: raw < begin,
            "≤": lambda: and_(raw.is_not(None), before_end),
            ">": lambda: and_(raw.is_not(None), not_(before_end)),
            "≥": lambda: raw >= begin,
        }
        return days[operator]()
    value = found.bound(found.parsed(text))
    operators: dict[str, Callable[[], ColumnElement[bool]]] = {
        "=": lambda: raw == value,
        "≠": lambda: raw.is_distinct_from(value),
        "<": lambda: raw < value,
        "≤": lambda: raw <= value,
        ">": lambda: raw > value,
        "≥": lambda: raw >= value,
    }
    return operators[operator]()


def _day(text: str) -> date | None:
    """The day that a text names, without a time of day; None for any other text."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def _start(found: Column, day: date) -> object:
    """The beginning of a day in UTC, or for a column of dates the day itself, as a bound value."""
    text = day.isoformat()
    bound: object = found.bound(found.parsed(text if found.kind == "date" else f"{text} 00:00:00"))
    return bound


def _last_days(found: Column, text: str) -> ColumnElement[bool]:
    if found.kind not in ("datetime", "date"):
        raise values.UnfitError(f"{found.name} contains no times")
    if not text.strip().isdecimal() or not 1 <= int(text) <= _MOST_DAYS:
        raise values.UnfitError(f"the number of days is a whole number from 1 to {_MOST_DAYS}, not “{text[:60]}”")
    today = datetime.now(UTC).date()
    begin = _start(found, today - timedelta(days=int(text) - 1))
    return and_(found.raw >= begin, found.raw < _start(found, today + timedelta(days=1)))
