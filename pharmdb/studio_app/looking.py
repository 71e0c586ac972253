"""The answers to the page's requests that only read.

Each takes a session, the tables, and the page's message, to which the widget adds whether it is `unlocked`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pharmdb.studio_app import (
    browsing,
    bulk,
    cascading,
    cells,
    counting,
    facets,
    filters,
    importing,
    labels,
    messages,
    relations,
    rows,
    values,
)
from pharmdb.studio_app.catalogue import Catalogue, Table
from pharmdb.studio_app.statement_log import MASKED, Session, mask_hashes

Message = dict[str, Any]
Answer = dict[str, Any]


def _table(tables: Catalogue, message: Message) -> Table:
    return tables[str(message["table"])]


def page(session: Session, tables: Catalogue, message: Message) -> Answer:
    """One page of rows, its filters in words, and the labels of the rows that it refers to."""
    table, view = _table(tables, message), messages.view_of(message)
    found = browsing.page(session, table, view)
    named = labels.labels(session, table, found, hidden=_hidden(session, message)) if table.parents else {}
    return {**asdict(found), "where": filters.words(view), "labels": named}


def choices(session: Session, tables: Catalogue, message: Message) -> Answer:
    """Rows that a reference can refer to."""
    table, typed = _table(tables, message), str(message.get("text") or "")
    hidden = _hidden(session, message)
    found = labels.choices(session, table, str(message["column"]), typed, hidden=hidden)
    return {"choices": [asdict(each) for each in found]}


def summary(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The extremes, the mean and the NULLs of a column."""
    return asdict(facets.summary(session, _table(tables, message), messages.view_of(message), str(message["column"])))


def frequent(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The most frequent values of a column."""
    table, view = _table(tables, message), messages.view_of(message)
    found, distinct = facets.most_frequent(session, table, view, str(message["column"]))
    return {"values": [asdict(each) for each in found], "distinct": distinct}


def bars(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The distribution of a column."""
    found = facets.bars(session, _table(tables, message), messages.view_of(message), str(message["column"]))
    return {"bars": [asdict(each) for each in found]}


def _hidden(session: Session, message: Message) -> bool:
    return labels.hides_addresses(session, unlocked=message.get("unlocked") is True)


def rows_of_view(session: Session, tables: Catalogue, message: Message) -> Answer:
    """All rows of a view, if they are few enough to be staged."""
    return {"rows": [asdict(row) for row in bulk.rows(session, _table(tables, message), messages.view_of(message))]}


def imported(session: Session, tables: Catalogue, message: Message) -> Answer:
    """Pasted rows, to be staged as new ones; nothing is written."""
    columns = [str(name) for name in message["columns"]]
    return asdict(importing.imported(_table(tables, message), str(message["text"]), columns))


def count(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The number of rows, at once: exact up to 10,000."""
    return asdict(browsing.count(session, _table(tables, message), messages.view_of(message)))


def exact(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The exact number of rows."""
    return asdict(counting.exact(session, _table(tables, message), messages.view_of(message)))


def sizes(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The number of rows of each table."""
    return {"sizes": {name: asdict(found) for name, found in counting.sizes(session, tables).items()}}


def locate(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The position of a row by its number, or by its key, in the view's order."""
    table, view = _table(tables, message), messages.view_of(message)
    if "key" in message:
        place, number = counting.place_of_key(session, table, view, str(message["key"]))
    else:
        typed = str(message.get("number")).strip().replace(",", "")
        if not typed.isdecimal():
            raise values.UnfitError(f"a row's number is a whole number, not “{typed[:60]}”")
        number = int(typed)
        place = counting.place_of_number(session, table, view, number)
    return {"place": place, "start": number}


def cell(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The full value of a truncated cell."""
    table = _table(tables, message)
    found = table.column(str(message["column"]))
    row = rows.read_row(session, table, message["key"])
    if row is None:
        raise values.UnfitError("somebody else has deleted this row in the meantime")
    value = dict(zip(table.columns, row, strict=True))[found.name]
    text = MASKED if found.secret else values.shown(value, found.kind)
    return {"text": None if text is None else mask_hashes(text), "cell": cells.cell(found, value)}


def related(session: Session, tables: Catalogue, message: Message) -> Answer:
    """The rows of other tables that refer to a row."""
    found = relations.related(session, tables, _table(tables, message), message["key"])
    return {"related": [asdict(each) for each in found]}


def cascade(session: Session, tables: Catalogue, message: Message) -> Answer:
    """What the deletion of each of these rows would take along."""
    table = _table(tables, message)
    found = [[asdict(c) for c in cascading.cascades(session, tables, table, [key])] for key in message["keys"]]
    return {"cascades": found}


# Each request with the seconds after which it is cancelled.
READING: dict[str, tuple[Callable[[Session, Catalogue, Message], Answer], float]] = {
    "page": (page, 60),
    "count": (count, 60),
    "exact": (exact, 30),
    "sizes": (sizes, 15),
    "locate": (locate, 30),
    "cell": (cell, 60),
    "related": (related, 60),
    "cascade": (cascade, 60),
    "choices": (choices, 10),
    "rows": (rows_of_view, 60),
    "import": (imported, 60),
    "summary": (summary, 20),
    "frequent": (frequent, 20),
    "bars": (bars, 20),
}
