"""What a column contains: extremes and mean, its most frequent values, and how they are distributed."""

from __future__ import annotations

import math
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Integer, Text, cast, func, select

from pharmdb.studio_app import cells, filters, values
from pharmdb.studio_app.catalogue import Column, Table
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import Session

MOST_VALUES = 20
BARS = 20
_ORDERED = ("integer", "number", "datetime", "date", "text", "enum")
# No column of a table has this name, which would be grouped by instead.
_PART = "pharmdb part of a bar"
_NUMBERS = ("integer", "number")
_TIMES = ("datetime", "date")
# The parts of a time that make a bar, by the longest span of days: the length of their text, and PostgreSQL's form.
_UNITS = ((3, 13, 'YYYY-MM-DD"T"HH24'), (92, 10, "YYYY-MM-DD"), (8 * 366, 7, "YYYY-MM"), (math.inf, 4, "YYYY"))


@dataclass(frozen=True)
class Summary:
    """Texts as the page shows them; None where there is no value, or the column can't be compared."""

    rows: int
    nulls: int
    least: str | None = None
    greatest: str | None = None
    mean: str | None = None


@dataclass(frozen=True)
class Value:
    """A value and its number of rows. `whole`: the text is the whole value, so that a filter can use it."""

    text: str
    rows: int
    whole: bool


@dataclass(frozen=True)
class Bar:
    """The number of rows between two values, `high` included as in the filter `between`."""

    low: str
    high: str
    rows: int


def summary(session: Session, table: Table, view: View, name: str) -> Summary:
    """Counts the rows of a view and the NULLs in a column, with extremes and mean unless it is a secret."""
    found = table.column(name)
    counted = [func.count(), func.count(found.raw)]
    compared = found.kind in _ORDERED and found.searchable
    extremes: list[ColumnElement[Any]] = []
    if compared:
        extremes = [func.min(found.raw), func.max(found.raw)]
        extremes = extremes if found.sqlite else [cast(each, Text) for each in extremes]
    mean = [func.avg(found.raw)] if compared and found.kind in _NUMBERS else []
    statement = select(*counted, *extremes, *mean).select_from(table.clause).where(_rows(table, view))
    rows, present, *others = _read(session, statement)[0]
    least, greatest = others[:2] if extremes else (None, None)
    average = others[-1] if mean else None
    return Summary(
        rows,
        rows - present,
        None if least is None else _text(found, least).text,
        None if greatest is None else _text(found, greatest).text,
        None if average is None else values.shown(round(float(average), 4), "number"),
    )


def most_frequent(session: Session, table: Table, view: View, name: str) -> tuple[list[Value], int]:
    """The 20 most frequent values of a column, and how many different ones there are. NULL is none of them.

    Raises UnfitError for a secret.
    """
    found = _open(table, name)
    where = (_rows(table, view), found.raw.is_not(None))
    grouped = select(found.raw.label("value"), func.count().label("rows")).select_from(table.clause).where(*where)
    grouped = grouped.group_by(found.raw)
    sub = grouped.subquery()
    value = sub.c.value if found.sqlite else cast(sub.c.value, Text)
    statement = select(value, sub.c.rows, func.count().over().label("distinct"))
    rows = _read(session, statement.order_by(sub.c.rows.desc(), sub.c.value).limit(MOST_VALUES))
    shown = [(_text(found, row[0]), row[1]) for row in rows]
    return [Value(each.text, number, each.whole) for each, number in shown], rows[0][2] if rows else 0


def bars(session: Session, table: Table, view: View, name: str) -> list[Bar]:
    """The distribution of a column of numbers or times, in parts of equal length; empty for other columns.

    Raises UnfitError for a secret.
    """
    found = _open(table, name)
    if found.kind in _NUMBERS:
        return _number_bars(session, table, view, found)
    return _time_bars(session, table, view, found) if found.kind in _TIMES else []


def _open(table: Table, name: str) -> Column:
    found = table.column(name)
    if not found.searchable:
        raise values.UnfitError(f"{name} is a secret: its values are not listed")
    return found


def _read(session: Session, statement: Any) -> list[Sequence[Any]]:
    return [tuple(row) for row in session.rows(statement)]


