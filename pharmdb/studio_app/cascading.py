"""The effects of deleting rows on other tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, column, func, or_, select
from sqlalchemy import table as sql_table

from pharmdb.studio_app import rows
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.statement_log import Session


@dataclass(frozen=True)
class Cascade:
    """The effect of deleting a row on another table: `on_delete` is CASCADE, SET NULL, NO ACTION, …"""

    table: str
    column: str
    on_delete: str
    rows: int


def cascades(session: Session, tables: Catalogue, table: Table, keys: Sequence[Sequence[str | None]]) -> list[Cascade]:
    """The rows of other tables that deleting these rows affects, counted at every depth; only tables with such rows."""
    found: list[Cascade] = []
    _reach(session, tables, table, or_(*(rows.named(table, key) for key in keys)), (table.name,), found)
    return found


def _reach(
    session: Session,
    tables: Catalogue,
    table: Table,
    condition: ColumnElement[bool],
    path: tuple[str, ...],
    found: list[Cascade],
) -> None:
    for child in table.children:
        refers_to: ColumnElement[Any] = column(child.refers_to)
        referred = select(refers_to).select_from(sql_table(table.name)).where(condition)
        hanging = and_(column(child.column).in_(referred))
        row = session.first(select(func.count()).select_from(sql_table(child.table)).where(hanging))
        if row is None or not row[0]:
            continue
        found.append(Cascade(child.table, child.column, child.on_delete, int(row[0])))
        if child.on_delete == "CASCADE" and child.table not in path:
            _reach(session, tables, tables[child.table], hanging, (*path, child.table), found)
