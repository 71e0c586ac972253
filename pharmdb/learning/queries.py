"""The documented query patterns as Core statements, and frames of any statement."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Boolean, Connection, Double, Integer, Select, select, tuple_

from pharmdb.models import Attempt, ProgressByTag, SpacedRepetitionItem, User
from pharmdb.types import StrictBoolean, UTCDateTime

if TYPE_CHECKING:
    import pandas as pd

# An attempt counts as correct from this score on.
CORRECT_FROM = 50

Statement = Select[*tuple[Any, ...]]


def user_by_email(email: str) -> Statement:
    """The user with this e-mail, in any case: id, email, role, created_at."""
    return select(User.id, User.email, User.role, User.created_at).where(User.email == email.strip().lower())


def attempt_history(user_id: int, *, limit: int = 50, before: tuple[datetime, int] | None = None) -> Statement:
    """A user's attempts, newest first: all columns of attempts.

    `before` is (created_at, id) of the last row already seen: the next page costs what the first one did.
    """
    statement = select(*Attempt.__table__.columns).where(Attempt.user_id == user_id)
    if before is not None:
        statement = statement.where(tuple_(Attempt.created_at, Attempt.id) < before)
    return statement.order_by(Attempt.created_at.desc(), Attempt.id.desc()).limit(limit)


def progress_by_key(user_id: int, module: str, course_block: str, tag: str) -> Statement:
    """One progress row by its natural key: all columns of progress_by_tag."""
    return select(*ProgressByTag.__table__.columns).where(
        ProgressByTag.user_id == user_id,
        ProgressByTag.module == module,
        ProgressByTag.course_block == course_block,
        ProgressByTag.tag == tag,
    )


def due_reviews(user_id: int, at: datetime, *, limit: int = 50) -> Statement:
    """A user's review items that are due at a time, longest due first: all columns of spaced_repetition_items."""
    return (
        select(*SpacedRepetitionItem.__table__.columns)
        .where(SpacedRepetitionItem.user_id == user_id, SpacedRepetitionItem.next_review_at <= at)
        .order_by(SpacedRepetitionItem.next_review_at, SpacedRepetitionItem.id)
        .limit(limit)
    )


def frame(connection: Connection, statement: Statement) -> pd.DataFrame:
    """The rows of a statement as a dataframe with one dtype per column, also where there is no row.

    Times are datetime64[us, UTC]; integers Int64, floats Float64 and booleans boolean, all of them nullable; text str.
    """
    import pandas as pd

    result = connection.execute(statement)
    data = pd.DataFrame(result.fetchall(), columns=list(result.keys()), dtype=object)
    for column, selected in zip(data.columns, statement.selected_columns, strict=True):
        data[column] = data[column].astype(_dtype(selected.type))  # type: ignore[call-overload]
    return data


def _dtype(type_: Any) -> str:
    if isinstance(type_, UTCDateTime):
        return "datetime64[us, UTC]"
    if isinstance(type_, (StrictBoolean, Boolean)):
        return "boolean"
    if isinstance(type_, Integer):
        return "Int64"
    if isinstance(type_, Double):
        return "Float64"
    return "object" if type_._type_affinity.__name__ == "JSON" else "str"