def _rows(table: Table, view: View) -> ColumnElement[bool]:
    return filters.condition(table, view)


@dataclass(frozen=True)
class _Shown:
    text: str
    whole: bool


def _text(found: Column, value: Any) -> _Shown:
    cell = cells.cell(found, value)
    if isinstance(cell, dict):
        return _Shown(cell["t"], whole=False)
    return _Shown(cell or "", whole=True)


def _number_bars(session: Session, table: Table, view: View, found: Column) -> list[Bar]:
    raw: ColumnElement[Any] = cast(found.raw, Float) if found.kind == "number" else found.raw
    ends = select(func.min(found.raw), func.max(found.raw)).select_from(table.clause).where(_rows(table, view))
    try:
        low, high = (float(each) for each in _read(session, ends)[0])
    except (TypeError, ValueError):  # no row, or on SQLite a text among the numbers
        return []
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)) or low == high:
        return []
    integers = found.kind == "integer"
    width = max(1, math.ceil((high - low + 1) / BARS)) if integers else (high - low) / BARS
    number = (raw - low) / width
    part = cast(number if found.sqlite else func.floor(number), Integer)
    statement = select(part.label(_PART), func.count()).select_from(table.clause)
    where = (_rows(table, view), found.raw.is_not(None))
    counted: dict[int, int] = {}
    last = math.floor((high - low) / width) if integers else BARS - 1
    for each, rows in _read(session, statement.where(*where).group_by(_PART)):
        counted[min(int(each), last)] = counted.get(min(int(each), last), 0) + rows
    edges = [low + width * n for n in range(last + 2)]
    texts = [_number_text(edge, integers) for edge in edges]
    if integers:
        return [Bar(texts[n], _number_text(edges[n + 1] - 1, True), counted.get(n, 0)) for n in range(last + 1)]
    return [
        Bar(texts[n], texts[n + 1] if n < last else _number_text(high, False), counted.get(n, 0)) for n in range(BARS)
    ]


def _number_text(value: float, integer: bool) -> str:
    return str(int(value)) if integer else repr(value).removesuffix(".0")


def _time_bars(session: Session, table: Table, view: View, found: Column) -> list[Bar]:
    column: ColumnElement[Any] = found.raw
    if not found.sqlite and found.type.endswith("with time zone"):
        column = func.timezone("UTC", found.raw)
    text: ColumnElement[Any] = func.substr(column, 1, 10) if found.sqlite else func.to_char(column, "YYYY-MM-DD")
    ends = select(func.min(text), func.max(text)).select_from(table.clause).where(_rows(table, view))
    try:
        first, last = (date.fromisoformat(str(each)) for each in _read(session, ends)[0])
    except ValueError:  # no row, or on SQLite a time in another form
        return []
    length, form = next((length, form) for days, length, form in _UNITS if (last - first).days < days)
    part = func.substr(column, 1, length) if found.sqlite else func.to_char(column, form)
    statement = select(part.label(_PART), func.count()).select_from(table.clause).where(_rows(table, view))
    counted = {
        str(each).replace(" ", "T"): int(rows)
        for each, rows in _read(session, statement.where(found.raw.is_not(None)).group_by(_PART))
    }
    return [Bar(low, high, counted.get(key, 0)) for key, low, high in _periods(first, last, length)]


def _periods(first: date, last: date, length: int) -> Iterator[tuple[str, str, str]]:
    """The text of each hour, day, month or year, and its first and last moment as a filter takes them."""
    if length == 13:
        moment = datetime(first.year, first.month, first.day, tzinfo=UTC)
        for n in range(24 * ((last - first).days + 1)):
            key = (moment + timedelta(hours=n)).isoformat()[:13]
            yield key, f"{key}:00", f"{key}:59:59.999"
    elif length == 10:
        for n in range((last - first).days + 1):
            day = (first + timedelta(days=n)).isoformat()
            yield day, day, day
    elif length == 7:
        for n in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
            year, month = divmod(n, 12)
            key = f"{year:04}-{month + 1:02}"
            yield key, f"{key}-01", f"{key}-{monthrange(year, month + 1)[1]}"
    else:
        for year in range(first.year, last.year + 1):
            yield f"{year:04}", f"{year:04}-01-01", f"{year:04}-12-31"
