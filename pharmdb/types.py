"""Column types that mean the same on SQLite and PostgreSQL: UTC times, booleans, JSON, and the database's own clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    TEXT,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Double,
    Integer,
    String,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import TIMESTAMP as POSTGRESQL_TIMESTAMP
from sqlalchemy.dialects.sqlite import JSON as SQLITE_JSON
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.exc import DataError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

SQLITE_NOW = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"

# PostgreSQL counts from this time, and rounds a half away from it.
_MIDDLE = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def milliseconds(value: datetime) -> datetime:
    """The time in UTC, rounded to the nearest millisecond, and a half away from 2000-01-01 as in TIMESTAMPTZ(3).

    What would be rounded into the year 10000 becomes the last millisecond of 9999. Raises ValueError for a naive time
    (which zone it was meant in can't be known), OverflowError for one that is outside the years 1 to 9999 in UTC.
    """
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"a time needs a zone, and {value.isoformat()} has none; use datetime(…, tzinfo=UTC)")
    utc = value.astimezone(UTC)
    rest = utc.microsecond % 1000
    if not rest:
        return utc
    down = utc.replace(microsecond=utc.microsecond - rest)
    if rest < 500 or (rest == 500 and utc < _MIDDLE) or down == _LATEST:
        return down
    return down + timedelta(milliseconds=1)


def time_text(value: datetime) -> str:
    """The one form in which SQLite stores a time: `YYYY-MM-DDTHH:MM:SS.mmm+00:00`. Raises what `milliseconds` does."""
    return milliseconds(value).isoformat(timespec="milliseconds")


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time, to the millisecond; see `milliseconds` for how it is rounded.

    SQLite stores the text of `time_text`, so that text order is time order; PostgreSQL TIMESTAMPTZ(3). Raises
    ValueError for a naive time, because its time zone is unknown.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(TEXT())
        # As it is: the dialect's descriptor would be a type without its digits.
        return POSTGRESQL_TIMESTAMP(timezone=True, precision=3)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return time_text(value) if dialect.name == "sqlite" else milliseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
                if value.tzinfo is None:
                    raise ValueError(f"a time without its zone: {value.isoformat()}")
            except ValueError as error:
                # The checks reject such a value, so the file is damaged.
                raise DataError(None, None, error) from None
        result: datetime = value.astimezone(UTC)
        return result


class StrictBoolean(TypeDecorator[bool]):
    """BOOLEAN on PostgreSQL; INTEGER on SQLite, because STRICT tables have no BOOLEAN."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> Any:
        return int(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)


class StrictJSON(SQLITE_JSON):
    """JSON in a column declared as TEXT, because STRICT tables have no JSON type."""


@compiles(StrictJSON, "sqlite")
def _strict_json(type_: StrictJSON, compiler: Any, **kw: Any) -> str:
    return "TEXT"


class utcnow(FunctionElement[datetime]):
    """The database's own clock, in the format of the time columns."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(utcnow, "sqlite")
def _utcnow_sqlite(element: utcnow, compiler: Any, **kw: Any) -> str:
    return f"({SQLITE_NOW})"


@compiles(utcnow, "postgresql")
def _utcnow_postgresql(element: utcnow, compiler: Any, **kw: Any) -> str:
    return "now()"


BIGINT = BigInteger().with_variant(Integer(), "sqlite")


VARCHAR = String().with_variant(TEXT(), "sqlite")


DOUBLE: TypeEngine[float] = Double().with_variant(REAL(), "sqlite")


DOCUMENT = (
    JSON(none_as_null=True)
    .with_variant(JSONB(none_as_null=True), "postgresql")
    .with_variant(StrictJSON(none_as_null=True), "sqlite")
)


def kind(column: Any) -> str:
    """What the values of a column are: document, real, time, text or integer; a boolean is an integer."""
    if column.type is DOCUMENT:
        return "document"
    if column.type is DOUBLE:
        return "real"
    if isinstance(column.type, UTCDateTime):
        return "time"
    return "text" if isinstance(column.type, String) else "integer"
