"""Commands that fix a reported problem."""

from __future__ import annotations

import shlex

from sqlalchemy.engine import URL

from pharmdb.backups import manifests
from pharmdb.database import environments, targets
from pharmdb.errors import PharmdbError


def has_backup(target: targets.Target) -> bool:
    try:
        return bool(manifests.of(target))
    except PharmdbError:
        return False


def make_anew(target: targets.Target, damaged: bool) -> str:
    production = environments.configured_environment() == "production"
    if has_backup(target):
        return "pharmdb restore"
    command = "pharmdb migrate" if production else "pharmdb reset"
    path = shlex.quote(str(target.path))
    return f"mv {path} {path}.damaged && {command}" if damaged else command


def libpq_url(target: targets.Target, name: str = "") -> str:
    """The URL for psql and its like, as a word of a shell, without the password: they ask for it."""
    old = target.url
    query = {key: value for key, value in old.query.items() if key != "password" and not (name and key == "dbname")}
    url = URL.create("postgresql", old.username, None, old.host, old.port, name or old.database, query)
    return shlex.quote(url.render_as_string().replace(" ", "%20"))


def sql_command(target: targets.Target, statement: str) -> str:
    """The command that runs an SQL statement."""
    if target.is_sqlite:
        code = f"import sqlite3; sqlite3.connect({str(target.path)!r}, isolation_level=None).execute({statement!r})"
        return f"python -c {shlex.quote(code)}"
    return f"psql {libpq_url(target)} -c {shlex.quote(statement)}"
