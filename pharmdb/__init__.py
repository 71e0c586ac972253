"""pharmdb: reset, seed, migrate and inspect the Pharmacology Trainer's database.

Each name is imported when it is first used: `import pharmdb` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pharmdb.backups import backup, list_backups, restore
    from pharmdb.checking import check
    from pharmdb.cohorts import cohort
    from pharmdb.daily import daily_progress
    from pharmdb.database import reading, target, writing
    from pharmdb.errors import PharmdbError
    from pharmdb.fingerprints import fingerprint
    from pharmdb.frames import attempts_frame, progress_frame
    from pharmdb.inspecting import inspect
    from pharmdb.migrating import migrate
    from pharmdb.queries import frame
    from pharmdb.recording import delete_user, record_attempt
    from pharmdb.reports import wide_tables
    from pharmdb.resetting import reset
    from pharmdb.seeding import seed
    from pharmdb.studio.searching import searchable
    from pharmdb.studio.widget import studio
    from pharmdb.upgrading import upgrade

_HOMES = {
    "PharmdbError": "errors",
    "attempts_frame": "frames",
    "backup": "backups",
    "check": "checking",
    "cohort": "cohorts",
    "daily_progress": "daily",
    "delete_user": "recording",
    "fingerprint": "fingerprints",
    "frame": "queries",
    "inspect": "inspecting",
    "list_backups": "backups",
    "migrate": "migrating",
    "progress_frame": "frames",
    "reading": "database",
    "record_attempt": "recording",
    "reset": "resetting",
    "restore": "backups",
    "searchable": "studio.searching",
    "seed": "seeding",
    "studio": "studio.widget",
    "target": "database",
    "upgrade": "upgrading",
    "wide_tables": "reports",
    "writing": "database",
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
