"""A read-only overview of a database, from one snapshot, as tables and charts."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Integer, Table, cast, func, select

from pharmdb import reports
from pharmdb.arguments import checked
from pharmdb.database import environments, targets, transactions
from pharmdb.errors import ParameterError
from pharmdb.learning import charts, framing, queries, schema_chart, table_sizes
from pharmdb.learning.framing import Statement
from pharmdb.learning.sm2 import CORRECT_FROM
from pharmdb.models import MODELS, Attempt, DatasetOverride, ProgressByTag, SpacedRepetitionItem, User, UserSettings
from pharmdb.schema import fingerprints, revisions

if TYPE_CHECKING:
    import pandas as pd

HISTORY_ROWS = 50
DUE_ROWS = 50
# The most rows of a table that are read to find the newest one.
SCANNED = 200_000


@dataclass(frozen=True)
class Period:
    """The days of the history and the activity: the last ones, or the ones up to the user's newest attempt."""

    since: datetime
    until: datetime
    days: int
    is_past: bool

    def __str__(self) -> str:
        return f"{self.days} days to {self.until:%Y-%m-%d}" if self.is_past else f"last {self.days} days"

    def frame(self) -> pd.DataFrame:
        """One row: since, until (datetime64[us, UTC]), period (str)."""
        words = "ends at the newest attempt, which is older than that" if self.is_past else "ends now"
        return reports.table(
            [(self.since, self.until, f"{self.days} days, {words}")],
            {"since": "datetime64[us, UTC]", "until": "datetime64[us, UTC]", "period": "str"},
        )


