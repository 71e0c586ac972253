"""The PostgreSQL role in which the console runs statements: it has no right to read or write a secret.

Aliases, views and functions can hide a name from whoever reads a statement, but not from the server, which checks each
column that a statement uses. The role belongs to one database, and its rights follow the tables.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pharmdb.database import locks, targets, transactions
from pharmdb.database.placements import has_citus
from pharmdb.errors import NoPermissionError, ProtectedError
from pharmdb.schema import bookkeeping
from pharmdb.studio_app.statement_log import is_secret

# Roles belong to the whole server: the number of the database keeps those of several databases apart. On a cluster the
# coordinator logs in to the workers in the role in which a statement runs.
_ROLE = """
    SELECT name,
           CASE WHEN to_regrole(name) IS NULL THEN NULL ELSE pg_has_role(to_regrole(name), %(right)s)
                AND (NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
                     OR EXISTS (SELECT FROM pg_roles WHERE rolname = name AND rolcanlogin)) END,
           EXISTS (SELECT FROM pg_roles WHERE rolname = name AND (rolsuper OR rolbypassrls OR rolcreaterole))
           OR EXISTS (SELECT FROM pg_auth_members WHERE member = to_regrole(name)), session_user
      FROM (SELECT %(prefix)s || oid AS name FROM pg_database WHERE datname = current_database()) AS console
"""
_COLUMNS = """
    SELECT c.oid, format('%%I.%%I', nspname, relname), relname, relkind IN ('r', 'p'),
           nspname = current_schema() AND pg_has_role(relowner, 'USAGE'), nspname = current_schema(), attname, attnum,
           format_type(atttypid, atttypmod),
           has_column_privilege(role, c.oid, attnum, 'SELECT'), has_column_privilege(role, c.oid, attnum, 'UPDATE'),
           has_column_privilege(role, c.oid, attnum, 'INSERT'), has_table_privilege(role, c.oid, 'DELETE')
      FROM (SELECT %(role)s::name) AS console (role) CROSS JOIN pg_class c
      JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_attribute ON attrelid = c.oid
     WHERE relkind IN ('r', 'p', 'v', 'm') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
       AND attnum > 0 AND NOT attisdropped
     ORDER BY c.oid, attnum
"""
# What each view uses: a column, a whole relation (0, also if a whole row is used) or a function.
_USES = """
    SELECT ev_class, refobjid, refobjsubid, refclassid = 'pg_proc'::regclass, ev_action::text LIKE '%%:varattno 0 %%'
      FROM pg_rewrite r JOIN pg_depend d ON classid = 'pg_rewrite'::regclass AND objid = r.oid
     WHERE refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass) AND refobjid <> ev_class AND ev_class = ANY(%s)
"""
# Functions with the rights of their owner: none of PostgreSQL's own, whose numbers are lower, and no trigger's.
_POWERFUL = """
    SELECT oid, proname FROM pg_proc
     WHERE oid >= 16384 AND prosecdef AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
"""
# Rights other than those on tables, and what grants them.
_OTHERS = """
    SELECT format('GRANT USAGE ON SEQUENCE %%I.%%I TO %%I', nspname, relname, %(role)s::text)
      FROM pg_sequence JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
     WHERE nspname = current_schema() AND pg_has_role(relowner, 'USAGE')
       AND NOT has_sequence_privilege(%(role)s, seqrelid, 'USAGE')
    UNION ALL SELECT format('GRANT USAGE ON SCHEMA %%I TO %%I', nspname, %(role)s::text)
      FROM pg_namespace n WHERE nspname = current_schema() AND pg_has_role(nspowner, 'USAGE')
       AND NOT has_schema_privilege(%(role)s, n.oid, 'USAGE')
    UNION ALL SELECT format('GRANT TEMPORARY ON DATABASE %%I TO %%I', datname, %(role)s::text)
      FROM pg_database d WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')
       AND NOT has_database_privilege(%(role)s, d.oid, 'TEMPORARY')
"""


@dataclass
class Relation:
    """A table or view: its columns as (name, type, whether it is secret). `own`: in the current schema."""

    identifier: str
    name: str
    own: bool
    columns: list[tuple[str, str, bool]]

    @property
    def secrets(self) -> list[str]:
        return [name for name, _, secret in self.columns if secret]


@dataclass(frozen=True)
class Role:
    """The console's role, the relations of the database, and the functions that run with their owner's rights."""

    name: str
    relations: list[Relation]
    powerful: frozenset[str]


def prepared(driver: Any, target: targets.Target) -> Role:
    """The console's role with exactly its rights; it is created, and its rights are corrected, if necessary.

    Raises NoPermissionError with the command for an administrator if it can't be created or used, ProtectedError if it
    could reach a secret.
    """
    name, usable, unsafe, user = _role(driver)
    if usable:
        role, missing, exposed = _rights(driver, name)
    if not usable or missing:
        name = _correct(target)
        role, missing, exposed = _rights(driver, name)
        unsafe = _role(driver)[2]
    if unsafe or exposed:
        raise ProtectedError(
            expected=f"no right of the role {name} to a secret",
            found="it is a member of another role, or has more than rights to tables" if unsafe else ", ".join(exposed),
            note=f"REVOKE these rights from {name} and from PUBLIC, as the owner {user} of the database",
        )
    return role


def _role(driver: Any) -> tuple[str, bool | None, bool, str]:
    """Its name; whether it can be used, None if it does not exist; whether it has other rights; the session's user."""
    right = "SET" if driver.info.server_version >= 160_000 else "MEMBER"
    found: tuple[str, bool | None, bool, str] = driver.execute(
        _ROLE, {"right": right, "prefix": bookkeeping.CONSOLE_ROLE}
    ).fetchone()
    return found


