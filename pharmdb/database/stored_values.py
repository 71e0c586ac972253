"""Python values as the database stores them, for a bulk insert: whole columns at a time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC
from itertools import islice
from operator import attrgetter, methodcaller
from typing import Any

from sqlalchemy import Table

from pharmdb.types import DOCUMENT, UTCDateTime, time_text

# Rows at a time.
_BATCH = 1000
# A string that no document contains.
_MARK = secrets.token_hex(16)
_encode = json.JSONEncoder(check_circular=False).encode
_text = methodcaller("isoformat", "T", "milliseconds")
_zone, _microsecond = attrgetter("tzinfo"), attrgetter("microsecond")


def stored(table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Rows of Python values as `bulk.insert` takes them, on both databases; a batch of rows is held in memory.

    Times become text in UTC, documents JSON as `json.dumps` writes it; None is NULL. Raises what `types.milliseconds`
    and `json.dumps` raise.
    """
    converters = [_converter(table.c[name].type) for name in columns]
    source = iter(rows)
    while batch := list(islice(source, _BATCH)):
        values = zip(*batch, strict=True)
        yield from zip(
            *[convert(list(column)) for convert, column in zip(converters, values, strict=True)], strict=True
        )


def _converter(type_: Any) -> Callable[[list[Any]], list[Any]]:
    if type_ is DOCUMENT:
        return _documents
    return _times if isinstance(type_, UTCDateTime) else list


def _times(values: list[Any]) -> list[str | None]:
    present = [value for value in values if value is not None] if None in values else values
    usual = set(map(_zone, present)) <= {UTC} and not any(value % 1000 for value in set(map(_microsecond, present)))
    if usual and len(present) == len(values):
        return list(map(_text, values))
    return [None if value is None else time_text(value) for value in values]


def _documents(values: list[Any]) -> list[str | None]:
    present = [value for value in values if value is not None]
    # One call for all of them, with a mark between two.
    together: list[Any] = [_MARK] * (2 * len(present) - 1)
    together[::2] = present
    try:
        texts = iter(_encode(together)[1:-1].split(f', "{_MARK}", '))
    except RecursionError:
        # Which one it is, or a circle, json.dumps says.
        texts = iter([json.dumps(value) for value in present])
    return [None if value is None else next(texts) for value in values]
