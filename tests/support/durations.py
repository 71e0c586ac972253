"""How long the tests take."""

from __future__ import annotations

# The modules that take the most time, longest first: the workers end at nearly the same time if these are begun first.
LONGEST = (
    "studio_app/test_served.py",
    "studio_app/test_grid.py",
    "studio_app/test_opening.py",
    "project/test_notebooks.py",
    "seeding/test_resetting.py",
    "legacy/test_upgrading.py",
    "project/test_docs.py",
    "project/test_benchmarks.py",
    "migration/test_migrating.py",
    "harm/test_kill.py",
    "application/test_prisma_client.py",
    "project/test_environment.py",
    "backups/test_backups.py",
    "doctor/test_sampling.py",
    "backups/test_ways_back.py",
    "harm/test_kill_upgrade.py",
    "database/test_upserts.py",
)
