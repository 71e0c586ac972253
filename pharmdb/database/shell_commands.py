"""Commands for a shell that run PostgreSQL's own programs on a database."""

from __future__ import annotations

import os
import shlex

from pharmdb.database import targets
from pharmdb.errors import ParameterError


def psql(target: targets.Target, statement: str) -> str:
    """The psql command that runs an SQL statement."""
    return f"psql {_with_password(target) or targets.libpq_url(target)} -c {shlex.quote(statement)}"


def createdb(target: targets.Target, name: str) -> str:
    """The command that creates a database on the server of the target; it asks for a password."""
    return f"createdb --maintenance-db={targets.libpq_url(target, 'postgres')} {shlex.quote(name)}"


def _with_password(target: targets.Target) -> str:
    """PHARMDB_URL as a word of the shell, if it names the target and holds the password; else ""."""
    from psycopg import ProgrammingError, conninfo

    try:
        named = targets.target()
    except ParameterError:
        return ""
    if str(named) != str(target) or named.url.password is None:
        return ""
    try:
        conninfo.conninfo_to_dict(os.environ["PHARMDB_URL"].replace("+psycopg:", ":", 1))
    except ProgrammingError:
        # A setting that libpq doesn't know: psql asks for the password.
        return ""
    return '"${PHARMDB_URL/+psycopg:/:}"'
