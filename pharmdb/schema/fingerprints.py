"""The fingerprint: a SHA-256 of the logical content, the same on every database and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
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
from pharmdb.schema import canonical, fingerprint_batches, fingerprint_values
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
# The tables that can be large. Their key begins with their user's e-mail address.
_LARGE = (Attempt, ProgressByTag, SpacedRepetitionItem)
_Condition = ColumnElement[bool] | TextClause


@checked
def fingerprint(connection: Connection, *, seed: bool = False, users: _Condition | None = None) -> str:
    """The SHA-256 of the content as 64 hex digits.

    Tables come in the order of the models, rows by natural key in byte order, each as one line of JSON with times as
    YYYY-MM-DDTHH:MM:SS.mmmZ. With `seed`, created_at, updated_at and last_attempt_at are left out: two databases seeded
    from the same files then have the same fingerprint. `users`, a condition on users, limits the content to these
    users. Rows are streamed, so memory use is constant.
    """
    digest = hashlib.sha256()
    for model, (key, rest) in zip(MODELS, _CONTENT, strict=True):
        digest.update(f"{model.__tablename__}\n".encode())
        if seed:
            key, rest = (tuple(c for c in part if c.key not in _RENEWED) for part in (key, rest))
        conditions = [] if users is None else [users]
        one_by_one = partial(_lines, connection, model, key, rest)
        if model in _LARGE and fingerprint_batches.worthwhile(connection, model):
            found = fingerprint_batches.lines(connection, model, key, rest, users, one_by_one)
        else:
            found = one_by_one(*conditions)
        for line in found:
            digest.update(line)
    return digest.hexdigest()


def _lines(connection: Connection, model: type, key: _Columns, rest: _Columns, *where: _Condition) -> Iterator[bytes]:
    """The lines of the rows that meet the conditions, row by row."""
    columns = (*key, *rest)
    writers = [_writer(column) for column in columns]
    statement = _statement(connection, model, key, columns).where(*where)
    rows = connection.execute(statement, execution_options={"yield_per": 1000})
    width = len(key)
    equals: list[str] = []
    last = None
    for row in rows:
        # Rows with the same natural key have no defined order: they are sorted by the text of their lines.
        if row[:width] != last:
            equals.sort()
            yield "".join(equals).encode()
            equals = []
            last = row[:width]
        equals.append(f"[{','.join([write(value) for write, value in zip(writers, row, strict=True)])}]\n")
    yield "".join(sorted(equals)).encode()


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
        return fingerprint_values.document
    if column.type is DOUBLE:
        return fingerprint_values.real
    if isinstance(column.type, (String, UTCDateTime)):
        return fingerprint_values.text
    return canonical.encode
