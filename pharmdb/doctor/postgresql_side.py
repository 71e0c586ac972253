"""The doctor's checks that are specific to PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import CheckConstraint, Connection, text
from sqlalchemy.exc import DBAPIError

from pharmdb.backups import manifests
from pharmdb.database import dialect, placements, targets, time_zone, transactions
from pharmdb.database.lock_holders import Holder
from pharmdb.doctor import orphans, remedies, sampling, standbys
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.doctor.side import Faults, Side
from pharmdb.errors import PharmdbError


class PostgreSQLSide(Side):
    def faults(self, context: Context) -> Faults:
        skipped: list[str] = []
        return Faults(list(_amcheck(context, skipped)), [], skipped)

    def repair_command(self, context: Context) -> str:
        return context.restore_content

    def unenforced_keys(self, context: Context) -> tuple[str, str] | None:
        off = list(context.connection.exec_driver_sql(_DISABLED).scalars())
        if not off:
            return None
        statement = "; ".join(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in off)
        return f"not enforced in {', '.join(off)}", remedies.sql_command(context.target, statement)

    def orphans(self, connection: Connection) -> orphans.Orphans:
        condition = "NOT EXISTS (SELECT FROM users WHERE users.id = looked.{})"
        found = [
            (table, *sampling.breaking(connection, sampling.Rows(table), condition.format(column)))
            for table, column in orphans.references(connection)
        ]
        examples = [(table, id_) for table, _, ids in found for id_ in ids]
        return orphans.Orphans(sum(number for _, number, _ in found), examples[: sampling.EXAMPLES])

    def unproven_checks(self, connection: Connection, checks: list[CheckConstraint]) -> list[CheckConstraint]:
        valid = set(connection.exec_driver_sql(_VALID_CHECKS).scalars())
        return [check for check in checks if check.name not in valid]

    def unproven_constraints(self, context: Context) -> tuple[str, str] | None:
        unproven = list(context.connection.exec_driver_sql(_UNPROVEN))
        if not unproven:
            return None
        names = ", ".join(f"{table}.{name}" for table, name, _ in unproven)
        statement = "; ".join(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}" for table, name, _ in unproven)
        if all(enforced for _, _, enforced in unproven):
            return f"not validated: {names}", remedies.sql_command(context.target, statement)
        return f"not enforced: {names}", context.rebuild

    def hidden_rows(self, context: Context) -> tuple[str, str, str] | None:
        tables = context.connection.exec_driver_sql(_HIDING).all()
        if not tables:
            return None
        found = f"row security hides rows of {', '.join(table for table, _ in tables)}"
        # The owner is not subject to row security that isn't forced.
        end = "; ".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" for table, _ in tables)
        if all(owned for _, owned in tables):
            return found, remedies.sql_command(context.target, end), ""
        return found, "", "run pharmdb as the owner of the tables, who sees every row"

    def index_name(self, index: str, table: str) -> str:
        return index

    def plan(self, connection: Connection, statement: Any) -> str:
        table = statement.get_final_froms()[0].name
        if table in placements.managed(connection):
            # Citus passes no planner settings on to its nodes, so a small table may be read without its index; and
            # after the EXPLAIN of a table on the coordinator it refuses other queries of the same transaction.
            return "\n".join(connection.scalars(text(_USABLE), {"table": table}))
        compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        # For an empty table every plan is free, so the alternatives to the index are disabled.
        with dialect.of(connection).planning_without(connection, "enable_seqscan", "enable_sort"):
            return "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}").scalars())

    def journal_mode(self, connection: Connection) -> str:
        return "wal"

    def other_zones(self, context: Context) -> tuple[str, str] | None:
        settings = time_zone.settings(context.connection)
        wrong = [each for each in settings if not time_zone.is_utc(each.zone)]
        found = [f"role {one.role}: {one.zone}" if one.role else f"database: {one.zone or 'not set'}" for one in wrong]
        session = str(context.connection.exec_driver_sql("SHOW timezone").scalar_one())
        if not time_zone.is_utc(session):
            # pharmdb asks for UTC itself; a connection pool in between may return an older session.
            found.append(f"this session: {session}")
        if not found:
            return None
        statement = "; ".join(each.statement for each in wrong or settings[:1])
        return "; ".join(found), remedies.sql_command(context.target, statement)

    def replica(self, context: Context) -> Finding | None:
        return standbys.look(context)

    def is_locked(self, target: targets.Target) -> bool:
        try:
            with transactions.watching(target) as connection:
                return bool(connection.exec_driver_sql(_BLOCKERS).scalar_one())
        except PharmdbError:
            return False

    def end(self, target: targets.Target, holder: Holder) -> str:
        if holder.prepared:
            gid = holder.prepared.replace("'", "''")
            return remedies.sql_command(target, f"ROLLBACK PREPARED '{gid}'")
        return remedies.sql_command(target, f"SELECT pg_terminate_backend({holder.pid})")

    def folder(self, target: targets.Target) -> Path:
        return manifests.folder()


def _amcheck(context: Context, skipped: list[str]) -> Iterator[str]:
    """Checks the indexes with the extension amcheck, if it is installed and may be used.

    In a large database the indexes of large tables are skipped: the extension can't check a part of an index.
    """
    connection = context.connection
    usable = connection.scalar(
        text(
            "SELECT has_function_privilege(pg_proc.oid, 'EXECUTE') FROM pg_proc JOIN pg_depend ON objid = pg_proc.oid "
            "JOIN pg_extension ON refobjid = pg_extension.oid WHERE extname = 'amcheck' AND deptype = 'e' "
            "AND proname = 'bt_index_check' AND pronargs = 1"
        )
    )
    if not usable:
        return
    indexes = connection.execute(
        text(
            "SELECT pg_class.oid::regclass::text, indrelid::regclass::text FROM pg_class "
            "JOIN pg_am ON pg_am.oid = relam JOIN pg_index ON indexrelid = pg_class.oid WHERE relkind = 'i' "
            "AND amname = 'btree' AND relnamespace = quote_ident(current_schema())::regnamespace ORDER BY 1"
        )
    ).all()
    if not context.whole:
        skipped += sorted({table for _, table in indexes if sampling.has_many(connection, table)})
    for name, table in indexes:
        if table in skipped:
            continue
        try:
            with connection.begin_nested():
                connection.execute(text("SELECT bt_index_check(CAST(:name AS regclass))"), {"name": name})
        except DBAPIError as error:
            yield str(error.orig).splitlines()[0]


_USABLE = """
    SELECT indexrelid::regclass::text FROM pg_index
     WHERE indrelid = CAST(:table AS regclass) AND indisvalid AND indpred IS NULL