@dataclass(frozen=True, eq=False)
class Inspection:
    """The overview. All times are in UTC, rounded down to the second.

    `tables`: table, rows (int64, counted), size_mib (Float64, with indexes; missing if SQLite was built without
    dbstat), size_is ("measured", or "estimated" from the first pages for a large table on SQLite; "" if size_mib is
    missing), newest (the latest time in the table; missing if finding it would mean to read more than 200,000 rows).
    `user`: id, email, role, language, created_at; no rows if there is no such user.
    `progress`: module, course_block, tag, correct, wrong (Int64, answers: an attempt counts once for each of its tags),
    accuracy (Float64, percent), last_attempt_at.
    `period`: since, until, period (str): the `days` days that end now, or at the user's newest attempt if all attempts
    are older than that.
    `history`: the newest 50 attempts of the period: created_at, entity_type, entity_id, score (0 to 100), correct.
    `activity`: day (datetime64), attempts, correct (Int64), accuracy (Float64, percent); days with attempts only.
    `due`: the 50 reviews that are longest overdue now: next_review_at, entity_type, entity_id, ease_factor,
    interval_days.
    `roles`: role, users (Int64). `overrides`: the active ones: name, description, created_by, updated_at.
    `fingerprint`: of the whole content, 64 hex digits; "" if it was not asked for.
    """

    target: str
    user_email: str
    days: int
    tables: pd.DataFrame
    user: pd.DataFrame
    progress: pd.DataFrame
    period: pd.DataFrame
    history: pd.DataFrame
    activity: pd.DataFrame
    due: pd.DataFrame
    roles: pd.DataFrame
    overrides: pd.DataFrame
    entities: list[schema_chart.Entity] = field(repr=False)
    has_attempts: bool
    fingerprint: str
    _period: Period = field(repr=False)
    _next: str = field(repr=False)

    @property
    def schema_picture(self) -> charts.Picture:
        """The database's tables with their columns, keys and foreign keys."""
        return schema_chart.schema(self.entities)

    @property
    def progress_picture(self) -> charts.Picture:
        """The user's correct and wrong answers by tag; an attempt counts once for each of its tags."""
        return charts.progress(self.progress)

    @property
    def activity_picture(self) -> charts.Picture:
        """The user's attempts and accuracy by day of the period."""
        return charts.activity(self.activity, str(self._period))

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, rows (int64, of all tables), user, next; fingerprint, if it was asked for (12 digits).

        Not ok if there is no such user, or if the user has no attempts.
        """
        found = "found" if self.has_attempts else f"{self.user_email} has no attempts"
        if self.user.empty:
            found = f"there is no user {self.user_email}"
        rows = int(self.tables["rows"].sum())
        columns = {"ok": "bool", "changed": "str", "rows": "int64", "user": "str", "next": "str"}
        row: list[Any] = [self.has_attempts, "nothing, read-only", rows, found, self._next]
        if self.fingerprint:
            row.append(self.fingerprint[: reports.SHORT])
            columns["fingerprint"] = "str"
        return reports.table([row], columns)


@checked
def inspect(
    database_url: str = "", *, user_email: str = "demo@pharmtrainer.test", days: int = 90, fingerprint: bool = False
) -> Inspection:
    """Inspects a database through a read-only connection.

    History and activity cover `days` days, which end now, or at the user's newest attempt if that is longer ago.
    With `fingerprint` the content's fingerprint is computed, for which every row is read.

    Raises UnavailableError, RevisionError if the schema isn't at head, ParameterError if `days` is not a whole number
    from 1 to 36,500.
    """
    target = targets.target(database_url)
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 36_500:
        raise ParameterError(
            expected="days as a whole number from 1 to 36500",
            found=f"days={days!r}",
            command=targets.command(target, "pharmdb inspect --days 90"),
        )
    now = datetime.now(UTC)
    with transactions.reading(target) as connection:
        revisions.require_head(connection, target)
        user = _frame(connection, _user(user_email))
        # Without a user, NULL, which no row has as its owner; any number may be somebody's id.
        user_id = int(user["id"].iloc[0]) if len(user) else None
        newest = connection.scalar(select(func.max(Attempt.created_at)).where(Attempt.user_id == user_id))
        period = _period(newest, now, days)
        return Inspection(
            target=str(target),
            user_email=user_email,
            days=days,
            tables=_tables(connection),
            user=user,
            progress=_progress(connection, user_id),
            period=_whole_seconds(period.frame()),
            history=_frame(connection, _history(user_id, period.since)),
            activity=_activity(connection, user_id, period.since),
            due=_frame(connection, _due(user_id, now)),
            roles=_frame(connection, _ROLES),
            overrides=_frame(connection, _OVERRIDES),
            entities=schema_chart.entities(connection),
            has_attempts=newest is not None,
            fingerprint=fingerprints.fingerprint(connection) if fingerprint else "",
            _period=period,
            _next=targets.command(target, _advice(connection, newest is not None)),
        )


def _advice(connection: Connection, has_attempts: bool) -> str:
    """What to do next: look at a user with attempts, if this one has none. On production nobody else is named."""
    if has_attempts:
        return "pharmdb doctor"
    if environments.environment(connection) == "production":
        return "pharmdb account"
    other = connection.scalar(_SOMEBODY_ACTIVE)
    # One word: an e-mail address may begin with a hyphen.
    return f"pharmdb inspect {shlex.quote(f'--user-email={other}')}" if other else "pharmdb cohort --learners 100"


def _period(newest: datetime | None, now: datetime, days: int) -> Period:
    is_past = newest is not None and newest < now - timedelta(days=days)
    until = newest if newest is not None and is_past else now
    # A database holds times from the year 1 on.
    length = min(timedelta(days=days), until - datetime.min.replace(tzinfo=UTC))
    return Period(until - length, until, days, is_past)


def _frame(connection: Connection, statement: Statement) -> pd.DataFrame:
    return _whole_seconds(framing.frame(connection, statement))


def _whole_seconds(data: pd.DataFrame) -> pd.DataFrame:
    """Rounds times down to the second, for readability."""
    times = data.select_dtypes("datetimetz").columns
    return data.assign(**{column: data[column].dt.floor("s") for column in times})


def _accuracy(correct: pd.Series[Any], attempts: pd.Series[Any]) -> pd.Series[Any]:
    """Percent, to one decimal place; missing if there are no attempts."""
    return (100.0 * correct / attempts.where(attempts > 0)).astype("Float64").round(1)


def _user(email: str) -> Statement:
    return (
        queries.user_by_email.statement(email=email)
        .join(UserSettings, UserSettings.user_id == User.id, isouter=True)
        .with_only_columns(User.id, User.email, User.role, UserSettings.language, User.created_at)
    )


def _progress(connection: Connection, user_id: int | None) -> pd.DataFrame:
    statement = select(
        ProgressByTag.module,
        ProgressByTag.course_block,
        ProgressByTag.tag,
        ProgressByTag.correct_count.label("correct"),
        ProgressByTag.wrong_count.label("wrong"),
        ProgressByTag.last_attempt_at,
    ).where(ProgressByTag.user_id == user_id)
    data = _frame(connection, statement).sort_values(["module", "course_block", "tag"], ignore_index=True)
    data.insert(5, "accuracy", _accuracy(data["correct"], data["correct"] + data["wrong"]))
    return data


def _history(user_id: int | None, since: datetime) -> Statement:
    return (
        queries.attempt_history.statement(user_id=user_id, limit=HISTORY_ROWS)
        .where(Attempt.created_at >= since)
        .with_only_columns(
            Attempt.created_at,
            Attempt.entity_type,
            Attempt.entity_id,
            Attempt.score,
            (Attempt.score >= CORRECT_FROM).label("correct"),
        )
    )


def _activity(connection: Connection, user_id: int | None, since: datetime) -> pd.DataFrame:
    # PostgreSQL's date() uses the session's time zone, which is UTC for all our connections.
    day = func.date(Attempt.created_at)
    correct = func.sum(cast(Attempt.score >= CORRECT_FROM, Integer), type_=Integer())
    statement = (
        select(day.label("day"), func.count().label("attempts"), correct.label("correct"))
        .where(Attempt.user_id == user_id, Attempt.created_at >= since)
        .group_by(day)
        .order_by(day)
    )
    data = framing.frame(connection, statement).astype({"day": "datetime64[s]"})
    return data.assign(accuracy=_accuracy(data["correct"], data["attempts"]))


def _due(user_id: int | None, now: datetime) -> Statement:
    return queries.due_reviews.statement(user_id=user_id, at=now, limit=DUE_ROWS).with_only_columns(
        SpacedRepetitionItem.next_review_at,
        SpacedRepetitionItem.entity_type,
        SpacedRepetitionItem.entity_id,
        SpacedRepetitionItem.ease_factor,
        SpacedRepetitionItem.interval_days,
    )


_ROLES = select(User.role, func.count().label("users")).group_by(User.role).order_by(User.role)
_OVERRIDES = (
    select(
        DatasetOverride.name,
        DatasetOverride.description,
        User.email.label("created_by"),
        DatasetOverride.updated_at,
    )
    .join(User, User.id == DatasetOverride.created_by_id)
    .where(DatasetOverride.is_active)
    .order_by(DatasetOverride.name)
)


_SOMEBODY_ACTIVE = select(User.email).where(
    User.id == select(Attempt.user_id).order_by(Attempt.id.desc()).limit(1).scalar_subquery()
)


def _tables(connection: Connection) -> pd.DataFrame:
    counts = {
        model.__tablename__: connection.scalar(select(func.count()).select_from(model.__table__)) or 0
        for model in MODELS
    }
    sizes = table_sizes.measure(connection, counts)
    rows = []
    for model in MODELS:
        table: Any = model.__table__
        time = next(table.c[name] for name in ("created_at", "last_attempt_at", "last_reviewed_at") if name in table.c)
        newest = _newest(connection, table, time, counts)
        size, size_is = sizes.get(table.name, (None, ""))
        rows.append((table.name, counts[table.name], size and round(size / 2**20, 1), size_is, newest))
    columns = {
        "table": "str",
        "rows": "int64",
        "size_mib": "Float64",
        "size_is": "str",
        "newest": "datetime64[us, UTC]",
    }
    return _whole_seconds(reports.table(rows, columns))


def _newest(connection: Connection, table: Table, time: Column[Any], counts: dict[str, int]) -> datetime | None:
    """The latest time in the table; None if it has no rows, or too many to be read."""
    newest: datetime | None
    if counts[table.name] <= SCANNED:
        newest = connection.scalar(select(func.max(time)))
        return newest
    indexed = any(list(index.columns)[:2] == [table.c.user_id, time] for index in table.indexes)
    if not indexed or counts[User.__tablename__] > SCANNED:
        return None
    of_user = select(func.max(time)).where(table.c.user_id == User.id).scalar_subquery()
    by_user = select(of_user.label("newest")).select_from(User).subquery()
    newest = connection.scalar(select(func.max(by_user.c.newest)))
    return newest
