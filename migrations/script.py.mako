"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
Create Date: ${create_date}
"""

# Before you commit this revision:
#  - Review it. Autogenerate detects neither renames (it drops and adds, which loses data) nor changed checks.
#  - A check that it drops comes back in the downgrade of one database: write it for the other one, too.
#  - Lose no row. If a new constraint rejects existing rows, repair them or move them to upgrade_rejects with a reason.
#  - It runs in one transaction with everything else: no COMMIT, no VACUUM, no CREATE INDEX CONCURRENTLY.
#  - A new NOT NULL column needs a server_default. Time defaults have the format of types.utcnow.
#  - On SQLite use op.batch_alter_table; foreign keys are off while it runs and are checked before the commit.
#  - It also runs on a Citus cluster: every UNIQUE of a table with a user_id contains it, ADD CONSTRAINT is alone in its
#    ALTER TABLE, and there is no trigger and no identity column. A new table of the models is then distributed, too.
#  - Never edit a revision that has been applied anywhere: write a new one.

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
