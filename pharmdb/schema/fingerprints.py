"""The fingerprint: a SHA-256 of the logical content, the same on every database and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, Text, TextClause, cast, select
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
from pharmdb.schema import fingerprint_batches, fingerprint_values
from pharmdb.schema.fingerprint_batches import Block
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
# Rows at a time, where each is written by itself: they may have long documents.
_FETCHED = 200


@checked
def fingerprint(connection: Connection, *, seed: bool = False, users: _Condition | None = None) -> str:
    """The SHA-256 of the content as 64 hex digits.

    It is computed of lines `table.column digest`, with the tables in the order of the models. A column's digest is the
    SHA-256 of its values, each as one line of JSON, with the rows by natural key in the order of its bytes in UTF-8,
    and times as YYYY-MM-DDTHH:MM:SS.mmm+00:00. With `seed`, created_at, updated_at and last_attempt_at are left out:
    two databases seeded from the same files then have the same fingerprint. `users`, a condition on users, limits the
    content to these users. Rows are streamed: memory use depends on the longest documents and on how many rows have
    one key, not on how many rows there are.
    """
    digest = hashlib.sha256()
    for model, (key, rest) in zip(MODELS, _CONTENT, strict=True):
        if seed:
            key, rest = (tuple(c for c in part if c.key not in _RENEWED) for part in (key, rest))
        digests = [hashlib.sha256() for _ in (*key, *rest)]
        add = partial(_add, digests)
        one_by_one = partial(_blocks, connection, model, key, rest)
        if model in _LARGE and fingerprint_batches.worthwhile(connection, model):
            fingerprint_batches.read(connection, model, key, rest, users, one_by_one, add)
        else:
            for block in one_by_one(*([] if users is None else [users])):
                add(block)
        for column, found in zip((*key, *rest), digests, strict=True):
            digest.update(f"{model.__tablename__}.{column.key} {found.hexdigest()}\n".encode())
    return digest.hexdigest()


def _add(digests: list[Any], block: Block) -> None:
    for digest, lines in zip(digests, block, strict=True):
        digest.update(lines)


def _blocks(connection: Connection, model: type, key: _Columns, rest: _Columns, *where: _Condition) -> Iterator[Block]:
    """The lines of each column of the rows that meet the conditions, row by row."""
    columns = (*key, *rest)
    writers = [_writer(column) for column in columns]
    statement = _statement(connection, model, key, columns).where(*where)
    found = connection.execute(statement, execution_options={"yield_per": _FETCHED})
    width = len(key)
    rows: list[tuple[str, ...]] = []
    equals: list[tuple[str, ...]] = []
    last = None
    for row in found:
        # Rows with the same natural key have no defined order: they are sorted by their lines.
        if row[:width] != last:
            rows += sorted(equals)
            equals = []
            last = row[:width]
            if len(rows) >= _FETCHED:
                yield _block(rows)
                rows = []
        equals.append(tuple([write(value) for write, value in zip(writers, row, strict=True)]))
    if rows or equals:
        yield _block([*rows, *sorted(equals)])


def _block(rows: list[tuple[str, ...]]) -> Block:
    return ["\n".join([*column, ""]).encode() for column in zip(*rows, strict=True)]


def _statement(connection: Connection, model: type, key: _Columns, columns: _Columns) -> Select[Any]:
    selected = [_as_text(connection, c) for c in columns]
    statement = select(*selected).select_from(model)
    if model is not User:
        owner = DatasetOverride.created_by_id if model is DatasetOverride else model.user_id  # type: ignore[attr-defined]
        statement = statement.join(User, User.id == owner)
    by_bytes = partial(dialect.of(connection).by_bytes, connection)
    return statement.order_by(*(by_bytes(c) if isinstance(c.type, String) else c for c in key))


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
    return fingerprint_values.integer
