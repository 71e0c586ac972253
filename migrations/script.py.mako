"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

# Before you commit this revision:
#  - Read it. Autogenerate doesn't see renames (it drops and adds: data is lost) nor changed checks.
#  - Lose no row. Where a new rule refuses old rows, repair them or move them to upgrade_rejects with a reason.
#  - It runs inside one transaction with everything else: no commit, no VACUUM, no CREATE INDEX CONCURRENTLY.
#  - A new NOT NULL column needs a server_default. Time defaults have the form of models.utcnow.
#  - On SQLite use op.batch_alter_table; foreign keys are off while it runs and are checked before the commit.
#  - A revision that has been applied anywhere is never edited: write the next one.

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
