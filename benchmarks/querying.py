"""The application's hot queries and its upsert, written for pharmdb and each baseline, with the same results.

Every client keeps one connection. All reads share one open transaction; each write is a transaction of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any, Protocol

from benchmarks import django_baseline, ground
from pharmdb.database import targets, transactions
from pharmdb.learning import attempts, queries
from pharmdb.learning.attempts import Tag

EMAIL = "demo@pharmtrainer.test"
TAG = Tag("questions", "cardiology", "arrhythmias")
AT = datetime(2026, 12, 1, tzinfo=UTC)
QUERIES = ("user", "progress", "history", "due")


class Client(Protocol):
    """pharmdb or a baseline. `read` opens the connection for the four queries; `write` returns an upsert that counts a
    correct answer."""

    name: str

    def read(self, stack: ExitStack) -> None: ...
    def user(self) -> Any: ...
    def progress(self) -> Any: ...
    def history(self) -> Any: ...
    def due(self) -> Any: ...
    def write(self, stack: ExitStack) -> Callable[[], object]: ...


def rows(found: Any, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """A client's result as tuples of these columns."""
    many = found if isinstance(found, list) else [found]
    if not isinstance(many[0], (tuple, dict)):
        return [tuple(getattr(one, name) for name in columns) for one in many]
    return [tuple(one[name] for name in columns) if isinstance(one, dict) else tuple(one) for one in many]


class Ours:
    name = "pharmdb"

    def __init__(self, url: str) -> None:
        self.target = targets.target(url)

    def read(self, stack: ExitStack) -> None:
        self.connection = stack.enter_context(transactions.reading(self.target))

    def user(self) -> Any:
        return queries.user_by_email.one(self.connection, email=EMAIL)

    def progress(self) -> Any:
        return queries.progress_by_key.one(self.connection, user_id=1, **TAG._asdict())

    def history(self) -> Any:
        return queries.attempt_history.rows(self.connection, user_id=1)

    def due(self) -> Any:
        return queries.due_reviews.rows(self.connection, user_id=1, at=AT)

    def write(self, stack: ExitStack) -> Callable[[], object]:
        count = stack.enter_context(attempts.counting(self.target))
        return lambda: count(1, TAG, correct=True, at=AT)


_USER = "SELECT id, email, role, created_at FROM users WHERE email = {}"
_PROGRESS = "SELECT * FROM progress_by_tag WHERE user_id = {} AND module = {} AND course_block = {} AND tag = {}"
_HISTORY = "SELECT * FROM attempts WHERE user_id = {} ORDER BY created_at DESC, id DESC LIMIT 50"
_DUE = (
    "SELECT * FROM spaced_repetition_items WHERE user_id = {} AND next_review_at <= {} "
    "ORDER BY next_review_at, id LIMIT 50"
)
_UPSERT = (
    "INSERT INTO progress_by_tag AS item (user_id, module, course_block, tag, correct_count, last_attempt_at) "
    "VALUES ({}, {}, {}, {}, 1, {}) ON CONFLICT (user_id, module, course_block, tag) DO UPDATE SET "
    "correct_count = item.correct_count + 1, last_attempt_at = excluded.last_attempt_at"
)


def _marked(statement: str, mark: str) -> str:
    return statement.replace("{}", mark)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


_AT_TEXT = AT.isoformat(timespec="milliseconds")


class RawSQLite:
    name = "raw `sqlite3`"
    user_sql, progress_sql, history_sql, due_sql, upsert_sql = (
        _marked(statement, "?") for statement in (_USER, _PROGRESS, _HISTORY, _DUE, _UPSERT)
    )

    def __init__(self, url: str) -> None:
        self.url = url

    def read(self, stack: ExitStack) -> None:
        self.connection = stack.enter_context(closing(ground.sqlite(self.url)))
        self.connection.execute("BEGIN")

    def user(self) -> Any:
        row = self.connection.execute(self.user_sql, (EMAIL,)).fetchone()
        return (*row[:3], _time(row[3]))

    def progress(self) -> Any:
        row = self.connection.execute(self.progress_sql, (1, *TAG)).fetchone()
        return (*row[:7], _time(row[7]))

    def history(self) -> Any:
        found = self.connection.execute(self.history_sql, (1,)).fetchall()
        # A missing document is not decoded.
        return [(*r[:4], json.loads(r[4]), r[5], r[6] and json.loads(r[6]), _time(r[7])) for r in found]

    def due(self) -> Any:
        found = self.connection.execute(self.due_sql, (1, _AT_TEXT)).fetchall()
        return [(*r[:6], _time(r[6]), r[7] and _time(r[7])) for r in found]

    def write(self, stack: ExitStack) -> Callable[[], object]:
        connection = stack.enter_context(closing(ground.sqlite(self.url)))

        def upsert() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(self.upsert_sql, (1, *TAG, _AT_TEXT))
            connection.execute("COMMIT")

        return upsert


