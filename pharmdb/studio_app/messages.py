"""Converts the page's messages to objects, and objects to messages."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from sqlalchemy import exc

from pharmdb.errors import PharmdbError
from pharmdb.studio_app import browsing, filters, labels, values
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.statement_log import mask_hashes, masked

_log = logging.getLogger(__name__)


def view_of(message: dict[str, Any]) -> View:
    """The view that the page requests. Raises UnfitError if the message is malformed."""
    size = message.get("size")
    place = message.get("place")
    try:
        return View(
            filters=tuple(
                Filter(
                    str(f["column"]),
                    str(f["operator"]),
                    str(f.get("value") or ""),
                    str(f.get("upper") or ""),
                    tuple(map(str, f.get("items") or ())),
                )
                for f in message.get("filters") or ()
            ),
            match="any" if message.get("match") == "any" else "all",
            search=str(message.get("search") or ""),
            sort=tuple((str(name), bool(descending)) for name, descending in message.get("sort") or ()),
            size=size if size in browsing.PAGE_SIZES else browsing.PAGE_SIZES[1],
            place=None if place is None else tuple(place),
            direction=message.get("direction") if message.get("direction") in ("before", "from") else "after",  # type: ignore[arg-type]
        )
    except (KeyError, TypeError, ValueError):
        raise values.UnfitError("the address can't be read") from None


def change_of(message: dict[str, Any]) -> Change:
    """A staged change from the page's message."""
    return Change(
        id=int(message["id"]),
        kind=message["kind"],
        table=str(message["table"]),
        key=tuple(message.get("key") or ()),
        values=dict(message.get("values") or {}),
        before=dict(message.get("before") or {}),
        password=message.get("password"),
        cascade=dict(message.get("cascade") or {}),
    )


def described(table: Table) -> dict[str, Any]:
    """A table's description for the page, as JSON data."""
    columns = [
        {
            "name": c.name,
            "kind": "password" if c.is_password else c.kind,
            "type": c.type,
            "nullable": c.nullable,
            "default": c.default,
            "key": c.key,
            "unique": c.unique,
            "references": c.references,
            "doc": c.doc,
            "values": c.values,
            "secret": c.secret,
            "editable": c.editable,
            "operators": filters.operators_of(c),
        }
        for c in table.columns.values()
    ]
    return {
        "name": table.name,
        "model": table.model,
        "columns": columns,
        "key": table.key,
        "label": own.name if (own := labels.label_column(table)) is not None else "",
        "readOnly": table.why_read_only,
        "children": [asdict(child) for child in table.children],
    }


def error_of(error: Exception) -> dict[str, Any]:
    """What the page shows of an exception: a sentence and, if known, the next step, and the number of a filter."""
    if isinstance(error, PharmdbError):
        name, advice = type(error).__name__, " · ".join(filter(None, (error.command, error.note)))
        return {"kind": name, "sentence": mask_hashes(error.found), "expected": error.expected, "next": advice}
    if isinstance(error, filters.FilterError):
        shown = {"kind": "FilterError", "sentence": mask_hashes(str(error)), "expected": "", "next": ""}
        return {**shown, "filter": error.number}
    if isinstance(error, values.UnfitError):
        return {"kind": "UnfitError", "sentence": str(error), "expected": "", "next": ""}
    if isinstance(error, exc.DBAPIError):
        sentence = masked(str(error.orig).strip().partition("\n")[0])
        return {"kind": "DatabaseError", "sentence": sentence, "expected": "", "next": ""}
    _log.error("a request of the studio's page failed", exc_info=error)
    return {
        "kind": type(error).__name__,
        "sentence": masked(str(error)),
        "expected": "",
        "next": "see the kernel's log",
    }
