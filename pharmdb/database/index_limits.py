"""How much text PostgreSQL's indexes hold, and the columns of an index that can't hold a row's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Table, UniqueConstraint

from pharmdb.models import MODELS

# An entry of an index takes up to 2,704 bytes, of which numbers and lengths need fewer than 100. PostgreSQL compresses
# long values, but how well depends on the value and the server, so the rule counts them as they are.
MOST_BYTES = 2600
# PostgreSQL's SQLSTATE for an entry that is too long.
TOO_LONG = "54000"


def bytes_above(key: Sequence[str]) -> int:
    """The number of bytes of these texts in UTF-8 if an index may not hold them together, else 0."""
    # A character has up to four bytes.
    size = sum(len(value.encode()) for value in key) if 4 * sum(map(len, key)) > MOST_BYTES else 0
    return size if size > MOST_BYTES else 0


def text_columns(table: Table) -> Iterator[list[Column[Any]]]:
    """The text columns of each index and unique constraint that has any."""
    for key in _keys(table):
        if texts := _texts(key):
            yield texts


def columns_of(index: str) -> list[Column[Any]]:
    """The text columns of the index or unique constraint of this name; none if it is not one of the models."""
    keys = (key for model in MODELS for key in _keys(model.__table__) if key.name == index)  # type: ignore[arg-type]
    return next(map(_texts, keys), [])


def _keys(table: Table) -> list[Any]:
    unique = (constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint))
    return [*table.indexes, *unique]


def _texts(key: Any) -> list[Column[Any]]:
    return [column for column in key.columns if column.type.python_type is str]


def rule(names: Sequence[str]) -> str:
    """What the index on these columns asks for, in words."""
    together = " together" if len(names) > 1 else ""
    return f"at most {MOST_BYTES:,} bytes of text in {' and '.join(names)}{together}: an index holds no more"