def _correct(target: targets.Target) -> str:
    """Creates the role, or grants and revokes what is missing or too much, in a transaction of its own."""
    from psycopg import errors, sql

    with transactions.writing(target) as connection:
        locks.take_advisory_lock(connection)
        driver: Any = connection.connection.dbapi_connection
        name, usable, _, user = _role(driver)
        role = sql.Identifier(name)
        on_cluster = has_citus(connection)
        try:
            if usable is None:
                driver.execute(sql.SQL("CREATE ROLE {}").format(role))
            if on_cluster:
                driver.execute(sql.SQL("ALTER ROLE {} LOGIN").format(role))
            if not _role(driver)[1]:
                driver.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        except errors.InsufficientPrivilege as error:
            raise _no_role(target, name, user, error.diag.message_primary, on_cluster) from error
        for statement in _rights(driver, name)[1]:
            driver.execute(statement)
    return name


def _no_role(target: targets.Target, name: str, user: str, found: str | None, on_cluster: bool) -> NoPermissionError:
    from psycopg import sql

    quoted = sql.Identifier(user).as_string()
    statements = (f"CREATE ROLE {name}{' LOGIN' if on_cluster else ''}", f"GRANT {name} TO {quoted}")
    anybody = targets.Target(target.url.set(username=None, password=None))
    # Without ON_ERROR_STOP psql goes on with the GRANT if another studio's user has created the role already.
    return NoPermissionError(
        expected=f"the role {name}, which has no right to password hashes: the SQL console runs statements in it",
        found=f"{user}: {found}",
        command=f"psql {targets.libpq_url(anybody)} "
        + " ".join(f"-c {shlex.quote(statement)}" for statement in statements),
        note="have an administrator of the server run it once",
    )


def _rights(driver: Any, name: str) -> tuple[Role, list[str], list[str]]:
    """The role; the statements that give it exactly its rights; and the secrets that it could reach now."""
    from psycopg import sql

    values = {"role": name}
    relations: dict[int, Relation] = {}
    has: dict[int, list[tuple[bool, bool, bool, bool]]] = {}
    secret_numbers: set[tuple[int, int]] = set()
    tables, granted = set(), set()
    for oid, identifier, table, is_table, ours, own, column, number, type_, *rights in driver.execute(_COLUMNS, values):
        relation = relations.setdefault(oid, Relation(identifier, table, own, []))
        relation.columns.append((column, type_, is_secret(column, table)))
        has.setdefault(oid, []).append(tuple(rights))
        if is_secret(column, table):
            secret_numbers.add((oid, number))
        if is_table:
            tables.add(oid)
        if ours:
            granted.add(oid)
    powerful = dict(driver.execute(_POWERFUL).fetchall())
    uses = driver.execute(_USES, (sorted(relations.keys() - tables),)).fetchall()
    hidden = _hidden(uses, secret_numbers, set(powerful))
    statements: list[str] = [row[0] for row in driver.execute(_OTHERS, values)]
    exposed: list[str] = []
    role = sql.Identifier(name).as_string()
    for oid, relation in relations.items():
        writable = oid in tables and relation.name not in bookkeeping.BOOKKEEPING_TABLES
        secret = bool(relation.secrets)
        # A row inserted into a table with secrets would contain one in clear text.
        wanted = [
            (not hide, writable and not hide, writable and not secret, writable)
            for _, _, is_hidden in relation.columns
            for hide in [is_hidden or oid in hidden]
        ]
        exposed += [
            f"{relation.identifier}.{column}"
            for (column, _, _), now, then in zip(relation.columns, has[oid], wanted, strict=True)
            if not then[0] and any(now[:3])
        ]
        if oid in granted and has[oid] != wanted:
            statements.append(f"REVOKE ALL ON {relation.identifier} FROM {role}")
            statements += _grants(relation, wanted, role)
    return Role(name, list(relations.values()), frozenset(powerful.values())), statements, exposed


def _grants(relation: Relation, wanted: list[tuple[bool, bool, bool, bool]], role: str) -> Iterable[str]:
    from psycopg import sql

    for n, right in enumerate(("SELECT", "UPDATE", "INSERT", "DELETE")):
        columns = [
            sql.Identifier(name).as_string()
            for (name, _, _), rights in zip(relation.columns, wanted, strict=True)
            if rights[n]
        ]
        if columns:
            some = f" ({', '.join(columns)})" if len(columns) < len(wanted) else ""
            yield f"GRANT {right}{some} ON {relation.identifier} TO {role}"


def _hidden(
    uses: list[tuple[int, int, int, bool, bool]], secrets: set[tuple[int, int]], powerful: set[int]
) -> set[int]:
    """The views that read a secret, directly or through another view, or call a function with its owner's rights."""
    having = {oid for oid, _ in secrets}
    hidden = {
        view
        for view, used, number, function, whole_rows in uses
        if (used in powerful if function else (used, number) in secrets or (whole_rows and used in having))
    }
    while more := {view for view, used, _, _, _ in uses if used in hidden} - hidden:
        hidden |= more
    return hidden
