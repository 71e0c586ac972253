"""Checks of the database itself: integrity, keys, revision, drift, constraints, query plans."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, select, text
from sqlalchemy.exc import DBAPIError as _DBAPIError
from sqlalchemy.exc import SAWarning

from pharmdb.database import environments, time_zone
from pharmdb.doctor import remedies, results, sampling
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import RevisionError
from pharmdb.learning import queries
from pharmdb.models import MODELS, DatasetOverride
from pharmdb.schema import drift, revisions


def check_environment(context: Context) -> Iterator[Finding]:
    remembered = environments.remembered_environment(context.connection)
    configured = environments.configured_environment()
    if remembered is None:
        yield Finding("environment", results.WARN, "the database remembers none", "pharmdb migrate")
    elif "production" in (remembered, configured) and remembered != configured:
        found = f"the database says {remembered}, PHARMDB_ENV says {configured}; production counts"
        yield Finding("environment", results.WARN, found, f"export PHARMDB_ENV={remembered}")
    else:
        yield Finding("environment", results.OK, remembered)


def check_integrity(context: Context) -> Iterator[Finding]:
    looks: list[sampling.Rows] = []
    skipped: list[str] = []
    if not context.is_sqlite:
        faults = list(_amcheck(context, skipped))
    elif context.whole:
        faults = [row[0] for row in context.connection.exec_driver_sql("PRAGMA integrity_check")]
    else:
        faults, looks, skipped = sampling.faults(context.connection)
    # Rows that break a check are the matter of another check.
    faults = [line for line in faults if line != "ok" and not line.startswith("CHECK constraint failed")]
    if faults:
        remedy = remedies.make_anew(context.target, damaged=True) if context.is_sqlite else context.bring_back
        yield Finding("integrity", results.FAIL, "; ".join(faults[: sampling.EXAMPLES]), remedy)
    else:
        yield results.well("integrity", "nothing wrong found", looks, skipped)


def _amcheck(context: Context, skipped: list[str]) -> Iterator[str]:
    """Looks into our indexes where the extension is installed and may be used; without it there is nothing to ask.

    Of a large database the indexes of large tables are skipped: the extension knows no part of an index.
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
        except _DBAPIError as error:
            yield str(error.orig).splitlines()[0]


def check_foreign_keys(context: Context) -> Iterator[Finding]:
    if context.is_sqlite:
        enforced = context.connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
        yield Finding(
            "foreign keys", *((results.OK, "enforced") if enforced else (results.FAIL, "not enforced", context.rebuild))
        )
    else:
        off = list(context.connection.exec_driver_sql(_DISABLED).scalars())
        if off:
            statement = "; ".join(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in off)
            yield Finding(
                "foreign keys",
                results.FAIL,
                f"not enforced in {', '.join(off)}",
                remedies.sql_command(context.target, statement),
            )
        else:
            yield Finding("foreign keys", results.OK, "enforced")
    orphans = sampling.orphans if context.whole else sampling.orphans_by_index
    found = orphans(context.connection)
    if found.count:
        shown = ", ".join(f"{table} {id_}" for table, id_ in found.examples)
        yield Finding("orphans", results.FAIL, f"{found.count} rows without their user: {shown}", context.bring_back)
    else:
        yield results.well(
            "orphans", "none" if context.whole else "none, by the indexes on the keys", skipped=found.skipped
        )


# Tables whose foreign keys somebody has switched off.
_DISABLED = """
    SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
     WHERE tgisinternal AND tgenabled IN ('D', 'R') AND relnamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1
"""


def check_revision(context: Context) -> Iterator[Finding]:
    current = revisions.current_revision(context.connection)
    try:
        newest = revisions.head()
        revisions.require_known(context.connection, context.target)
    except RevisionError as error:
        remedy = error.next.replace("   then ", " && ")
        if "git pull" in remedy:
            remedy = "git pull" if context.environment == "production" else "pharmdb reset"
        yield Finding("revision", results.FAIL, error.found, remedy)
        return
    if current != newest:
        yield Finding("revision", results.FAIL, f"{current or 'none'}, behind {newest}", "pharmdb migrate")
    else:
        yield Finding("revision", results.OK, f"{current}, the newest")
    edited = revisions.edited_revisions(context.connection)
    if edited:
        found = f"applied, and edited since: {', '.join(edited)}"
        remedy = "git checkout -- migrations/versions" if context.environment == "production" else "pharmdb reset"
        yield Finding("revision files", results.FAIL, found, remedy)
    else:
        yield Finding("revision files", results.OK, "as they were applied")


def check_drift(context: Context) -> Iterator[Finding]:
    with warnings.catch_warnings():
        # SQLAlchemy can't read a constraint that was never validated; the check of the constraints tells of it.
        warnings.simplefilter("ignore", SAWarning)
        found = [
            f"{kind} {table}.{name}: expected {expected}, found {actual}"
            for kind, table, name, expected, actual in drift.differences(context.connection)
        ]
    if found:
        yield Finding("drift", results.FAIL, "; ".join(found), context.rebuild)
    else:
        yield Finding("drift", results.OK, "none")


