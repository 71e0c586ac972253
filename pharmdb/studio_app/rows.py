"""Reads single rows by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, select, true

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.statement_log import Session


def read_row(session: Session, table: Table, key: Sequence[str | None], *, lock: bool = False) -> Any:
    """One row, in the order of the table's columns, or None. `lock` prevents others from changing it."""
    columns = [c.read for c in table.columns.values()]
    statement = select(*columns).select_from(table.clause).where(named(table, key))
    if lock:
        # SQLite has no row locks and needs none; SQLAlchemy omits the clause there.
        statement = statement.with_for_update()
    return session.first(statement)


def named(table: Table, key: Sequence[str | None]) -> ColumnElement[bool]:
    """The condition that selects one row. Raises UnfitError for a key of the wrong form."""
    if len(key) != len(table.key) or not table.has_key:
        raise values.UnfitError(f"rows of {table.name} are identified by {', '.join(table.key)}")
    parts = []
    for name, text in zip(table.key, key, strict=True):
        found = table.columns[name]
        value = values.from_wire(text)
        parts.append(found.raw.is_(None) if value is None else found.raw == found.bound(value))
    return and_(true(), *parts)


def key_of(table: Table, row: Sequence[Any]) -> list[str | None]:
    """The key of a row that was read, in the form that `named` takes."""
    at = {name: n for n, name in enumerate(table.columns)}
    return [values.to_wire(row[at[name]]) for name in table.key if name in at]
