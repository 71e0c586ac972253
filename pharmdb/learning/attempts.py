"""The application's most frequent write, an attempt with its progress and review item; and deleting a user.

Counts are incremented in the database itself, by upserts, so concurrent writers lose no update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Connection,
    Double,
    Integer,
    TextClause,
    TextualSelect,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
)

from pharmdb.database.targets import Target
from pharmdb.database.transactions import keeping
from pharmdb.learning import sm2
from pharmdb.learning.prepared import Prepared
from pharmdb.models import Attempt, User
from pharmdb.types import UTCDateTime

if TYPE_CHECKING:
    import pandas as pd


class Tag(NamedTuple):
    """The key of one progress row (progress_by_tag) that an attempt counts for."""

    module: str
    course_block: str
    tag: str


class Recorded(NamedTuple):
    """The attempt's id, and the review item after the attempt."""

    attempt_id: int
    ease_factor: float
    interval_days: int
    next_review_at: datetime

    def frame(self) -> pd.DataFrame:
        """One row: attempt_id, interval_days (int64), ease_factor (float64), next_review_at (datetime64[us, UTC])."""
        import pandas as pd

        data = pd.DataFrame([self._asdict()])
        return data.astype({"next_review_at": "datetime64[us, UTC]"})


def record_attempt(
    connection: Connection,
    user_id: int,
    entity_type: str,
    entity_id: str,
    *,
    answers: Any,
    score: float,
    feedback: Any = None,
    tags: Sequence[Tag] = (),
    at: datetime | None = None,
) -> Recorded:
    """Records one attempt, the progress of its tags and its review item in the caller's write transaction.

    `at` is a timezone-aware time (default: now). An answer is correct if its score is 50 or more. The review item
    follows SM-2 (`sm2.review`), with answers in the order in which they are recorded. Any number of processes may
    record at once: the review item is updated from the locked row. Only whether the last attempt at the same entity was
    correct is read earlier. So two concurrent transactions for the same user and entity, without a common tag, may not
    see each other's attempt; the item is then as if one of them had come alone or first.

    Raises sqlalchemy.exc.IntegrityError if a constraint is violated, StatementError for a time without a time zone.
    """
    at = at or datetime.now(UTC)
    entity = {"user_id": user_id, "entity_type": entity_type, "entity_id": entity_id}
    row = entity | {"answers": answers, "score": score, "feedback": feedback, "created_at": at}
    attempt_id = connection.execute(_ATTEMPT, row).scalar_one()
    # Sorted, so that two transactions never deadlock.
    for tag in sorted(set(tags)):
        count_progress(connection, user_id, tag, correct=score >= sm2.CORRECT_FROM, at=at)
    # Read after the tags: another transaction with a common tag has committed by now, so its attempt is visible.
    last = _LAST.rows(connection, entity | {"attempt_id": attempt_id}, limit=1)
    last_was_good = last[0].score >= sm2.CORRECT_FROM if last else None
    grade = sm2.grade(score)
    start = sm2.NEW._replace(repetitions=sm2.repetitions(sm2.NEW.interval, last_was_good))
    first = sm2.review(start, grade)
    new = {"ease": first.ease / 100, "interval": first.interval, "due": at + timedelta(days=first.interval), "at": at}
    now = connection.execute(_review(connection.dialect.name, grade, last_was_good), entity | new).one()
    return Recorded(attempt_id, *now)


def count_progress(connection: Connection, user_id: int, tag: Tag, *, correct: bool, at: datetime) -> None:
    """Adds one answer to a progress row, which is created if it doesn't exist; last_attempt_at never goes back.

    Raises sqlalchemy.exc.IntegrityError if a constraint is violated, ValueError for a time without a time zone.
    """
    _PROGRESS[connection.dialect.name].write(connection, **_counts(user_id, tag, correct=correct, at=at))


def _counts(user_id: int, tag: Tag, *, correct: bool, at: datetime) -> dict[str, Any]:
    module, course_block, name = tag
    key = {"user_id": user_id, "module": module, "course_block": course_block, "tag": name}
    return key | {"correct": int(correct), "wrong": int(not correct), "at": at}


@contextmanager
def counting(target: Target) -> Iterator[Callable[..., None]]:
    """Yields `count(user_id, tag, correct=…, at=…)`, which runs `count_progress` in a transaction of its own.

    All calls share one connection, and each takes a single round trip to the server, which is not possible inside a
    caller's transaction. `count` raises what `count_progress` does, and LockedError or UnavailableError; what was
    counted before is kept.
    """
    with keeping(target, autocommit=True) as statement:

        def count(user_id: int, tag: Tag, *, correct: bool, at: datetime) -> None:
            with statement() as connection:
                upsert = _PROGRESS[connection.dialect.name]
                upsert.write_alone(connection, **_counts(user_id, tag, correct=correct, at=at))

        yield count


