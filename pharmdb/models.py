"""The seven tables, their constraints and indexes.

The database itself enforces every rule, so writers that don't use pharmdb can't break one either.
On SQLite the tables are STRICT, so a column holds only values of its declared type.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Constraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pharmdb import types
from pharmdb.types import StrictBoolean, UTCDateTime

ROLES = ("USER", "ADMIN")


ATTEMPT_ENTITY_TYPES = ("question", "case", "calc")


def _check(name: str, sql: str, says: str, dialect: str = "") -> CheckConstraint:
    # `info` records the rule in words, for people whose change breaks it, and the dialect, because the condition of
    # ddl_if can't be queried.
    info = {"says": says} | ({"dialect": dialect} if dialect else {})
    constraint = CheckConstraint(sql, name=name, info=info)
    return constraint.ddl_if(dialect=dialect) if dialect else constraint


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    says = f"{column} is {', '.join(values[:-1])} or {values[-1]}"
    return _check(column, f"{column} IN ({', '.join(repr(value) for value in values)})", says)


def _unique(*columns: str, says: str) -> UniqueConstraint:
    return UniqueConstraint(*columns, info={"says": says})


def _time(column: str) -> list[Constraint]:
    """Checks for a valid time between the years 1 and 9999, the range of Python's datetime."""
    says = f"{column} is a time in UTC between the years 1 and 9999, such as 2026-01-31 23:59:00"
    form = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]+00:00"
    return [
        # With a modifier strftime() turns 30 February into a day in March, so only a valid time comes back unchanged.
        # GLOB and length() stop at a NUL character, so there must be none.
        _check(
            column,
            f"{column} GLOB '{form}' "
            f"AND strftime('%Y-%m-%dT%H:%M:%S', substr({column}, 1, 19), '+0 seconds') IS substr({column}, 1, 19) "
            f"AND length({column}) = 29 AND instr({column}, char(0)) = 0 AND {column} >= '0001'",
            says,
            "sqlite",
        ),
        _check(
            column,
            f"{column} >= '0001-01-01 00:00:00+00' AND {column} < '10000-01-01 00:00:00+00'",
            says,
            "postgresql",
        ),
    ]


def _json(column: str, empty: str = "") -> CheckConstraint:
    says = f"{column} is JSON, without NUL characters"
    return _check(column, f"{empty}json_valid({column}) AND instr({column}, char(0)) = 0", says, "sqlite")


_EMAIL_CHARACTERS = "an e-mail address has no spaces, and only English letters, digits and signs on both sides of the @"
_LANGUAGE = "a language is two to five English letters, such as en"
_ACTIVE_JSON = "an active dataset is JSON; only a draft, which is not active, can be any text"


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
    # AUTOINCREMENT: a session of the application names its user by the id, long after the user was deleted.
    options = {"sqlite_strict": True, "sqlite_autoincrement": True, "info": {"placement": placement}}
    return (*constraints, options)


def _id() -> Mapped[int]:
    return mapped_column(types.BIGINT, primary_key=True, doc="server-generated, never used twice")


def _owner(index: bool = False) -> Mapped[int]:
    return mapped_column(types.BIGINT, ForeignKey("users.id", ondelete="CASCADE"), index=index, doc="the owner")


def _created() -> Mapped[datetime]:
    return mapped_column(UTCDateTime, server_default=types.utcnow(), doc="when the row was created, UTC")


def _updated() -> Mapped[datetime]:
    return mapped_column(
        UTCDateTime, server_default=types.utcnow(), onupdate=types.utcnow(), doc="when the row was last changed, UTC"
    )


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = _id()
    email: Mapped[str] = mapped_column(types.VARCHAR, doc="trimmed, lower case, ASCII")
    password_hash: Mapped[str] = mapped_column(types.VARCHAR, doc="bcrypt, or argon2id")
    role: Mapped[str] = mapped_column(types.VARCHAR, server_default=text("'USER'"), doc="USER or ADMIN")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table(
        "reference",
        _unique("email", says="another user has the same e-mail address"),
        # ASCII only: neither database folds the case of other letters reliably, and two accounts must not differ
        # only in case.
        _check(
            "email",
            "email = lower(email) AND length(email) - length(replace(email, '@', '')) = 1",
            "an e-mail address is in lower case and has exactly one @, such as anna@example.org",
        ),
        _check(
            "email_characters",
            "email NOT GLOB '*[^!-~]*' AND email GLOB '?*@?*' AND instr(email, char(0)) = 0",
            _EMAIL_CHARACTERS,
            "sqlite",
        ),
        _check("email_characters", "email ~ '^[!-~]+@[!-~]+$'", _EMAIL_CHARACTERS, "postgresql"),
        _one_of("role", ROLES),
        *_time("created_at"),
    )


class UserSettings(Base):
    __tablename__ = "user_settings"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    language: Mapped[str] = mapped_column(types.VARCHAR, server_default=text("'en'"), doc="two to five letters")
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = _table(
        "user_id",
        _unique("user_id", says="this user has settings already"),
        _check("language", "length(language) >= 2 AND length(language) <= 5", _LANGUAGE),
        _check(
            "language_letters", "language NOT GLOB '*[^A-Za-z]*' AND instr(language, char(0)) = 0", _LANGUAGE, "sqlite"
        ),
        _check("language_letters", "language ~ '^[A-Za-z]+$'", _LANGUAGE, "postgresql"),
        *_time("created_at"),
        *_time("updated_at"),
    )


