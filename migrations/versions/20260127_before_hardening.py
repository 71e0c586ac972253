"""before hardening

The seven tables as they were before the reliability guide: no cascade, no check, none of the guide's
indexes, and dataset_overrides.name not unique.

Revision ID: 8f1c2a6d4b10
Revises:
Create Date: 2026-01-27 12:32:16 UTC
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from pharmdb import database

revision = "8f1c2a6d4b10"
down_revision = None
branch_labels = None
depends_on = None

BIGINT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# SQLite would make numbers of what a column declared JSON holds, and lose their digits.
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql").with_variant(sa.TEXT(), "sqlite")
TIME = sa.TIMESTAMP(timezone=True).with_variant(sa.DATETIME(), "sqlite")


def now() -> sa.TextClause:
    sqlite = op.get_bind().dialect.name == "sqlite"
    return sa.text("(strftime('%Y-%m-%d %H:%M:%f000', 'now'))" if sqlite else "now()")


def table(name: str, *columns: sa.Column[Any], owner: str | None = "user_id", unique: tuple[str, ...] = ()) -> None:
    constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint("id", name=f"pk_{name}")]
    if owner:
        constraints.append(sa.ForeignKeyConstraint([owner], ["users.id"], name=f"fk_{name}_{owner}_users"))
    if unique:
        constraints.append(sa.UniqueConstraint(*unique, name=f"uq_{name}_{'_'.join(unique)}"))
    op.create_table(name, sa.Column("id", BIGINT, autoincrement=True, nullable=False), *columns, *constraints)


def column(name: str, type_: sa.types.TypeEngine[Any], default: str | sa.TextClause | None = None) -> sa.Column[Any]:
    return sa.Column(name, type_, server_default=default, nullable=name in ("feedback", "last_reviewed_at"))


def upgrade() -> None:
    table(
        "users",
        column("email", sa.String()),
        column("password_hash", sa.String()),
        column("role", sa.String(), "USER"),
        column("created_at", TIME, now()),
        owner=None,
        unique=("email",),
    )
    table(
        "user_settings",
        column("user_id", BIGINT),
        column("language", sa.String(), "en"),
        column("created_at", TIME, now()),
        column("updated_at", TIME, now()),
        unique=("user_id",),
    )
    table(
        "bookmarks",
        column("user_id", BIGINT),
        column("entity_type", sa.String()),
        column("entity_id", sa.String()),
        column("created_at", TIME, now()),
    )
    table(
        "attempts",
        column("user_id", BIGINT),
        column("entity_type", sa.String()),
        column("entity_id", sa.String()),
        column("answers", DOCUMENT),
        column("score", sa.Double()),
        column("feedback", DOCUMENT),
        column("created_at", TIME, now()),
    )
    table(
        "progress_by_tag",
        column("user_id", BIGINT),
        column("module", sa.String()),
        column("course_block", sa.String()),
        column("tag", sa.String()),
        column("correct_count", sa.Integer(), sa.text("0")),
        column("wrong_count", sa.Integer(), sa.text("0")),
        column("last_attempt_at", TIME, now()),
        unique=("user_id", "module", "course_block", "tag"),
    )
    table(
        "spaced_repetition_items",
        column("user_id", BIGINT),
        column("entity_type", sa.String()),
        column("entity_id", sa.String()),
        column("ease_factor", sa.Double()),
        column("interval_days", sa.Integer()),
        column("next_review_at", TIME),
        column("last_reviewed_at", TIME),
        unique=("user_id", "entity_type", "entity_id"),
    )
    table(
        "dataset_overrides",
        column("name", sa.String()),
        column("description", sa.Text(), ""),
        column("json_text", sa.Text()),
        column("is_active", sa.Boolean(), sa.text("false")),
        column("created_by_id", BIGINT),
        column("created_at", TIME, now()),
        column("updated_at", TIME, now()),
        owner="created_by_id",
    )


TABLES = (
    "dataset_overrides",
    "spaced_repetition_items",
    "progress_by_tag",
    "attempts",
    "bookmarks",
    "user_settings",
    "users",
)


def downgrade() -> None:
    """Takes the tables away with their rows; never in production."""
    rows = " UNION ALL ".join(f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {name})" for name in TABLES)
    if op.get_bind().exec_driver_sql(rows).first():
        database.refuse_production(op.get_bind(), "take the tables from")
    for name in TABLES:
        op.drop_table(name)