def delete_user(connection: Connection, user_id: int) -> bool:
    """Deletes a user with all their rows, in the caller's write transaction; returns False if there is no such user.

    The database's ON DELETE CASCADE does the work: no rows are loaded.
    """
    return bool(connection.execute(delete(User).where(User.id == user_id)).rowcount)


_ATTEMPT = insert(Attempt).returning(Attempt.id)
# The last attempt at the same entity, apart from the one being recorded.
LAST_ATTEMPT = (
    select(Attempt.score)
    .where(
        *(Attempt.__table__.c[name] == bindparam(name) for name in ("user_id", "entity_type", "entity_id")),
        Attempt.id != bindparam("attempt_id"),
    )
    # An expression, so that PostgreSQL sorts the few rows that the index finds, and never scans all attempts by id.
    .order_by((Attempt.id + literal_column("0")).desc())
)
_LAST = Prepared(LAST_ATTEMPT)
_DIALECTS = ("sqlite", "postgresql")


def _functions(dialect: str) -> dict[str, str]:
    """The dialect's names of the functions for the smaller and the larger of two values."""
    least, greatest = ("min", "max") if dialect == "sqlite" else ("least", "greatest")
    return {"least": least, "greatest": greatest}


def _progress(dialect: str) -> TextClause:
    sql = """
    INSERT INTO progress_by_tag AS item
           (user_id, module, course_block, tag, correct_count, wrong_count, last_attempt_at)
    VALUES (:user_id, :module, :course_block, :tag, :correct, :wrong, :at)
        ON CONFLICT (user_id, module, course_block, tag) DO UPDATE
       SET correct_count = item.correct_count + excluded.correct_count,
           wrong_count = item.wrong_count + excluded.wrong_count,
           last_attempt_at = {greatest}(item.last_attempt_at, excluded.last_attempt_at)
    """.format(**_functions(dialect))
    return text(sql).bindparams(bindparam("at", type_=UTCDateTime()))


@cache
def _review(dialect: str, grade: int, last_was_good: bool | None) -> TextualSelect:
    """The upsert of a review item: it updates the locked row, or inserts the outcome of a first review."""
    functions = _functions(dialect)
    reviewed = _reviewed(grade, last_was_good, **functions)
    last = "{greatest}(item.last_reviewed_at, excluded.last_reviewed_at)".format(**functions)
    # An item that was never reviewed has no time, and SQLite's max() of NULL and a time is NULL.
    last = f"coalesce({last}, excluded.last_reviewed_at)"
    due = (
        f"date({last}, '+' || ({reviewed.interval}) || ' days') || substr({last}, 11)"
        if dialect == "sqlite"
        # Only without a time zone is the sum independent of the session, as Citus requires here.
        else f"(({last}) AT TIME ZONE 'UTC' + make_interval(hours => 24 * ({reviewed.interval}))) AT TIME ZONE 'UTC'"
    )
    sql = f"""
    INSERT INTO spaced_repetition_items AS item
           (user_id, entity_type, entity_id, ease_factor, interval_days, next_review_at, last_reviewed_at)
    VALUES (:user_id, :entity_type, :entity_id, :ease, :interval, :due, :at)
        ON CONFLICT (user_id, entity_type, entity_id) DO UPDATE
       SET ease_factor = {reviewed.ease} / 100.0, interval_days = {reviewed.interval},
           last_reviewed_at = {last}, next_review_at = {due}
    RETURNING ease_factor, interval_days, next_review_at
    """
    times = [bindparam(name, type_=UTCDateTime()) for name in ("at", "due")]
    statement = text(sql).bindparams(*times)
    return statement.columns(ease_factor=Double(), interval_days=Integer(), next_review_at=UTCDateTime())


def _reviewed(grade: int, last_was_good: bool | None, least: str, greatest: str) -> sm2.Item:
    """`sm2.review` of the row `item` as SQL; conditions that depend only on the grade are evaluated here."""

    def function(name: str) -> Callable[[Any, Any], Any]:
        return lambda one, other: getattr(func, name)(one, other, type_=Integer())

    def where(condition: Any, then: Any, otherwise: Any) -> Any:
        if isinstance(condition, bool):
            return then if condition else otherwise
        return case((condition, then), else_=otherwise)

    by = sm2.Arithmetic(where, function(least), function(greatest))
    interval: Any = literal_column("item.interval_days", Integer)
    # Another program may have written any ease factor, so it is bounded before the conversion to an integer.
    bounded = f"{least}(item.ease_factor, {sm2.MOST_EASE / 100})"
    ease: Any = literal_column(f"CAST(round({bounded} * 100) AS INTEGER)", Integer)
    item = sm2.review(sm2.Item(ease, interval, sm2.repetitions(interval, last_was_good, by)), grade, by)
    return sm2.Item(*map(_written, item))


def _written(part: Any) -> str:
    """A number or an SQL expression as text, with its values inlined."""
    return str(part if isinstance(part, int) else part.compile(compile_kwargs={"literal_binds": True}))


_PROGRESS = {dialect: Prepared(_progress(dialect)) for dialect in _DIALECTS}
