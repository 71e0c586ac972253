"""Column types that mean the same on SQLite and PostgreSQL: UTC times, booleans, JSON, and the database's own clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    TEXT,
    TIMESTAMP,
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
from sqlalchemy.dialects.sqlite import JSON as SQLITE_JSON
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.exc import DataError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores `YYYY-MM-DD HH:MM:SS.ffffff`, so that text order is time order.

    Raises ValueError for a naive time, because its time zone is unknown.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(TEXT())
        return dialect.type_descriptor(TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None or value.utcoffset() is None:
            raise ValueError(f"a time needs a zone, and {value.isoformat()} has none; use datetime(…, tzinfo=UTC)")
        utc = value.astimezone(UTC)
        if dialect.name == "sqlite":
            return utc.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value).replace(tzinfo=UTC)
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
