"""Checks of the database itself: integrity, keys, revision, drift, constraints, query plans."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import SAWarning

from pharmdb.database import environments, storable, triggers
from pharmdb.doctor import orphans, results, sampling, sides
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import Finding
from pharmdb.errors import RevisionError
from pharmdb.learning import queries
from pharmdb.models import MODELS, DatasetOverride
from pharmdb.schema import drift, ownership, revisions


def check_environment(context: Context) -> Iterator[Finding]:
    remembered = environments.remembered_environment(context.connection)
    configured = environments.configured_environment()
    if remembered is None:
        yield Finding("environment", results.WARN, "not recorded in the database", context.command("migrate"))
    elif "production" in (remembered, configured) and remembered != configured:
        found = f"the database says {remembered}, PHARMDB_ENV says {configured}; production counts"
        yield Finding("environment", results.WARN, found, f"export PHARMDB_ENV={remembered}")
    else:
        yield Finding("environment", results.OK, remembered)


def check_integrity(context: Context) -> Iterator[Finding]:
    side = sides.of(context.target)
    faults, checked, skipped = side.faults(context)
    if faults:
        found = "; ".join(faults[: sampling.EXAMPLES])
        yield Finding("integrity", results.FAIL, found, side.repair_command(context))
    else:
        yield results.passed(context.target, "integrity", "nothing wrong found", checked, skipped)


def check_row_security(context: Context) -> Iterator[Finding]:
    """Only where rows are hidden: then no other check of the content is true, and no backup can be taken."""
    if hidden := sides.of(context.target).hidden_rows(context):
        yield Finding("row security", results.FAIL, *hidden)


def check_foreign_keys(context: Context) -> Iterator[Finding]:
    side = sides.of(context.target)
    off = side.unenforced_keys(context)
    yield Finding("foreign keys", *((results.FAIL, *off) if off else (results.OK, "enforced")))
    found = (side.orphans if context.whole else orphans.by_index)(context.connection)
    if found.count:
        shown = ", ".join(f"{table} {id_}" for table, id_ in found.examples)
        yield Finding(
            "orphans", results.FAIL, f"{found.count} rows without their user: {shown}", context.restore_content
        )
    else:
        yield results.passed(
            context.target,
            "orphans",
            "none" if context.whole else "none, according to the indexes on the keys",
            skipped=found.skipped,
        )


def check_revision(context: Context) -> Iterator[Finding]:
    current = ", ".join(revisions.current_heads(context.connection))
    try:
        newest = revisions.head(target=context.target)
        revisions.require_known(context.connection, context.target)
    except RevisionError as error:
        yield Finding("revision", results.FAIL, error.found, error.command, error.note)
        return
    if current != newest:
        yield Finding("revision", results.FAIL, f"{current or 'none'}, behind {newest}", context.command("migrate"))
    else:
        yield Finding("revision", results.OK, f"{current}, the newest")
    edited = revisions.edited_revisions(context.connection)
    if edited:
        found = f"edited after they were applied: {', '.join(edited)}"
        remedy = ownership.reset_command(context.connection, context.target) or "git checkout -- migrations/versions"
        yield Finding("revision files", results.FAIL, found, remedy)
    else:
        yield Finding("revision files", results.OK, "unchanged since they were applied")


def check_drift(context: Context) -> Iterator[Finding]:
    with warnings.catch_warnings():
        # SQLAlchemy warns about constraints that were never validated; check_constraints reports them.
        warnings.simplefilter("ignore", SAWarning)
        differences = drift.differences(context.connection)
    found = "; ".join(
        f"{kind} {table}.{name}: expected {expected}, found {actual}"
        for kind, table, name, expected, actual in differences
    )
    if differences and all((kind, expected) == ("table", drift.NONE) for kind, _, _, expected, _ in differences):
        # A reset would drop it.
        note = "another program's table: move it to a schema or a database of its own"
        yield Finding("drift", results.WARN, found, note=note)
    elif found:
        yield Finding("drift", results.FAIL, found, context.rebuild)
    else:
        yield Finding("drift", results.OK, "none")


def check_constraints(context: Context) -> Iterator[Finding]:
    """Rows that violate a CHECK constraint. PostgreSQL guarantees validated ones; SQLite's are tested in one pass."""
    broken: list[str] = []
    checked: list[sampling.Rows] = []
    side = sides.of(context.target)
    for model in MODELS:
        own: Any = model.__table__
        checks = side.unproven_checks(context.connection, drift.active_checks(own, context.connection))
        if not checks:
            continue
        name, connection = model.__tablename__, context.connection
        rows = sampling.Rows(name) if context.whole else sampling.all_or_some(connection, name)
        checked.append(rows)
        rules = {str(check.name): f"NOT ({check.sqltext})" for check in checks}
        if not sampling.breaking(connection, rows, " OR ".join(rules.values()))[0]:
            continue
        for rule, condition in rules.items():
            count, ids = sampling.breaking(connection, rows, condition)
            if count:
                broken.append(f"{rule}: {count} rows of {name}, such as id {', '.join(map(str, ids))}")
    unproven = side.unproven_constraints(context)
    if broken:
        parts = filter(None, (*broken, sampling.describe(checked)))
        yield Finding("constraints", results.FAIL, "; ".join(parts), context.restore_content)
    elif unproven:
        yield Finding("constraints", results.FAIL, *unproven)
    else:
        yield results.passed(context.target, "constraints", "no row violates one", checked)


