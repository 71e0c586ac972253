"""The tables in which pharmdb keeps its own records, beside those of the models."""

from __future__ import annotations

BOOKKEEPING_TABLES = (
    "alembic_version",
    "pharmdb_environment",
    "pharmdb_revisions",
    "pharmdb_upgrades",
    "upgrade_rejects",
)
