"""What the application writes most: one attempt with all that follows from it; and what it deletes: a user.

Every count is raised in the database itself, by an upsert: two processes that record at once lose nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Double, Integer, TextClause, bindparam, delete, insert, text

from pharmdb.database.targets import Target
from pharmdb.database.transactions import keeping
from pharmdb.learning.plain import Prepared
from pharmdb.learning.queries import CORRECT_FROM
from pharmdb.models import Attempt, User
from pharmdb.types import UTCDateTime

if TYPE_CHECKING:
    import pandas as pd

# SM-2 (P. A. Woźniak, Optimization of learning, 1990): an item starts at this ease factor, and none falls below 1.3.
FIRST_EASE = 2.5
LEAST_EASE = 1.3
# The intervals after the first and the second good answer in a row, in days.
FIRST_INTERVAL, SECOND_INTERVAL = 1, 6
LONGEST_INTERVAL = 36_500


class Tag(NamedTuple):
    """What an attempt counts for: one row of progress_by_tag."""

    module: str
    course_block: str
    tag: str


class Recorded(NamedTuple):
    """What was written: the attempt's id, and the review item as it is now."""

    attempt_id: int
    ease_factor: float
    interval_days: int
    next_review_at: datetime

    def frame(self) -> pd.DataFrame:
        """One row: attempt_id, interval_days (int64), ease_factor (float64), next_review_at (datetime64[us, UTC])."""
        import pandas as pd

        data = pd.DataFrame([self._asdict()])
        return data.astype({"next_review_at": "datetime64[us, UTC]"})


def quality(score: float) -> int:
    """SM-2's grade of an answer, 0 to 5, from a score of 0 to 100: a correct answer is 3, 4 or 5."""
    if score >= CORRECT_FROM:
        return 3 + round((score - CORRECT_FROM) / (100 - CORRECT_FROM) * 2)
    return math.floor(score / CORRECT_FROM * 3)


def ease_change(grade: int) -> float:
    """SM-2: EF' = EF + (0.1 - (5 - q) * (0.08 + (5 - q) * 0.02)); a grade below 3 leaves the ease factor as it is."""
    if grade < 3:
        return 0.0
    return 0.1 - (5 - grade) * (0.08 + (5 - grade) * 0.02)


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
    """Records one attempt, the progress of its tags and its review item, inside the caller's write transaction.

    `at` is an aware time (default: now). An answer counts as correct from a score of 50 on. The review item follows
    SM-2; nothing is read first, so any number of processes may record at once.

    Raises sqlalchemy.exc.IntegrityError for what a rule of the schema refuses, StatementError for a time without its
    zone.
    """
    at = at or datetime.now(UTC)
    attempt = {"user_id": user_id, "entity_type": entity_type, "entity_id": entity_id}
    row = attempt | {"answers": answers, "score": score, "feedback": feedback, "created_at": at}
    attempt_id = connection.execute(_ATTEMPT, row).scalar_one()
    # In one order for everybody, so that two transactions never wait for each other.
    for tag in sorted(set(tags)):
        count_progress(connection, user_id, tag, correct=score >= CORRECT_FROM, at=at)
    grade = quality(score)
    review = {"first_ease": max(LEAST_EASE, FIRST_EASE + ease_change(grade)), "at": at, "change": ease_change(grade)}
    tomorrow = {"tomorrow": at + timedelta(days=FIRST_INTERVAL), "good": grade >= 3}
    now = connection.execute(_REVIEW[connection.dialect.name], attempt | review | tomorrow).one()
    return Recorded(attempt_id, *now)


def count_progress(connection: Connection, user_id: int, tag: Tag, *, correct: bool, at: datetime) -> None:
    """Adds one answer to a progress row, which is made if it isn't there; last_attempt_at never goes back.

    Raises sqlalchemy.exc.IntegrityError for what a rule of the schema refuses, ValueError for a time without its zone.
    """
    _PROGRESS[connection.dialect.name].write(connection, **_counts(user_id, tag, correct=correct, at=at))


def _counts(user_id: int, tag: Tag, *, correct: bool, at: datetime) -> dict[str, Any]:
    module, course_block, name = tag
    key = {"user_id": user_id, "module": module, "course_block": course_block, "tag": name}
    return key | {"correct": int(correct), "wrong": int(not correct), "at": at}


