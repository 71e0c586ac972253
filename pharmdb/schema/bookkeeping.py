"""The bookkeeping tables that pharmdb and Alembic keep in addition to the models' tables."""

from __future__ import annotations

BOOKKEEPING_TABLES = (
    "alembic_version",
    "pharmdb_environment",
    "pharmdb_revisions",
    "pharmdb_upgrades",
    "upgrade_rejects",
)
