"""The documented query patterns, each written once and available as rows, as a dataframe, and as a statement.

attempt_history.rows(connection, user_id=1, limit=20)
attempt_history.frame(connection, user_id=1)
attempt_history.statement(user_id=1).where(Attempt.score >= 50)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Dialect, String, TypeDecorator, bindparam, select, tuple_

from pharmdb.learning import framing
from pharmdb.learning.framing import Statement
from pharmdb.learning.prepared import Prepared, Row
from pharmdb.models import Attempt, ProgressByTag, SpacedRepetitionItem, User
from pharmdb.types import UTCDateTime

if TYPE_CHECKING:
    import pandas as pd


# The default limit of a query that returns a list.
MOST_ROWS = 50


class Pattern:
    """One documented query, whose values are passed by name.

    `limit` is the maximum number of rows. `before`, for a paged pattern, is the sort key of the last row already seen,
    so the next page costs no more than the first. Every method raises TypeError for a missing or unknown value, and
    ValueError for a negative limit.
    """

    def __init__(
        self, name: str, statement: Statement, *, limit: int | None = None, newest_first: tuple[Any, ...] = ()
    ) -> None:
        """`statement` has its values as bind parameters; `limit` is the default for calls without one.

        `newest_first` are the columns that sort a paged pattern, the last of them unique.
        """
        self.name = name
        self._limit = limit
        self._names = frozenset(statement.compile().params)
        self._key = tuple(f"before_{column.key}" for column in newest_first)
        first = statement.order_by(*(column.desc() for column in newest_first))
        seen = [bindparam(key, type_=column.type) for key, column in zip(self._key, newest_first, strict=True)]
        self._first = _Form(first)
        self._next = _Form(first.where(tuple_(*newest_first) < tuple_(*seen))) if seen else None

    def rows(
        self, connection: Connection, *, limit: int | None = None, before: tuple[Any, ...] | None = None, **values: Any
    ) -> list[Row]:
        """The rows as named tuples, at nearly the driver's speed."""
        form = self._first
        if before is not None or values.keys() != self._names:
            form, values = self._form(before, values)
        return form.prepared.rows(connection, values, self._limit if limit is None else limit)

    def one(self, connection: Connection, **values: Any) -> Row | None:
        """The first row, or None."""
        found = self.rows(connection, **values)
        return found[0] if found else None

    def frame(
        self, connection: Connection, *, limit: int | None = None, before: tuple[Any, ...] | None = None, **values: Any
    ) -> pd.DataFrame:
        """The rows as a dataframe, with the dtypes of `pharmdb.frame`."""
        return framing.frame(connection, self.statement(limit=limit, before=before, **values))

    def statement(self, *, limit: int | None = None, before: tuple[Any, ...] | None = None, **values: Any) -> Statement:
        """The query as an SQLAlchemy statement, which may be narrowed, joined or explained."""
        form, values = self._form(before, values)
        most = self._limit if limit is None else limit
        if most is not None and most < 0:
            raise ValueError(f"a limit is 0 or more, not {most}")
        return form.statement.params(values).limit(most)

    def _form(self, before: tuple[Any, ...] | None, values: dict[str, Any]) -> tuple[_Form, dict[str, Any]]:
        if values.keys() != self._names:
            raise TypeError(f"{self.name} takes {', '.join(sorted(self._names))}, not {', '.join(sorted(values))}")
        if before is None:
            return self._first, values
        if self._next is None:
            raise TypeError(f"{self.name} has no pages, so it takes no before")
        return self._next, values | dict(zip(self._key, before, strict=True))


class _Form:
    """A statement, as it is and prepared."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.prepared = Prepared(statement)


class _Email(TypeDecorator[str]):
    """Normalizes an e-mail to the stored form: trimmed, in lower case."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.strip().lower()


_attempts, _progress, _items = (model.__table__ for model in (Attempt, ProgressByTag, SpacedRepetitionItem))

# Values: email, in upper or lower case. Returns id, email, role, created_at of that user.
user_by_email = Pattern(
    "user_by_email",
    select(User.id, User.email, User.role, User.created_at).where(User.email == bindparam("email", type_=_Email())),
)
# Values: user_id. Returns all columns of the user's attempts, newest first; before=(created_at, id).
attempt_history = Pattern(
    "attempt_history",
    select(*_attempts.columns).where(_attempts.c.user_id == bindparam("user_id")),
    limit=MOST_ROWS,
    newest_first=(_attempts.c.created_at, _attempts.c.id),
)
# Values: user_id, module, course_block, tag. Returns all columns of that progress row.
progress_by_key = Pattern(
    "progress_by_key",
    select(*_progress.columns).where(
        *(_progress.c[name] == bindparam(name) for name in ("user_id", "module", "course_block", "tag"))
    ),
)
# Values: user_id, at. Returns all columns of the user's review items that are due at that time, longest overdue first.
due_reviews = Pattern(
    "due_reviews",
    select(*_items.columns)
    .where(_items.c.user_id == bindparam("user_id"), _items.c.next_review_at <= bindparam("at", type_=UTCDateTime()))
    .order_by(_items.c.next_review_at, _items.c.id),
    limit=MOST_ROWS,
)
