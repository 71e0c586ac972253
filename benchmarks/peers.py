"""The application's hot queries beside Django's ORM on the same tables and beside the raw driver; frames beside pandas.

SQLite, WAL, synchronous FULL for all of them. Django reads the same file through its own models and idioms.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa

import pharmdb
from benchmarks.timing import Result, alternate
from pharmdb import bulk, database, frames, plain, recording
from pharmdb.recording import Tag

CALLS = 300
ROUNDS = 7
BULK = 100_000
# With a microsecond: Django leaves out what is zero, and the schema takes one form of time only.
AT = datetime(2026, 12, 1, 0, 0, 0, 1, tzinfo=UTC)
TAG = Tag("questions", "cardiology", "arrhythmias")


def _django(path: Path) -> Any:
    """Django's models of our tables, as its own documentation maps a database that is there."""
    import django
    from django.conf import settings

    options = {"init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL", "transaction_mode": "IMMEDIATE"}
    engine = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
    settings.configure(DATABASES={"default": engine}, USE_TZ=True, INSTALLED_APPS=[])
    django.setup()
    from django.db import models

    class User(models.Model):  # type: ignore[misc]
        email = models.TextField(unique=True)
        password_hash = models.TextField()
        role = models.TextField()
        created_at = models.DateTimeField()

        class Meta:
            app_label, db_table, managed = "trainer", "users", False

    class Attempt(models.Model):  # type: ignore[misc]
        user = models.ForeignKey(User, models.CASCADE)
        entity_type = models.TextField()
        entity_id = models.TextField()
        answers = models.JSONField()
        score = models.FloatField()
        feedback = models.JSONField(null=True)
        created_at = models.DateTimeField()

        class Meta:
            app_label, db_table, managed = "trainer", "attempts", False

    class Progress(models.Model):  # type: ignore[misc]
        user = models.ForeignKey(User, models.CASCADE)
        module = models.TextField()
        course_block = models.TextField()
        tag = models.TextField()
        correct_count = models.IntegerField(default=0)
        wrong_count = models.IntegerField(default=0)
        last_attempt_at = models.DateTimeField()

        class Meta:
            app_label, db_table, managed = "trainer", "progress_by_tag", False

    class Item(models.Model):  # type: ignore[misc]
        user = models.ForeignKey(User, models.CASCADE)
        entity_type = models.TextField()
        entity_id = models.TextField()
        ease_factor = models.FloatField()
        interval_days = models.IntegerField()
        next_review_at = models.DateTimeField()
        last_reviewed_at = models.DateTimeField(null=True)

        class Meta:
            app_label, db_table, managed = "trainer", "spaced_repetition_items", False

    return User, Attempt, Progress, Item


