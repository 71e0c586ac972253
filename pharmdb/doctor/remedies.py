"""Commands that fix a reported problem."""

from __future__ import annotations

import shlex

from pharmdb.backups import manifests
from pharmdb.database import environments, targets
from pharmdb.errors import PharmdbError


def has_backup(target: targets.Target) -> bool:
    try:
        return bool(manifests.of(target))
    except PharmdbError:
        return False


def rebuild_file(target: targets.Target, damaged: bool) -> str:
    """The command that rebuilds an SQLite database: from a backup if there is one; a damaged file is renamed."""
    production = environments.configured_environment() == "production"
    if has_backup(target):
        return targets.command(target, "pharmdb restore")
    command = targets.command(target, "pharmdb migrate" if production else "pharmdb reset")
    path = shlex.quote(str(target.path))
    return f"mv {path} {path}.damaged && {command}" if damaged else command


def sql_command(target: targets.Target, statement: str) -> str:
    """The command that runs an SQL statement."""
    if target.is_sqlite:
        code = f"import sqlite3; sqlite3.connect({str(target.path)!r}, isolation_level=None).execute({statement!r})"
        return f"python -c {shlex.quote(code)}"
    return f"psql {targets.libpq_url(target)} -c {shlex.quote(statement)}"
