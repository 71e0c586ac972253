"""The fingerprint: a SHA-256 of the logical content, the same on every database and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, Text, TextClause, cast, collate, select
from sqlalchemy.orm import InstrumentedAttribute

from pharmdb.arguments import checked
from pharmdb.database import dialect
from pharmdb.models import (
    MODELS,
    Attempt,
    Bookmark,
    DatasetOverride,
    ProgressByTag,
    SpacedRepetitionItem,
    User,
    UserSettings,
)
from pharmdb.schema import canonical
from pharmdb.types import DOCUMENT, DOUBLE, UTCDateTime

_Columns = tuple[InstrumentedAttribute[Any], ...]


# For each table its natural key and its other content: without generated ids, and without password hashes.
_CONTENT: tuple[tuple[_Columns, _Columns], ...] = (
    ((User.email,), (User.role, User.created_at)),
    ((User.email,), (UserSettings.language, UserSettings.created_at, UserSettings.updated_at)),
    ((User.email, Bookmark.created_at, Bookmark.entity_type, Bookmark.entity_id), ()),
    (
        (User.email, Attempt.created_at, Attempt.entity_type, Attempt.entity_id),
        (Attempt.score, Attempt.answers, Attempt.feedback),
    ),
    (
        (User.email, ProgressByTag.module, ProgressByTag.course_block, ProgressByTag.tag),
        (ProgressByTag.correct_count, ProgressByTag.wrong_count, ProgressByTag.last_attempt_at),
    ),
    (
        (User.email, SpacedRepetitionItem.entity_type, SpacedRepetitionItem.entity_id),
        (
            SpacedRepetitionItem.ease_factor,
            SpacedRepetitionItem.interval_days,
            SpacedRepetitionItem.next_review_at,
            SpacedRepetitionItem.last_reviewed_at,
        ),
    ),
    (
        (DatasetOverride.name,),
        (
            User.email,
            DatasetOverride.description,
            DatasetOverride.json_text,
            DatasetOverride.is_active,
            DatasetOverride.created_at,
            DatasetOverride.updated_at,
        ),
    ),
)


# Columns that every seed renews are excluded from the seed fingerprint.
_RENEWED = {"created_at", "updated_at", "last_attempt_at"}


@checked
def fingerprint(
    connection: Connection, *, seed: bool = False, users: ColumnElement[bool] | TextClause | None = None
) -> str:
    """The SHA-256 of the content as 64 hex digits.

    Tables come in the order of the models, rows by natural key in byte order, each as one line of JSON with times as
    YYYY-MM-DDTHH:MM:SS.mmmZ. With `seed`, created_at, updated_at and last_attempt_at are left out: two databases seeded
    from the same files then have the same fingerprint. `users`, a condition on users, limits the content to these
    users. Rows are streamed, so memory use is constant.
    """
    digest = hashlib.sha256()
    for model, (key, rest) in zip(MODELS, _CONTENT, strict=True):
        digest.update(f"{model.__tablename__}\n".encode())
        for line in _lines(connection, model, key, rest, seed, users):
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _lines(
    connection: Connection,
    model: type,
    key: _Columns,
    rest: _Columns,
    seed: bool,
    users: ColumnElement[bool] | TextClause | None,
) -> Iterator[str]:
    if seed:
        key, rest = (tuple(c for c in part if c.key not in _RENEWED) for part in (key, rest))
    columns = (*key, *rest)
    writers = [_writer(column) for column in columns]
    statement = _statement(connection, model, key, columns)
    if users is not None:
        statement = statement.where(users)
    rows = connection.execute(statement, execution_options={"yield_per": 1000})
    width = len(key)
    equals: list[str] = []
    last = None
    for row in rows:
        # Rows with the same natural key have no defined order: they are sorted by the text of their lines.
        if row[:width] != last:
            equals.sort()
            yield from equals
            equals = []
            last = row[:width]
        equals.append(f"[{','.join([write(value) for write, value in zip(writers, row, strict=True)])}]")
    yield from sorted(equals)


def _statement(connection: Connection, model: type, key: _Columns, columns: _Columns) -> Select[Any]:
    selected = [_as_text(connection, c) for c in columns]
    statement = select(*selected).select_from(model)
    if model is not User:
        owner = DatasetOverride.created_by_id if model is DatasetOverride else model.user_id  # type: ignore[attr-defined]
        statement = statement.join(User, User.id == owner)
    byte_order = dialect.of(connection).byte_order
    return statement.order_by(*(collate(c, byte_order) if isinstance(c.type, String) else c for c in key))


def _as_text(connection: Connection, column: InstrumentedAttribute[Any]) -> Any:
    """Times and documents are read as the database's text, because a million Python objects take too long."""
    if column.type is DOCUMENT:
        return cast(column, Text)
    if isinstance(column.type, UTCDateTime):
        return dialect.of(connection).time_text(column)
    return column


def _writer(column: InstrumentedAttribute[Any]) -> Callable[[Any], str]:
    """The function that writes the column's values as JSON; one per type is three times as fast as json.dumps."""
    if column.type is DOCUMENT or column is DatasetOverride.json_text:
        return _write_document
    if column.type is DOUBLE:
        return _write_real
    if isinstance(column.type, (String, UTCDateTime)):
        return _write_text
    return canonical.encode


def _write_text(value: Any) -> str:
    if value is None:
        return "null"
    # In a damaged file a column can hold any type of value; it still gets a fingerprint.
    return encode_basestring_ascii(value if isinstance(value, str) else repr(value))


def _write_real(value: Any) -> str:
    # SQLite has no -0.0
    return repr(value + 0.0) if isinstance(value, (int, float)) else _write_text(value)


@lru_cache(maxsize=4096)
def _write_document(text: Any) -> str:
    try:
        # A draft may be any text, nested to any depth.
        plain = isinstance(text, str) and canonical.is_too_deep(text)
        return _write_text(text if plain else canonical.canonical_json(text))
    except (ValueError, TypeError, RecursionError):
        return _write_text(text)
