"""pharmdb: reset, seed, migrate and inspect the Pharmacology Trainer's database.

Each name is imported when it is used: `import pharmdb` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # What _HOMES says, for type checkers and editors; a test compares the two.
    from pharmdb.accounts.managing import manage_account as manage_account
    from pharmdb.application.schema_file import prisma_schema as prisma_schema
    from pharmdb.backups.manifests import list_backups as list_backups
    from pharmdb.backups.restoring import restore as restore
    from pharmdb.backups.taking import backup as backup
    from pharmdb.classes.reporting import class_report as class_report
    from pharmdb.cohorts.building import cohort as cohort
    from pharmdb.command.listing import notebooks as notebooks
    from pharmdb.database.targets import target as target
    from pharmdb.database.transactions import reading as reading
    from pharmdb.database.transactions import writing as writing
    from pharmdb.distribution.distributing import distribute as distribute
    from pharmdb.doctor.checking import check as check
    from pharmdb.errors import PharmdbError as PharmdbError
    from pharmdb.exporting.analysing import exported as exported
    from pharmdb.exporting.taking import export as export
    from pharmdb.learning.attempts import delete_user as delete_user
    from pharmdb.learning.attempts import record_attempt as record_attempt
    from pharmdb.learning.daily import daily_progress as daily_progress
    from pharmdb.learning.frames import attempts_frame as attempts_frame
    from pharmdb.learning.frames import progress_frame as progress_frame
    from pharmdb.learning.framing import frame as frame
    from pharmdb.learning.inspecting import inspect as inspect
    from pharmdb.legacy.upgrading import upgrade as upgrade
    from pharmdb.migration.migrating import migrate as migrate
    from pharmdb.reports import wide_tables as wide_tables
    from pharmdb.schema.fingerprints import fingerprint as fingerprint
    from pharmdb.schema.json_values import json_value as json_value
    from pharmdb.seeding.resetting import reset as reset
    from pharmdb.seeding.seeding import seed as seed
    from pharmdb.studio_app.searching import searchable as searchable
    from pharmdb.studio_app.widget import studio as studio

# The public names, and the module that each of them lives in.
_HOMES = {
    "PharmdbError": "errors",
    "attempts_frame": "learning.frames",
    "backup": "backups.taking",
    "check": "doctor.checking",
    "class_report": "classes.reporting",
    "cohort": "cohorts.building",
    "daily_progress": "learning.daily",
    "delete_user": "learning.attempts",
    "distribute": "distribution.distributing",
    "export": "exporting.taking",
    "exported": "exporting.analysing",
    "fingerprint": "schema.fingerprints",
    "frame": "learning.framing",
    "inspect": "learning.inspecting",
    "json_value": "schema.json_values",
    "list_backups": "backups.manifests",
    "manage_account": "accounts.managing",
    "migrate": "migration.migrating",
    "notebooks": "command.listing",
    "prisma_schema": "application.schema_file",
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
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pharmdb' has no attribute {name!r}")
    # A module that is loaded is found again in a microsecond.
    return getattr(import_module(f"pharmdb.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