@contextmanager
def counting(target: Target) -> Iterator[Callable[..., None]]:
    """Gives `count(user_id, tag, correct=…, at=…)`: each is a `count_progress` in a transaction of its own.

    All go over one connection, and a server is asked once for each, which `record_attempt` in a transaction of the
    caller's can't do. `count` raises what `count_progress` does, and LockedError or UnavailableError; what was counted
    before stays.
    """
    with keeping(target, autocommit=True) as statement:

        def count(user_id: int, tag: Tag, *, correct: bool, at: datetime) -> None:
            with statement() as connection:
                upsert = _PROGRESS[connection.dialect.name]
                upsert.write_alone(connection, **_counts(user_id, tag, correct=correct, at=at))

        yield count


def delete_user(connection: Connection, user_id: int) -> bool:
    """Deletes a user with all that is theirs, inside the caller's write transaction; False where there is none.

    The database's own cascade does it: no row is loaded.
    """
    return bool(connection.execute(delete(User).where(User.id == user_id)).rowcount)


_ATTEMPT = insert(Attempt).returning(Attempt.id)


def _statement(sql: str, dialect: str) -> TextClause:
    """The SQL with what the two databases call differently, built once: building takes longer than running."""
    sqlite = dialect == "sqlite"
    least, greatest = ("min", "max") if sqlite else ("least", "greatest")
    change = "CAST(:change AS DOUBLE PRECISION)" if not sqlite else ":change"
    ease = f"{greatest}({LEAST_EASE}, item.ease_factor + {change})"
    product = f"item.interval_days * {ease}"
    up = f"CAST({product} AS INTEGER) + ({product} > CAST({product} AS INTEGER))" if sqlite else f"ceil({product})"
    interval = (
        f"CASE WHEN NOT {':good' if sqlite else 'CAST(:good AS BOOLEAN)'} THEN {FIRST_INTERVAL} "
        f"WHEN item.interval_days < {SECOND_INTERVAL} THEN {SECOND_INTERVAL} "
        f"ELSE CAST({least}({LONGEST_INTERVAL}, {up}) AS INTEGER) END"
    )
    last = f"{greatest}(item.last_reviewed_at, excluded.last_reviewed_at)"
    # A review that was never: its time is empty, and the later of empty and a time is empty on SQLite.
    last = f"coalesce({last}, excluded.last_reviewed_at)"
    due = (
        f"date({last}, '+' || ({interval}) || ' days') || substr({last}, 11)"
        if sqlite
        else f"{last} + make_interval(hours => 24 * ({interval}))"
    )
    words = {"greatest": greatest, "ease": ease, "interval": interval, "last": last, "due": due}
    times = [bindparam(name, type_=UTCDateTime()) for name in ("at", "tomorrow") if f":{name}" in sql]
    return text(sql.format(**words)).bindparams(*times)


_DIALECTS = ("sqlite", "postgresql")
_PROGRESS_SQL = """
    INSERT INTO progress_by_tag AS item
           (user_id, module, course_block, tag, correct_count, wrong_count, last_attempt_at)
    VALUES (:user_id, :module, :course_block, :tag, :correct, :wrong, :at)
        ON CONFLICT (user_id, module, course_block, tag) DO UPDATE
       SET correct_count = item.correct_count + excluded.correct_count,
           wrong_count = item.wrong_count + excluded.wrong_count,
           last_attempt_at = {greatest}(item.last_attempt_at, excluded.last_attempt_at)
"""
_PROGRESS = {dialect: Prepared(_statement(_PROGRESS_SQL, dialect)) for dialect in _DIALECTS}
# The row that is there decides, as it is when the upsert has its lock; what is inserted is a first answer's outcome.
_REVIEW_SQL = """
    INSERT INTO spaced_repetition_items AS item
           (user_id, entity_type, entity_id, ease_factor, interval_days, next_review_at, last_reviewed_at)
    VALUES (:user_id, :entity_type, :entity_id, :first_ease, 1, :tomorrow, :at)
        ON CONFLICT (user_id, entity_type, entity_id) DO UPDATE
       SET ease_factor = {ease}, interval_days = {interval}, last_reviewed_at = {last}, next_review_at = {due}
    RETURNING ease_factor, interval_days, next_review_at
"""
_REVIEW = {
    dialect: _statement(_REVIEW_SQL, dialect).columns(
        ease_factor=Double(), interval_days=Integer(), next_review_at=UTCDateTime()
    )
    for dialect in _DIALECTS
}
