"""guide indexes

The indexes that the guide's query patterns use. User.email and the key of ProgressByTag have none here:
their unique constraints serve.

Revision ID: 2d7e9b05c3f4
Revises: 5a3d81e7f92c
Create Date: 2026-01-28 10:20:00 UTC
"""

from alembic import op

revision = "2d7e9b05c3f4"
down_revision = "5a3d81e7f92c"
branch_labels = None
depends_on = None

INDEXES = (
    ("bookmarks", ("user_id",)),
    ("bookmarks", ("entity_type", "entity_id")),
    ("attempts", ("user_id", "created_at")),
    ("attempts", ("user_id", "entity_type", "entity_id")),
    ("spaced_repetition_items", ("user_id", "next_review_at")),
    ("dataset_overrides", ("is_active",)),
    ("dataset_overrides", ("created_by_id",)),
)


def upgrade() -> None:
    for table, columns in INDEXES:
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)


def downgrade() -> None:
    for table, columns in INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table)
