"""The seven tables, their constraints and indexes.

The database enforces every rule itself: a session that knows nothing of pharmdb can't get past one.
On SQLite the tables are STRICT, so a column holds its declared type and nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    TEXT,
    TIMESTAMP,
    BigInteger,
    Boolean,
    CheckConstraint,
    Constraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.sqlite import JSON as SQLITE_JSON
from sqlalchemy.dialects.sqlite import REAL
from sqlalchemy.exc import DataError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

ROLES = ("USER", "ADMIN")
ATTEMPT_ENTITY_TYPES = ("question", "case", "calc")

SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite stores `YYYY-MM-DD HH:MM:SS.ffffff`, so that text order is time order.

    Raises ValueError for a naive time: which zone it was meant in can't be known.
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
                # No check lets one in: the file is damaged.
                raise DataError(None, None, error) from None
        result: datetime = value.astimezone(UTC)
        return result


class StrictBoolean(TypeDecorator[bool]):
    """BOOLEAN on PostgreSQL; on SQLite an INTEGER, because a STRICT table knows no BOOLEAN."""

    impl = Boolean
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else Boolean())

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> Any:
        return int(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        return None if value is None else bool(value)


class StrictJSON(SQLITE_JSON):
    """JSON that is declared as TEXT, because a STRICT table knows no JSON."""


@compiles(StrictJSON, "sqlite")
def _strict_json(type_: StrictJSON, compiler: Any, **kw: Any) -> str:
    return "TEXT"


class utcnow(FunctionElement[datetime]):
    """The database's own clock, in the one form that the column takes."""

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


def _check(name: str, sql: str, dialect: str = "") -> CheckConstraint:
    constraint = CheckConstraint(sql, name=name)
    return constraint.ddl_if(dialect=dialect) if dialect else constraint


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    return _check(column, f"{column} IN ({', '.join(repr(value) for value in values)})")


def _time(column: str) -> list[Constraint]:
    """A real time between the years 1 and 9999, which is what Python can hold."""
    form = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]." + "[0-9]" * 6
    return [
        # With a modifier datetime() moves 30 February into March: only a real time comes back as itself. GLOB and
        # length() stop at a NUL, so there must be none.
        _check(
            column,
            f"{column} GLOB '{form}' "
            f"AND datetime(substr({column}, 1, 19), '+0 seconds') IS substr({column}, 1, 19) "
            f"AND length({column}) = 26 AND instr({column}, char(0)) = 0 AND {column} >= '0001'",
            "sqlite",
        ),
        _check(
            column,
            f"{column} >= '0001-01-01 00:00:00+00' AND {column} < '10000-01-01 00:00:00+00'",
            "postgresql",
        ),
    ]