class RawPostgreSQL:
    """Reuses its cursors. Documents are read faster as text, everything else in binary form."""

    name = "raw `psycopg`"
    user_sql, progress_sql, history_sql, due_sql, upsert_sql = (
        _marked(statement, "%s").encode() for statement in (_USER, _PROGRESS, _HISTORY, _DUE, _UPSERT)
    )

    def __init__(self, url: str) -> None:
        self.url = url

    def read(self, stack: ExitStack) -> None:
        connection = stack.enter_context(closing(ground.postgresql(self.url, autocommit=False)))
        self.text, self.binary = connection.cursor(), connection.cursor(binary=True)

    def user(self) -> Any:
        return self.binary.execute(self.user_sql, (EMAIL,)).fetchone()

    def progress(self) -> Any:
        return self.binary.execute(self.progress_sql, (1, *TAG)).fetchone()

    def history(self) -> Any:
        return self.text.execute(self.history_sql, (1,)).fetchall()

    def due(self) -> Any:
        return self.binary.execute(self.due_sql, (1, AT)).fetchall()

    def write(self, stack: ExitStack) -> Callable[[], object]:
        # A single statement is a transaction of its own: one round trip to the server in place of three.
        cursor = stack.enter_context(closing(ground.postgresql(self.url))).cursor()
        return lambda: cursor.execute(self.upsert_sql, (1, *TAG, AT))


class Django:
    name = "Django"

    def __init__(self, url: str) -> None:
        self.url = url
        self.models = django_baseline.models()

    def _connect(self, stack: ExitStack, *, write: bool) -> str:
        stack.callback(django_baseline.close)
        return django_baseline.connect(self.url, write=write)

    def read(self, stack: ExitStack) -> None:
        from django.db import transaction

        alias = self._connect(stack, write=False)
        stack.enter_context(transaction.atomic(alias))
        self.users, self.attempts, self.progresses, self.items = (
            model.objects.using(alias)
            for model in (self.models.User, self.models.Attempt, self.models.Progress, self.models.Item)
        )

    def user(self) -> Any:
        return self.users.get(email=EMAIL)

    def progress(self) -> Any:
        return self.progresses.get(user_id=1, module=TAG.module, course_block=TAG.course_block, tag=TAG.tag)

    def history(self) -> Any:
        return list(self.attempts.filter(user_id=1).order_by("-created_at", "-id")[:50])

    def due(self) -> Any:
        return list(self.items.filter(user_id=1, next_review_at__lte=AT).order_by("next_review_at", "id")[:50])

    def write(self, stack: ExitStack) -> Callable[[], object]:
        from django.db.models import F

        progresses = self.models.Progress.objects.using(self._connect(stack, write=True))

        def upsert() -> None:
            progresses.update_or_create(
                user_id=1,
                module=TAG.module,
                course_block=TAG.course_block,
                tag=TAG.tag,
                defaults={"correct_count": F("correct_count") + 1, "last_attempt_at": AT},
                create_defaults={"correct_count": 1, "last_attempt_at": AT},
            )

        return upsert


class SqliteUtils:
    """Returns rows as dictionaries of raw values, so documents and times are decoded here."""

    name = "sqlite-utils"
    key = "user_id = ? and module = ? and course_block = ? and tag = ?"

    def __init__(self, url: str) -> None:
        self.url = url

    def _open(self, stack: ExitStack, isolation_level: str | None) -> Any:
        from sqlite_utils import Database

        return Database(stack.enter_context(closing(ground.sqlite(self.url, isolation_level))))

    def read(self, stack: ExitStack) -> None:
        self.db = self._open(stack, None)
        self.db.conn.execute("BEGIN")

    def user(self) -> Any:
        (row,) = self.db["users"].rows_where("email = ?", [EMAIL], select="id, email, role, created_at")
        return row | {"created_at": _time(row["created_at"])}

    def progress(self) -> Any:
        (row,) = self.db["progress_by_tag"].rows_where(self.key, [1, *TAG])
        return row | {"last_attempt_at": _time(row["last_attempt_at"])}

    def history(self) -> Any:
        found = self.db["attempts"].rows_where("user_id = ?", [1], order_by="created_at desc, id desc", limit=50)
        return [
            row
            | {
                "answers": json.loads(row["answers"]),
                "feedback": row["feedback"] and json.loads(row["feedback"]),
                "created_at": _time(row["created_at"]),
            }
            for row in found
        ]

    def due(self) -> Any:
        found = self.db["spaced_repetition_items"].rows_where(
            "user_id = ? and next_review_at <= ?", [1, _AT_TEXT], order_by="next_review_at, id", limit=50
        )
        return [
            row
            | {
                "next_review_at": _time(row["next_review_at"]),
                "last_reviewed_at": row["last_reviewed_at"] and _time(row["last_reviewed_at"]),
            }
            for row in found
        ]

    def write(self, stack: ExitStack) -> Callable[[], object]:
        db = self._open(stack, "IMMEDIATE")
        table = db["progress_by_tag"]

        def upsert() -> None:
            # It can't increment in the database, so it reads first, in the same transaction to lose no answer.
            db.conn.execute("BEGIN IMMEDIATE")
            ((id_, count),) = [(r["id"], r["correct_count"]) for r in table.rows_where(self.key, [1, *TAG])]
            values = {**TAG._asdict(), "user_id": 1, "correct_count": count + 1, "last_attempt_at": _AT_TEXT}
            table.upsert({"id": id_, **values}, pk="id")
            db.conn.execute("COMMIT")

        return upsert


def clients(url: str) -> Iterator[Client]:
    """The clients to compare: pharmdb comes first."""
    yield Ours(url)
    if url.startswith("sqlite"):
        yield RawSQLite(url)
        yield Django(url)
        yield SqliteUtils(url)
    else:
        yield RawPostgreSQL(url)
        yield Django(url)
