"""pharmdb: reset, seed, migrate and inspect the Pharmacology Trainer's database.

Each name is imported when it is first used: `import pharmdb` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pharmdb.backups.manifests import list_backups
    from pharmdb.backups.restoring import restore
    from pharmdb.backups.taking import backup
    from pharmdb.cohorts.building import cohort
    from pharmdb.command.listing import notebooks
    from pharmdb.database.targets import target
    from pharmdb.database.transactions import reading, writing
    from pharmdb.doctor.checking import check
    from pharmdb.errors import PharmdbError
    from pharmdb.learning.attempts import delete_user, record_attempt
    from pharmdb.learning.daily import daily_progress
    from pharmdb.learning.frames import attempts_frame, progress_frame
    from pharmdb.learning.inspecting import inspect
    from pharmdb.learning.queries import frame
    from pharmdb.legacy.upgrading import upgrade
    from pharmdb.migration.migrating import migrate
    from pharmdb.reports import wide_tables
    from pharmdb.schema.fingerprints import fingerprint
    from pharmdb.seeding.resetting import reset
    from pharmdb.seeding.seeding import seed
    from pharmdb.studio_app.searching import searchable
    from pharmdb.studio_app.widget import studio

_HOMES = {
    "PharmdbError": "errors",
    "attempts_frame": "learning.frames",
    "backup": "backups.taking",
    "check": "doctor.checking",
    "cohort": "cohorts.building",
    "daily_progress": "learning.daily",
    "delete_user": "learning.attempts",
    "fingerprint": "schema.fingerprints",
    "frame": "learning.queries",
    "inspect": "learning.inspecting",
    "list_backups": "backups.manifests",
    "migrate": "migration.migrating",
    "notebooks": "command.listing",
    "progress_frame": "learning.frames",
    "reading": "database.transactions",
    "record_attempt": "learning.attempts",
    "reset": "seeding.resetting",
    "restore": "backups.restoring",
    "searchable": "studio_app.searching",
    "seed": "seeding.seeding",
    "studio": "studio_app.widget",
    "target": "database.targets",
    "upgrade": "legacy.upgrading",
    "wide_tables": "reports",
    "writing": "database.transactions",
}
__all__ = [
    "PharmdbError",
    "attempts_frame",
    "backup",
    "check",
    "cohort",
    "daily_progress",
    "delete_user",
    "fingerprint",
    "frame",
    "inspect",
    "list_backups",
    "migrate",
    "notebooks",
    "progress_frame",
    "reading",
    "record_attempt",
    "reset",
    "restore",
    "searchable",
    "seed",
    "studio",
    "target",
    "upgrade",
    "wide_tables",
    "writing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pharmdb' has no attribute {name!r}")
    value = getattr(import_module(f"pharmdb.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
