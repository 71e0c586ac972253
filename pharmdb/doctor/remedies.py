"""Commands that fix a reported problem."""

from __future__ import annotations

import shlex

from pharmdb.backups import manifests
from pharmdb.database import shell_commands, targets
from pharmdb.errors import PharmdbError


def has_backup(target: targets.Target, environment: str) -> bool:
    """Whether `pharmdb restore` has a backup: in production only one of production."""
    try:
        newest = manifests.of(target)[:1]
        return bool(newest) and (environment != "production" or newest[0].environment == "production")
    except PharmdbError:
        return False


def sql_command(target: targets.Target, statement: str) -> str:
    """The command that runs an SQL statement."""
    if target.is_sqlite:
        code = f"import sqlite3; sqlite3.connect({str(target.path)!r}, isolation_level=None).execute({statement!r})"
        return f"python -c {shlex.quote(code)}"
    return shell_commands.psql(target, statement)