def check_query_plans(context: Context) -> Iterator[Finding]:
    """Whether each documented query can use its index; for a small table the planner may still prefer a scan."""
    at = datetime.now(UTC)
    documented: dict[str, Any] = {
        "uq_users_email": queries.user_by_email.statement(email="demo@pharmtrainer.test"),
        "ix_attempts_user_id_created_at": queries.attempt_history.statement(user_id=1),
        "uq_progress_by_tag_user_id_module_course_block_tag": queries.progress_by_key.statement(
            user_id=1, module="m", course_block="b", tag="t"
        ),
        "ix_spaced_repetition_items_user_id_next_review_at": queries.due_reviews.statement(user_id=1, at=at),
        "ix_dataset_overrides_is_active": select(DatasetOverride.id).where(DatasetOverride.is_active),
        "ix_dataset_overrides_created_by_id": select(DatasetOverride.id).where(DatasetOverride.created_by_id == 1),
    }
    side = sides.of(context.target)
    missed = []
    for index, statement in documented.items():
        name = side.index_name(index, statement.get_final_froms()[0].name)
        if name not in side.plan(context.connection, statement):
            missed.append(index)
    if missed:
        yield Finding("query plans", results.FAIL, f"a documented query can't use {', '.join(missed)}", context.rebuild)
    else:
        yield Finding(
            "query plans", results.OK, f"{len(documented)} of {len(documented)} documented queries can use their index"
        )


def check_journal_mode(context: Context) -> Iterator[Finding]:
    mode = sides.of(context.target).journal_mode(context.connection)
    if mode == "wal":
        yield Finding("journal mode", results.OK, "readers and writers don't wait for each other")
    else:
        yield Finding(
            "journal mode", results.WARN, f"{mode}: readers and writers wait for each other", context.command("migrate")
        )


def check_triggers(context: Context) -> Iterator[Finding]:
    """A warning for triggers and rules, which are not pharmdb's and may drop or change what it writes."""
    if found := triggers.names(context.connection):
        note = "what they drop or change is not what a command reports: check each"
        yield Finding("triggers", results.WARN, ", ".join(found), note=note)


def check_encoding(context: Context) -> Iterator[Finding]:
    """A warning for a PostgreSQL database that can't store every character."""
    encoding = storable.limits(context.connection).encoding
    if encoding:
        note = "create a database with ENCODING 'UTF8' TEMPLATE template0, and restore a backup into it"
        yield Finding("encoding", results.WARN, f"{encoding}, which lacks characters of UTF-8", note=note)


def check_time_zone(context: Context) -> Iterator[Finding]:
    """Whether the sessions of all programs are in UTC, whatever the settings of the database and of its roles."""
    other = sides.of(context.target).other_zones(context)
    yield Finding("time zone", *((results.WARN, *other) if other else (results.OK, "UTC for every session")))


def check_replica(context: Context) -> Iterator[Finding]:
    """Only a standby has this check."""
    found = sides.of(context.target).replica(context)
    if found is not None:
        yield found