class Bookmark(Base):
    __tablename__ = "bookmarks"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner(index=True)
    entity_type: Mapped[str] = mapped_column(types.VARCHAR, doc="free text: drug, question, interaction, …")
    entity_id: Mapped[str] = mapped_column(types.VARCHAR, doc="which one, in the trainer's catalogue")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table("user_id", Index(None, "entity_type", "entity_id"), *_time("created_at"))


class Attempt(Base):
    __tablename__ = "attempts"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    entity_type: Mapped[str] = mapped_column(types.VARCHAR, doc="question, case or calc")
    entity_id: Mapped[str] = mapped_column(types.VARCHAR, doc="which one, in the trainer's catalogue")
    answers: Mapped[Any] = mapped_column(types.DOCUMENT, doc="what the learner answered, JSON")
    score: Mapped[float] = mapped_column(types.DOUBLE, doc="0 to 100; correct from 50")
    feedback: Mapped[Any | None] = mapped_column(types.DOCUMENT, doc="what the learner was told, JSON")
    created_at: Mapped[datetime] = _created()

    __table_args__ = _table(
        "user_id",
        Index(None, "user_id", "created_at"),
        Index(None, "user_id", "entity_type", "entity_id"),
        _one_of("entity_type", ATTEMPT_ENTITY_TYPES),
        _check("score", "score >= 0 AND score <= 100", "a score is a number from 0 to 100"),
        _json("answers"),
        # json_valid(NULL) is 0 in some versions of SQLite and NULL in others.
        _json("feedback", "feedback IS NULL OR "),
        *_time("created_at"),
    )


class ProgressByTag(Base):
    __tablename__ = "progress_by_tag"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    module: Mapped[str] = mapped_column(types.VARCHAR, doc="questions, cases, calculations, …")
    course_block: Mapped[str] = mapped_column(types.VARCHAR, doc="cardiology, pulmonary, …")
    tag: Mapped[str] = mapped_column(types.VARCHAR, doc="arrhythmias, asthma, …")
    correct_count: Mapped[int] = mapped_column(Integer, server_default=text("0"), doc="attempts with score ≥ 50")
    wrong_count: Mapped[int] = mapped_column(Integer, server_default=text("0"), doc="attempts with score < 50")
    last_attempt_at: Mapped[datetime] = mapped_column(UTCDateTime, server_default=types.utcnow(), doc="UTC")

    __table_args__ = _table(
        "user_id",
        _unique(
            *("user_id", "module", "course_block", "tag"),
            says="this user has a row for this module, course block and tag already",
        ),
        _check("counts", "correct_count >= 0 AND wrong_count >= 0", "a count is never below 0"),
        *_time("last_attempt_at"),
    )


class SpacedRepetitionItem(Base):
    __tablename__ = "spaced_repetition_items"

    id: Mapped[int] = _id()
    user_id: Mapped[int] = _owner()
    entity_type: Mapped[str] = mapped_column(types.VARCHAR, doc="free text: drug, question, interaction, …")
    entity_id: Mapped[str] = mapped_column(types.VARCHAR, doc="which one, in the trainer's catalogue")
    ease_factor: Mapped[float] = mapped_column(types.DOUBLE, doc="SM-2 ease factor, at least 1.3")
    interval_days: Mapped[int] = mapped_column(Integer, doc="days until the next review, at least 1")
    next_review_at: Mapped[datetime] = mapped_column(UTCDateTime, doc="when the next review is due, UTC")
    last_reviewed_at: Mapped[datetime | None] = mapped_column(UTCDateTime, doc="UTC; NULL before the first review")

    __table_args__ = _table(
        "user_id",
        _unique("user_id", "entity_type", "entity_id", says="this user has a review of this item already"),
        Index(None, "user_id", "next_review_at"),
        # The upper bound excludes infinity, and NaN, which PostgreSQL sorts above it.
        _check(
            "ease_factor",
            "ease_factor >= 1.3 AND ease_factor <= 1000000",
            "an ease factor is a number from 1.3 to 1,000,000",
        ),
        _check("interval_days", "interval_days >= 1", "an interval is at least one day"),
        _check(
            "review_order", "next_review_at >= last_reviewed_at", "the next review is not earlier than the last one"
        ),
        *_time("next_review_at"),
        *_time("last_reviewed_at"),
    )


class DatasetOverride(Base):
    __tablename__ = "dataset_overrides"

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(types.VARCHAR, doc="unique, human-readable")
    description: Mapped[str] = mapped_column(Text, server_default=text("''"), doc="what it is for; may be empty")
    json_text: Mapped[str] = mapped_column(Text, doc="a JSON document, as it was written; a draft may be any text")
    is_active: Mapped[bool] = mapped_column(
        StrictBoolean, server_default=text("false"), index=True, doc="whether the trainer uses it"
    )
    created_by_id: Mapped[int] = _owner(index=True)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _updated()

    __table_args__ = _table(
        "reference",
        _unique("name", says="another dataset has the same name"),
        _check("is_active", "is_active IN (0, 1)", "is_active is true or false", "sqlite"),
        _check(
            "json_text",
            "(NOT is_active OR json_valid(json_text)) AND instr(json_text, char(0)) = 0",
            _ACTIVE_JSON,
            "sqlite",
        ),
        # IS JSON came with PostgreSQL 16; the cast does the same on older servers, and raises an error for what is no
        # JSON. Only CASE is sure not to cast a draft.
        _check(
            "json_text",
            "CASE WHEN is_active THEN CAST(json_text AS json) IS NOT NULL ELSE true END",
            _ACTIVE_JSON,
            "postgresql",
        ),
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
