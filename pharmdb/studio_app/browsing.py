"""Pages of a table: filtered, searched and sorted in SQL, with keyset pagination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, cast, column, func, literal_column, select
from sqlalchemy import table as sql_table

from pharmdb.studio_app import places, values
from pharmdb.studio_app.catalogue import Column, Table
from pharmdb.studio_app.cells import Cell, cell
from pharmdb.studio_app.filters import View, condition
from pharmdb.studio_app.rows import key_of
from pharmdb.studio_app.statement_log import Session

PAGE_SIZES = (25, 50, 100, 250, 500)
COUNT_CAP = 10_000
_ONE: ColumnElement[int] = literal_column("1")


@dataclass(frozen=True)
class Row:
    """`key` identifies the row; `cells` are in the order of the table's columns."""

    key: list[str | None]
    cells: list[Cell]


@dataclass(frozen=True)
class Page:
    rows: list[Row]
    first: list[str | None] | None
    last: list[str | None] | None
    has_previous: bool
    has_next: bool
    ms: float = 0.0


@dataclass(frozen=True)
class Count:
    """`exact`: all rows were counted. Otherwise `rows` is PostgreSQL's estimate, or the cap, which is exceeded."""

    rows: int
    exact: bool
    estimate: bool
    text: str = field(default="")


def page(session: Session, table: Table, view: View) -> Page:
    """Reads one page. Raises UnfitError for a filter, sort or position that does not fit the table."""
    order = places.order_of(table, view)
    backwards = view.direction == "before"
    statement = _selected(table, order, view)
    if view.place is not None:
        statement = statement.where(
            places.beyond(order, places.place_of(order, view.place), backwards, view.direction == "from")
        )
    statement = statement.order_by(*(part.ordered(backwards) for part in order)).limit(view.size + 1)
    found = session.rows(statement)
    if backwards and view.place is not None and len(found) <= view.size:
        # Fewer rows before this position than a full page: show the first page.
        return page(session, table, _at_start(view))
    more = len(found) > view.size
    found = found[: view.size]
    if backwards:
        found.reverse()
    width = len(table.columns)
    first, last = (
        ([[values.to_wire(v) for v in row[width:]] for row in (found[0], found[-1])]) if found else (None, None)
    )
    earlier = _has_earlier(session, table, order, view, first) if first and not backwards else more
    return Page(
        rows=[row_of(table, row) for row in found],
        first=first,
        last=last,
        has_previous=earlier,
        has_next=view.place is not None if backwards else more,
        ms=round(session.ms, 2),
    )


def _at_start(view: View) -> View:
    return View(view.filters, view.match, view.search, view.sort, view.size)


def _has_earlier(session: Session, table: Table, order: list[places.Part], view: View, first: list[str | None]) -> bool:
    if view.place is None:
        return False
    if view.direction == "after":
        return True
    before = places.beyond(order, places.place_of(order, first), True, False)
    statement = select(_ONE).select_from(table.clause).where(condition(table, view), before).limit(1)
    return bool(session.rows(statement))


def count(session: Session, table: Table, view: View) -> Count:
    """Counts up to 10,000 rows; for a whole table with more, PostgreSQL's own estimate is used."""
    inner = select(_ONE).select_from(table.clause).where(condition(table, view)).limit(COUNT_CAP + 1)
    row = session.first(select(func.count()).select_from(inner.subquery()))
    found = int(row[0]) if row else 0
    if found <= COUNT_CAP:
        return counted(found)
    if not table.sqlite and not view.filters and not view.search:
        oid = func.to_regclass(func.quote_ident(table.name))
        estimated = session.first(
            select(column("reltuples")).select_from(sql_table("pg_class")).where(column("oid") == oid)
        )
        if estimated and estimated[0] > COUNT_CAP:
            return Count(int(estimated[0]), False, True, f"about {int(estimated[0]):,} rows (PostgreSQL's estimate)")
    return Count(COUNT_CAP, False, False, f"more than {COUNT_CAP:,} rows")


def counted(rows: int) -> Count:
    """An exact number of rows."""
    return Count(rows, True, False, f"{rows:,} row{'' if rows == 1 else 's'}")


def ends(table: Table, order: list[places.Part]) -> list[ColumnElement[Any]]:
    """The columns that make a row's position in this order."""
    ordered = [part.raw if table.sqlite else cast(part.raw, Text) for part in order]
    return [each.label(f"p{n}") for n, each in enumerate(ordered)]


def _selected(table: Table, order: list[places.Part], view: View) -> Select[Any]:
    shown = [c.read.label(f"c{n}") for n, c in enumerate(table.columns.values())]
    return select(*shown, *ends(table, order)).select_from(table.clause).where(condition(table, view))


def whole(table: Table, view: View, shown: Sequence[Column]) -> Select[Any]:
    """The statement for all rows of a view, with these columns, in the view's order."""
    order = (part.ordered(backwards=False) for part in places.order_of(table, view))
    columns = [c.read.label(f"c{n}") for n, c in enumerate(shown)]
    return select(*columns).select_from(table.clause).where(condition(table, view)).order_by(*order)


def row_of(table: Table, row: Sequence[Any]) -> Row:
    """A row that was read with all columns of its table first."""
    cells = [cell(found, value) for found, value in zip(table.columns.values(), row, strict=False)]
    return Row(key_of(table, row) if table.has_key else [], cells)