def check_constraints(context: Context) -> Iterator[Finding]:
    """Rows that break a check. PostgreSQL vouches for a validated one; SQLite's are looked at, all in one pass."""
    broken: list[str] = []
    looks: list[sampling.Rows] = []
    for model in MODELS:
        checks = _unproven(context, model)
        if not checks:
            continue
        name, connection = model.__tablename__, context.connection
        rows = sampling.Rows(name) if context.whole else sampling.all_or_some(connection, name)
        looks.append(rows)
        rules = {str(check.name): f"NOT ({check.sqltext})" for check in checks}
        if not sampling.breaking(connection, rows, " OR ".join(rules.values()))[0]:
            continue
        for rule, condition in rules.items():
            count, ids = sampling.breaking(connection, rows, condition)
            if count:
                broken.append(f"{rule}: {count} rows of {name}, as id {', '.join(map(str, ids))}")
    unproven = [] if context.is_sqlite else list(context.connection.exec_driver_sql(_UNPROVEN))
    if broken:
        parts = filter(None, (*broken, sampling.said(looks)))
        yield Finding("constraints", results.FAIL, "; ".join(parts), context.bring_back)
    elif unproven:
        names = ", ".join(f"{table}.{name}" for table, name, _ in unproven)
        statement = "; ".join(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}" for table, name, _ in unproven)
        asked = all(is_asked for _, _, is_asked in unproven)
        remedy = remedies.sql_command(context.target, statement) if asked else context.rebuild
        yield Finding("constraints", results.FAIL, f"{'not validated' if asked else 'not enforced'}: {names}", remedy)
    else:
        yield results.well("constraints", "no row breaks one", looks)


# Constraints that PostgreSQL doesn't vouch for; since version 18 there are some that it doesn't even ask.
_UNPROVEN = """
    SELECT conrelid::regclass::text, quote_ident(conname),
           coalesce(to_jsonb(pg_constraint) ->> 'conenforced', 'true') = 'true'
      FROM pg_constraint
     WHERE NOT convalidated AND contype IN ('c', 'f') AND connamespace = quote_ident(current_schema())::regnamespace
     ORDER BY 1, 2
"""


def _unproven(context: Context, model: Any) -> list[CheckConstraint]:
    checks = drift.active_checks(model.__table__, context.connection)
    if context.is_sqlite:
        return checks
    valid = {
        row[0]
        for row in context.connection.exec_driver_sql(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND convalidated "
            "AND connamespace = quote_ident(current_schema())::regnamespace"
        )
    }
    return [check for check in checks if check.name not in valid]


def check_query_plans(context: Context) -> Iterator[Finding]:
    """Whether each documented query can use its index; a small table may be read whole all the same."""
    at = datetime.now(UTC)
    documented: dict[str, Any] = {
        "uq_users_email": queries.user_by_email("demo@pharmtrainer.test"),
        "ix_attempts_user_id_created_at": queries.attempt_history(1),
        "uq_progress_by_tag_user_id_module_course_block_tag": queries.progress_by_key(1, "m", "b", "t"),
        "ix_spaced_repetition_items_user_id_next_review_at": queries.due_reviews(1, at),
        "ix_dataset_overrides_is_active": select(DatasetOverride.id).where(DatasetOverride.is_active),
        "ix_dataset_overrides_created_by_id": select(DatasetOverride.id).where(DatasetOverride.created_by_id == 1),
    }
    missed = []
    for index, statement in documented.items():
        # SQLite names the index of a unique constraint itself.
        table = statement.get_final_froms()[0].name
        name = f"sqlite_autoindex_{table}_" if context.is_sqlite and index.startswith("uq_") else index
        if name not in _plan(context, statement):
            missed.append(index)
    if not context.is_sqlite:
        context.connection.exec_driver_sql("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_sort TO DEFAULT")
    if missed:
        yield Finding("query plans", results.FAIL, f"a documented query can't use {', '.join(missed)}", context.rebuild)
    else:
        yield Finding(
            "query plans", results.OK, f"{len(documented)} of {len(documented)} documented queries have their index"
        )


def _plan(context: Context, statement: Any) -> str:
    if not context.is_sqlite:
        # An empty table costs nothing in any way; so the ways round the index are closed.
        context.connection.exec_driver_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    compiled = statement.compile(dialect=context.connection.dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN " if context.is_sqlite else "EXPLAIN "
    return "\n".join(str(row[-1]) for row in context.connection.exec_driver_sql(explain + str(compiled)))


def check_journal_mode(context: Context) -> Iterator[Finding]:
    mode = context.connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() if context.is_sqlite else "wal"
    if mode == "wal":
        yield Finding("journal mode", results.OK, "readers and writers don't wait for each other")
    else:
        yield Finding(
            "journal mode", results.WARN, f"{mode}: readers and writers wait for each other", "pharmdb migrate"
        )


def check_time_zone(context: Context) -> Iterator[Finding]:
    """Whether a session of any program is in UTC: by the database's setting, and by no role's other one."""
    if context.is_sqlite:
        yield Finding("time zone", results.OK, "UTC, in every time")
        return
    settings = time_zone.settings(context.connection)
    wrong = [each for each in settings if not time_zone.is_utc(each.zone)]
    session = str(context.connection.exec_driver_sql("SHOW timezone").scalar_one())
    if not wrong and time_zone.is_utc(session):
        yield Finding("time zone", results.OK, "UTC for every session")
        return
    found = [f"role {each.role}: {each.zone}" if each.role else f"database: {each.zone or 'not set'}" for each in wrong]
    if not time_zone.is_utc(session):
        # pharmdb asks for UTC itself: a pool in between gives sessions of before.
        found.append(f"this session: {session}")
    statement = "; ".join(each.statement for each in wrong or settings[:1])
    yield Finding("time zone", results.WARN, "; ".join(found), remedies.sql_command(context.target, statement))
