"""How long the tests take."""

from __future__ import annotations

# The modules that take the most time, longest first: two workers end at nearly the same time if these are begun first.
LONGEST = (
    "legacy/test_upgrading.py",
    "project/test_docs.py",
    "studio_app/test_grid.py",
    "studio_app/test_served.py",
    "project/test_notebooks.py",
    "project/test_environment.py",
    "harm/test_kill.py",
    "harm/test_kill_upgrade.py",
    "harm/test_secrets.py",
    "harm/test_postgresql.py",
    "project/test_troubleshooting.py",
    "backups/test_backups.py",
    "migration/test_migrating.py",
    "database/test_upserts.py",
)
