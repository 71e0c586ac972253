"""How much work a command makes the database do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from support import raw

LARGE_TABLES = ("attempts", "progress_by_tag", "spaced_repetition_items")


MULTIPLY = (
    "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score, feedback, created_at) "
    "SELECT user_id, entity_type, entity_id, answers, score, feedback, created_at FROM attempts; "
    "INSERT INTO progress_by_tag (user_id, module, course_block, tag) "
    "SELECT user_id, module, course_block, tag || '{0}' FROM progress_by_tag; "
    "INSERT INTO spaced_repetition_items "
    "(user_id, entity_type, entity_id, ease_factor, interval_days, next_review_at, last_reviewed_at) "
    "SELECT user_id, entity_type, entity_id || '{0}', ease_factor, interval_days, next_review_at, last_reviewed_at "
    "FROM spaced_repetition_items"
)


@contextmanager
def counted(url: str) -> Iterator[Counter[str]]:
    """What the verbs' connections do meanwhile: SQLite's steps, or the rows and entries that PostgreSQL reads."""
    done: Counter[str] = Counter()

    def connect(connection: Any, record: Any) -> None:
        if url.startswith("sqlite"):
            connection.set_progress_handler(lambda: done.update(work=100), 100)

    def rollback(connection: Any) -> None:
        if not url.startswith("sqlite"):
            cursor = connection.connection.cursor()
            cursor.execute(
                "SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(oid)), 0) FROM pg_class "
                "WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
            )
            done["work"] += int(cursor.fetchone()[0])

    event.listen(Engine, "connect", connect)
    event.listen(Engine, "rollback", rollback)
    try:
        yield done
    finally:
        event.remove(Engine, "connect", connect)
        event.remove(Engine, "rollback", rollback)


def work(url: str, verb: Callable[[], object]) -> int:
    with counted(url) as done:
        verb()
    return done["work"]


def double(url: str, times: int, mark: str) -> None:
    """The same users have twice as many rows, so many times."""
    for n in range(times):
        raw.run(url, MULTIPLY.format(f"{mark}{n}"))
    raw.run(url, "ANALYZE")


SCAN = re.compile(rf"SCAN ({'|'.join(LARGE_TABLES)})\b")


def executed(verb: Callable[[], object]) -> list[tuple[str, Any]]:
    """The statements of a verb with their parameters, as the driver gets them."""
    found = []

    def execute(connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool) -> None:
        found.append((" ".join(sql.split()), parameters))

    event.listen(Engine, "before_cursor_execute", execute)
    try:
        verb()
    finally:
        event.remove(Engine, "before_cursor_execute", execute)
    return found


def plans(url: str, statements: list[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    with raw.session(url) as session:
        for sql, parameters in statements:
            if sql.startswith(("SELECT", "WITH")):
                steps = session.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
                yield sql, "\n".join(str(step[-1]) for step in steps)