def _json(column: str, empty: str = "") -> CheckConstraint:
    return _check(column, f"{empty}json_valid({column}) AND instr({column}, char(0)) = 0", "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )


def _table(placement: str, *constraints: Constraint | Index) -> tuple[Any, ...]:
    return (*constraints, {"sqlite_strict": True, "info": {"placement": placement}})


def _id() -> Mapped[int]:
    return mapped_column(BIGINT, primary_key=True, doc="server-generated")


def _owner(index: bool = False) -> Mapped[int]:
    return mapped_column(BIGINT, ForeignKey("users.id", ondelete="CASCADE"), index=index, doc="the owner")


def _created() -> Mapped[datetime]:
    return mapped_column(UTCDateTime, server_default=utcnow(), doc="when the row was made, UTC")


def _updated() -> Mapped[datetime]:
    return mapped_column(UTCDateTime, server_default=utcnow(), onupdate=utcnow(), doc="when it last changed, UTC")


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = _id()
    email: Mapped[str] = mapped_column(VARCHAR, doc="trimmed, lower case, ASCII")
    password_hash: Mapped[str] = mapped_column(VARCHAR, doc="argon2id, or bcrypt from the old system")
    role: Mapped[str] = mapped_column(VARCHAR, server_default=text("'USER'"), doc="USER or ADMIN")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table(
        "reference",
        UniqueConstraint("email"),
        # ASCII only: neither database can fold the case of other letters everywhere, and two accounts
        # that differ in case only must be impossible.
        _check("email", "email = lower(email) AND length(email) - length(replace(email, '@', '')) = 1"),
        _check(
            "email_characters",
            "email NOT GLOB '*[^!-~]*' AND email GLOB '?*@?*' AND instr(email, char(0)) = 0",
            "sqlite",
        ),
        _check("email_characters", "email ~ '^[!-~]+@[!-~]+$'", "postgresql"),
        _one_of("role", ROLES),
        *_time("created_at"),
    )


class UserSettings(Base):
    __tablename__ = "user_settings"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    language: Mapped[str] = mapped_column(VARCHAR, server_default=text("'en'"), doc="two to five letters")
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = _table(
        "user_id",
        UniqueConstraint("user_id"),
        _check("language", "length(language) >= 2 AND length(language) <= 5"),
        _check("language_letters", "language NOT GLOB '*[^A-Za-z]*' AND instr(language, char(0)) = 0", "sqlite"),
        _check("language_letters", "language ~ '^[A-Za-z]+$'", "postgresql"),
        *_time("created_at"),
        *_time("updated_at"),
    )


class Bookmark(Base):
    __tablename__ = "bookmarks"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner(index=True)
    entity_type: Mapped[str] = mapped_column(VARCHAR, doc="free text: drug, question, interaction, …")
    entity_id: Mapped[str] = mapped_column(VARCHAR, doc="which one, in the trainer's catalogue")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table("user_id", Index(None, "entity_type", "entity_id"), *_time("created_at"))


class Attempt(Base):
    __tablename__ = "attempts"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    entity_type: Mapped[str] = mapped_column(VARCHAR, doc="question, case or calc")
    entity_id: Mapped[str] = mapped_column(VARCHAR, doc="which one, in the trainer's catalogue")
    answers: Mapped[Any] = mapped_column(DOCUMENT, doc="what the learner answered, JSON")
    score: Mapped[float] = mapped_column(DOUBLE, doc="0 to 100; correct from 50")
    feedback: Mapped[Any | None] = mapped_column(DOCUMENT, doc="what the learner was told, JSON")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table(
        "user_id",
        Index(None, "user_id", "created_at"),
        Index(None, "user_id", "entity_type", "entity_id"),
        _one_of("entity_type", ATTEMPT_ENTITY_TYPES),
        _check("score", "score >= 0 AND score <= 100"),
        _json("answers"),
        # Some versions of json_valid say 0 for NULL, others NULL.
        _json("feedback", "feedback IS NULL OR "),
        *_time("created_at"),
    )


class ProgressByTag(Base):
    __tablename__ = "progress_by_tag"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    module: Mapped[str] = mapped_column(VARCHAR, doc="questions, cases, calculations, …")
    course_block: Mapped[str] = mapped_column(VARCHAR, doc="cardiology, pulmonary, …")
    tag: Mapped[str] = mapped_column(VARCHAR, doc="arrhythmias, asthma, …")
    correct_count: Mapped[int] = mapped_column(Integer, server_default=text("0"), doc="attempts with score ≥ 50")
    wrong_count: Mapped[int] = mapped_column(Integer, server_default=text("0"), doc="attempts with score < 50")
    last_attempt_at: Mapped[datetime] = mapped_column(UTCDateTime, server_default=utcnow(), doc="UTC")

    __table_args__ = _table(
        "user_id",
        UniqueConstraint("user_id", "module", "course_block", "tag"),
        _check("counts", "correct_count >= 0 AND wrong_count >= 0"),
        *_time("last_attempt_at"),
    )


class SpacedRepetitionItem(Base):
    __tablename__ = "spaced_repetition_items"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    entity_type: Mapped[str] = mapped_column(VARCHAR, doc="free text: drug, question, interaction, …")
    entity_id: Mapped[str] = mapped_column(VARCHAR, doc="which one, in the trainer's catalogue")
    ease_factor: Mapped[float] = mapped_column(DOUBLE, doc="SM-2 ease factor, from 1.3")
    interval_days: Mapped[int] = mapped_column(Integer, doc="days to the next review, from 1")
    next_review_at: Mapped[datetime] = mapped_column(UTCDateTime, doc="when it is due, UTC")
    last_reviewed_at: Mapped[datetime | None] = mapped_column(UTCDateTime, doc="UTC; empty before the first review")

    __table_args__ = _table(
        "user_id",
        UniqueConstraint("user_id", "entity_type", "entity_id"),
        Index(None, "user_id", "next_review_at"),
        # The upper bound keeps out infinity, and NaN, which PostgreSQL sorts above it.
        _check("ease_factor", "ease_factor >= 1.3 AND ease_factor <= 1000000"),
        _check("interval_days", "interval_days >= 1"),
        _check("review_order", "next_review_at >= last_reviewed_at"),
        *_time("next_review_at"),
        *_time("last_reviewed_at"),
    )


class DatasetOverride(Base):
    __tablename__ = "dataset_overrides"

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(VARCHAR, doc="unique, for people")
    description: Mapped[str] = mapped_column(Text, server_default=text("''"), doc="what it is for; may be empty")
    json_text: Mapped[str] = mapped_column(Text, doc="a JSON document, as it was written")
    is_active: Mapped[bool] = mapped_column(
        StrictBoolean, server_default=text("false"), index=True, doc="whether the trainer uses it"
    )
    created_by_id: Mapped[int] = _owner(index=True)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = _table(
        "reference",
        UniqueConstraint("name"),
        _check("is_active", "is_active IN (0, 1)", "sqlite"),
        _json("json_text"),
        # IS JSON came with PostgreSQL 16; the cast does the same on older servers.
        _check("json_text", "CAST(json_text AS json) IS NOT NULL", "postgresql"),
        *_time("created_at"),
        *_time("updated_at"),
    )


MODELS: tuple[type[Base], ...] = (
    User,
    UserSettings,
    Bookmark,
    Attempt,
    ProgressByTag,
    SpacedRepetitionItem,
    DatasetOverride,
)