"""
# Tables whose foreign-key triggers are disabled.
_DISABLED = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE tgisinternal AND tgenabled IN ('D', 'R') AND relnamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1
"""
# Our tables of which this role sees only what a policy allows, and whether it owns them.
_HIDING = """
    SELECT oid::regclass::text, pg_has_role(relowner, 'USAGE') FROM pg_class
     WHERE relkind = 'r' AND relnamespace = quote_ident(current_schema())::regnamespace AND row_security_active(oid)
     ORDER BY 1
"""
_VALID_CHECKS = """
    SELECT conname FROM pg_constraint
     WHERE contype = 'c' AND convalidated AND connamespace = quote_ident(current_schema())::regnamespace
"""
# Constraints that are not validated; since version 18 some of them may not be enforced at all.
_UNPROVEN = """
    SELECT conrelid::regclass::text, quote_ident(conname),
           coalesce(to_jsonb(pg_constraint) ->> 'conenforced', 'true') = 'true'
      FROM pg_constraint
     WHERE NOT convalidated AND contype IN ('c', 'f') AND connamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1, 2
"""
# Locks that a writer or a schema change would wait for: held by an idle transaction, or already waited for.
_BLOCKERS = """
    SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND (NOT granted OR (state LIKE 'idle in transaction%%'
                           AND locktype IN ('relation', 'advisory')
                           AND mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                                        'RowExclusiveLock'))))
        OR EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
"""
