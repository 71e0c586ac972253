"""What pharmdb and Alembic keep in addition to the models' tables: bookkeeping tables, and a role on PostgreSQL."""

from __future__ import annotations

BOOKKEEPING_TABLES = (
    "alembic_version",
    "pharmdb_environment",
    "pharmdb_revisions",
    "pharmdb_upgrades",
    "upgrade_rejects",
)

# The studio's SQL console runs in this role, followed by the number of the database.
CONSOLE_ROLE = "pharmdb_console_"
