"""Single rows, named by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, select, true

from pharmdb.studio_app import values
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.statement_log import Session


def read_rows(session: Session, table: Table, keys: Sequence[Sequence[str | None]], *, lock: bool = False) -> list[Any]:
    """For each key the row as the driver gives it, or None where there is none."""
    return [read_row(session, table, key, lock=lock) for key in keys]


def read_row(session: Session, table: Table, key: Sequence[str | None], *, lock: bool = False) -> Any:
    """One row, in the order of the table's columns; None where there is none. `lock` keeps others from changing it."""
    columns = [c.read for c in table.columns.values()]
    statement = select(*columns).select_from(table.clause).where(named(table, key))
    if lock:
        # SQLite has no such lock, and needs none: SQLAlchemy leaves it out there.
        statement = statement.with_for_update()
    return session.first(statement)


def named(table: Table, key: Sequence[str | None]) -> ColumnElement[bool]:
    """The condition that names one row. Raises UnfitError for a key of another form."""
    if len(key) != len(table.key) or not table.has_key:
        raise values.UnfitError(f"a row of {table.name} is named by {', '.join(table.key)}")
    parts = []
    for name, text in zip(table.key, key, strict=True):
        found = table.columns[name]
        value = values.from_wire(text)
        parts.append(found.raw.is_(None) if value is None else found.raw == found.bound(value))
    return and_(true(), *parts)


def key_of(table: Table, row: Sequence[Any]) -> list[str | None]:
    """The key of a row that was read, for `named`."""
    at = {name: n for n, name in enumerate(table.columns)}
    return [values.to_wire(row[at[name]]) for name in table.key if name in at]