def _each(*works: Callable[[], object]) -> list[list[float]]:
    """Seconds a call of each work, over CALLS calls in a row, the works by turns."""

    def many(work: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            for _ in range(CALLS):
                work()

        return run

    return [[seconds / CALLS for seconds in found] for found in alternate(ROUNDS, *map(many, works))]


def _line(work: str, ours: list[float], peer: str, theirs: list[float], target: float) -> str:
    ratio = statistics.median(ours) / statistics.median(theirs)
    met = "met" if ratio <= target else "**not met**"
    shown = [f"{statistics.median(found) * 1e6:.0f} µs" for found in (ours, theirs)]
    return f"| {work} | {shown[0]} | {peer} | {shown[1]} | {ratio:.2f} | ≤ {target} | {met} |"


def _documents(rows: list[Any]) -> list[Any]:
    """A raw row of attempts with its documents and its time decoded."""
    return [
        (*r[:4], json.loads(r[4]), r[5], json.loads(r[6]), datetime.fromisoformat(r[7]).replace(tzinfo=UTC))
        for r in rows
    ]


def _times(rows: list[Any]) -> list[Any]:
    return [(*r[:6], *(t and datetime.fromisoformat(t).replace(tzinfo=UTC) for t in r[6:])) for r in rows]


def queries(path: Path) -> list[str]:
    """The four documented queries and the upsert."""
    user, attempt, progress, item = _django(path)
    email = "demo@pharmtrainer.test"
    lines = []
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous = FULL")
    history = "SELECT * FROM attempts WHERE user_id = ? ORDER BY created_at DESC, id DESC LIMIT 50"
    items = "SELECT * FROM spaced_repetition_items WHERE user_id = ? AND next_review_at <= ?"
    due = f"{items} ORDER BY next_review_at, id LIMIT 50"
    key = "SELECT * FROM progress_by_tag WHERE user_id = ? AND module = ? AND course_block = ? AND tag = ?"
    target = database.target(f"sqlite:///{path}")
    with closing(raw), database.reading(target) as connection:
        works: list[tuple[str, Callable[[], Any], Callable[[], Any], float, Callable[[], Any], float]] = [
            (
                "user by e-mail",
                lambda: plain.user_by_email(connection, email),
                lambda: user.objects.get(email=email),
                0.5,
                lambda: raw.execute(
                    "SELECT id, email, role, created_at FROM users WHERE email = ?", (email,)
                ).fetchone(),
                8,
            ),
            (
                "progress by key",
                lambda: plain.progress_by_key(connection, 1, *TAG),
                lambda: progress.objects.get(user_id=1, **TAG._asdict()),
                0.5,
                lambda: raw.execute(key, (1, *TAG)).fetchone(),
                8,
            ),
            (
                "history, newest 50",
                lambda: plain.attempt_history(connection, 1),
                lambda: list(attempt.objects.filter(user_id=1).order_by("-created_at", "-id")[:50]),
                0.4,
                lambda: _documents(raw.execute(history, (1,)).fetchall()),
                2,
            ),
            (
                "due reviews, 50",
                lambda: plain.due_reviews(connection, 1, AT),
                lambda: list(
                    item.objects.filter(user_id=1, next_review_at__lte=AT).order_by("next_review_at", "id")[:50]
                ),
                0.4,
                lambda: _times(raw.execute(due, (1, str(AT.replace(tzinfo=None)))).fetchall()),
                2,
            ),
        ]
        for name, ours, django, of_django, driver, of_driver in works:
            found = _each(ours, django, driver)
            lines.append(_line(name, found[0], "Django", found[1], of_django))
            lines.append(_line(name, found[0], "raw `sqlite3`", found[2], of_driver))
    return [*lines, _upserts(target, progress)]


def _upserts(target: database.Target, progress: Any) -> str:
    from django.db import connection as django_connection
    from django.db.models import F

    with database.keeping(target) as transaction:

        def ours() -> None:
            with transaction() as connection:
                recording.count_progress(connection, 1, TAG, correct=True, at=AT)

        found = _each(
            ours,
            lambda: progress.objects.update_or_create(
                user_id=1, **TAG._asdict(), defaults={"correct_count": F("correct_count") + 1, "last_attempt_at": AT}
            ),
        )
    django_connection.close()
    return _line("progress upsert, a transaction each", found[0], "Django `update_or_create`", found[1], 0.25)


def inserts(path: Path) -> list[str]:
    """Rows of attempts with both indexes in place, ready to be written."""
    from django.apps import apps

    attempt = next(model for model in apps.all_models["trainer"].values() if model._meta.db_table == "attempts")
    answers = [json.dumps({"choice": ["a"], "n": n}) for n in range(BULK)]
    time_ = "2026-06-01 08:00:00.000000"
    rows = [(1 + n % 2, "question", f"q{n % 400}", answers[n], float(n % 101), None, time_) for n in range(BULK)]
    columns = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
    target = database.target(f"sqlite:///{path}")
    made = [attempt(**dict(zip(columns, (*row[:3], json.loads(row[3]), *row[4:6], AT), strict=True))) for row in rows]

    def ours() -> None:
        with database.writing(target) as connection:
            bulk.insert(connection, "attempts", columns, rows)

    def raw() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(f"INSERT INTO attempts ({', '.join(columns)}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

    def django() -> None:
        for row in made:
            row.pk = None
        attempt.objects.bulk_create(made, batch_size=5000)

    found = alternate(2, ours, raw, django)
    return [
        str(Result("bulk insert of 100 k attempts", found[0], "raw `executemany`", found[1], 1.25)),
        str(Result("bulk insert of 100 k attempts", found[0], "Django `bulk_create`", found[2], 0.2)),
    ]


def whole_frames(url: str, name: str, target: float) -> str:
    """All attempts with all columns."""
    engine = sa.create_engine(url)

    def read_sql() -> object:
        with engine.connect() as connection:
            return pd.read_sql(sa.text("SELECT * FROM attempts"), connection)

    def ours() -> object:
        with pharmdb.reading(pharmdb.target(url)) as connection:
            return frames.attempts_frame(connection)

    found = alternate(2, ours, read_sql)
    engine.dispose()
    return str(Result(f"frame of all attempts, {name}", found[0], "`pandas.read_sql`", found[1], target))


def main(folder: Path, postgresql: str) -> list[str]:
    """The lines of the table; `large.db` of the copies' benchmark and `postgresql` hold a million attempts each."""
    path = folder / "large.db"
    url = f"sqlite:///{path}"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000) "
            "INSERT INTO spaced_repetition_items "
            "(user_id, entity_type, entity_id, ease_factor, interval_days, next_review_at, last_reviewed_at) "
            "SELECT 1, 'drug', 'd' || n, 2.5, 6, strftime('%Y-%m-%d %H:%M:%f000', 1780000000 + n, 'unixepoch'), "
            "strftime('%Y-%m-%d %H:%M:%f000', 1770000000 + n, 'unixepoch') FROM numbers"
        )
        connection.commit()
    lines = [whole_frames(url, "SQLite", 1 / 3), whole_frames(postgresql, "PostgreSQL", 1 / 8)]
    lines += queries(path) + inserts(path)
    return lines
