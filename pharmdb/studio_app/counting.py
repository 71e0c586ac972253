"""How many rows there are, and where a row is: exact, so slow on large tables; each is asked for separately."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, func, select

from pharmdb.studio_app import browsing, filters, places, values
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import Session


def exact(session: Session, table: Table, view: View) -> browsing.Count:
    """Counts all rows of a view."""
    found = _number(session, select(func.count()).select_from(table.clause).where(filters.condition(table, view)))
    return browsing.counted(found)


def sizes(session: Session, tables: Catalogue) -> dict[str, browsing.Count]:
    """The number of rows of each table: on PostgreSQL its estimate if there are many, on SQLite always exact."""
    count = exact if session.connection.dialect.name == "sqlite" else browsing.count
    return {name: count(session, table, View()) for name, table in tables.items()}


def place_of_number(session: Session, table: Table, view: View, number: int) -> list[str | None]:
    """The position of a row by its number in the view's order, from 1. Raises UnfitError if there are fewer rows."""
    order = places.order_of(table, view)
    ordered = (part.ordered(backwards=False) for part in order)
    statement = _ends(table, view, order).order_by(*ordered).offset(max(0, number - 1)).limit(1)
    row = session.first(statement) if number > 0 else None
    if row is None:
        raise values.UnfitError(f"there is no row {number:,}{_among(view)}")
    return [values.to_wire(value) for value in row]


def place_of_key(session: Session, table: Table, view: View, typed: str) -> tuple[list[str | None], int]:
    """The position of the row with this key, and its number in the view's order.

    Raises UnfitError if the view has no such row, or the table's key has several columns.
    """
    if len(table.key) != 1 or not table.has_key:
        raise values.UnfitError(f"{table.name} has no key of one column: go to a row's number, or filter")
    found = table.column(table.key[0])
    order = places.order_of(table, view)
    row = session.first(_ends(table, view, order).where(found.raw == found.bound(found.parsed(typed))))
    if row is None:
        raise values.UnfitError(f"there is no row with {found.name} = {typed}{_among(view)}")
    place = [values.to_wire(value) for value in row]
    before = places.beyond(order, places.place_of(order, place), backwards=True, inclusive=False)
    counted = select(func.count()).select_from(table.clause).where(filters.condition(table, view), before)
    return place, _number(session, counted) + 1


def _among(view: View) -> str:
    return f" where {where}" if (where := filters.words(view)) else ""


def _ends(table: Table, view: View, order: list[places.Part]) -> Select[Any]:
    return select(*browsing.ends(table, order)).select_from(table.clause).where(filters.condition(table, view))


def _number(session: Session, statement: Select[Any]) -> int:
    row = session.first(statement)
    return int(row[0]) if row else 0
