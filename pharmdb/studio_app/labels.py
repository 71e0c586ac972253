"""The rows that references refer to, by a label that people know: an e-mail address or a name beside the bare id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from pharmdb.database import environments
from pharmdb.studio_app import browsing, cells, filters, values
from pharmdb.studio_app.catalogue import Column, Table
from pharmdb.studio_app.filters import Filter
from pharmdb.studio_app.statement_log import Session

CHOICES = 20
_NAMES = ("email", "name", "title", "label", "username")
_LOCAL_PART = re.compile(r"([^\s@])[^\s@]*@")


@dataclass(frozen=True)
class Choice:
    """A row that a reference can refer to."""

    value: str
    label: str


def label_column(table: Table) -> Column | None:
    """The column that names a row of the table for people: a unique text, or one with a usual name. Never a secret."""
    texts = [c for c in table.columns.values() if c.kind == "text" and not (c.secret or c.key or c.references)]
    named = [c for name in _NAMES for c in texts if c.name == name]
    return next((c for c in texts if c.unique), named[0] if named else None)


def hides_addresses(session: Session, *, unlocked: bool) -> bool:
    """Whether e-mail addresses stay out of other tables: in production, as long as the studio is locked."""
    return not unlocked and environments.environment(session.connection) == "production"


def labels(session: Session, table: Table, page: browsing.Page, *, hidden: bool) -> dict[str, dict[str, str]]:
    """For each reference of the table: the labels of the rows that this page refers to, by the reference's value.

    `hidden`: of an e-mail address only the first letter and the host are left.
    """
    found = {}
    for number, name in enumerate(table.columns):
        if name in table.parents and (own := label_column(table.parents[name])) is not None:
            shown = {cell for row in page.rows if isinstance(cell := row.cells[number], str)}
            found[name] = _labels(session, table, name, own, shown, hidden)
    return found


def choices(session: Session, table: Table, column: str, typed: str, *, hidden: bool) -> list[Choice]:
    """Up to 20 rows that a reference can refer to: those whose label contains the typed text, or with this key.

    With `hidden` only the key is searched, because a search would allow guessing the label. Raises UnfitError if the
    column is no reference.
    """
    if column not in table.parents:
        raise values.UnfitError(f"{column} does not refer to another table")
    parent = table.parents[column]
    referred = parent.columns[table.foreign[column][1]]
    own = label_column(parent)
    ways: list[ColumnElement[bool]] = []
    with suppress(values.UnfitError):  # what is no key can still be in a label
        ways.append(referred.raw == referred.bound(referred.parsed(typed)))
    if own is not None and not hidden:
        ways.append(filters.compared(own, Filter(own.name, "contains", typed)))
    statement = select(referred.read, *([own.read.label("label")] if own is not None else ())).select_from(
        parent.clause
    )
    if typed:
        statement = statement.where(or_(*ways)) if ways else statement.where(referred.raw.is_(None))
    order = own.raw if own is not None and not hidden else referred.raw
    rows: list[Any] = session.rows(statement.order_by(order).limit(CHOICES))
    return [
        Choice(values.shown(row[0], referred.kind) or "", _text(own, row[1], hidden) if own is not None else "")
        for row in rows
    ]


def _labels(
    session: Session, table: Table, name: str, own: Column, shown: Iterable[str], hidden: bool
) -> dict[str, str]:
    parent = table.parents[name]
    referred = parent.columns[table.foreign[name][1]]
    wanted = []
    for text in sorted(shown):
        try:
            wanted.append(referred.bound(referred.parsed(text)))
        except values.UnfitError:
            continue  # SQLite without STRICT: a value that no row of the other table can have
    if not wanted:
        return {}
    columns = [referred.read, own.read.label("label")]
    statement: Select[Any] = select(*columns).select_from(parent.clause)
    rows: list[Any] = session.rows(statement.where(referred.raw.in_(wanted)))
    return {values.shown(row[0], referred.kind) or "": _text(own, row[1], hidden) for row in rows}


def _text(own: Column, value: Any, hidden: bool) -> str:
    cell = cells.cell(own, value)
    text = str(cell["t"]) if isinstance(cell, dict) else cell or ""
    return _LOCAL_PART.sub(r"\1•••@", text) if hidden else text
