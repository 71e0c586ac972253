"""Rows of other tables that refer to a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pharmdb.studio_app import browsing, rows, values
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.statement_log import Session


@dataclass(frozen=True)
class Related:
    """Rows of another table that refer to a row: their number, and the filter that selects them."""

    table: str
    column: str
    value: str
    on_delete: str
    count: str


def related(session: Session, tables: Catalogue, table: Table, key: Sequence[str | None]) -> list[Related]:
    """The rows that refer to a row, for each foreign key, counted up to 10,000."""
    row = rows.read_row(session, table, key)
    if row is None:
        return []
    at = {name: n for n, name in enumerate(table.columns)}
    found = []
    for child in table.children:
        value = values.shown(row[at[child.refers_to]], table.columns[child.refers_to].kind)
        if value is not None:
            view = View(filters=(Filter(child.column, "=", value),))
            counted = browsing.count(session, tables[child.table], view)
            found.append(Related(child.table, child.column, value, child.on_delete, counted.text))
    return found
