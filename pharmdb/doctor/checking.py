"""The doctor command: runs every check and reports what it found and the command that fixes it. Read-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pharmdb import progress
from pharmdb.arguments import checked
from pharmdb.database import dialect, driver_errors, environments, postgresql_engines, servers, targets, transactions
from pharmdb.doctor import content, nodes, results, shards, structure, surroundings
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import CheckReport, Finding
from pharmdb.errors import LockedError, NodeDownError, NoPermissionError, PharmdbError, TornSchemaError


@checked
def check(database_url: str = "", *, thorough: bool = False) -> CheckReport:
    """Runs every check on a database, and writes nothing.

    In a database larger than servers.LARGE some checks read only a sample, and say which, unless `thorough` asks for
    a full check. A check that an earlier failure makes impossible is skipped. Raises ParameterError for an invalid URL.
    """
    target = targets.target(database_url)
    findings: list[Finding] = []
    try:
        with transactions.reading(target) as connection:
            findings.append(_answer(connection))
            whole = thorough or servers.size(connection) <= servers.LARGE
            context = Context(connection, target, environments.environment(connection), whole)
            for look in progress.counted(_CHECKS, "doctor", len(_CHECKS), " checks"):
                if _failed(findings, "row security"):
                    break
                if not any(look in needing and _failed(findings, what) for what, needing in _NEEDED.items()):
                    findings.extend(_guarded(look, context, findings))
    except PharmdbError as error:
        found = f"{type(error).__name__}: {error.found}"
        findings = [Finding("answers", results.FAIL, found, *_remedy(target, error))]
    except (sqlite3.DatabaseError, DBAPIError) as error:
        findings = [Finding("answers", results.FAIL, _words(error), "", _UNKNOWN)]
    findings += [
        surroundings.locks(target),
        surroundings.room(target),
        surroundings.newest_backup(target, thorough),
        surroundings.versions(),
    ]
    return CheckReport(str(target), tuple(_advised(target, finding) for finding in findings))


def _advised(target: targets.Target, finding: Finding) -> Finding:
    if finding.state != results.FAIL or finding.remedy or finding.note:
        return finding
    backup = targets.command(target, "pharmdb backup")
    return replace(finding, note=f"there is no backup to restore: correct it yourself, after {backup}")


def _answer(connection: Connection) -> Finding:
    if servers.is_standby(connection):
        note = "to write, set PHARMDB_URL to the primary server"
        return Finding("answers", results.WARN, "yes, as a standby server, which is read-only", note=note)
    pooled = postgresql_engines.is_pooled(connection)
    return Finding("answers", results.OK, "yes, through a connection pooler" if pooled else "yes")


def _failed(findings: list[Finding], check: str) -> bool:
    return any((finding.check, finding.state) == (check, results.FAIL) for finding in findings)


def _remedy(target: targets.Target, error: PharmdbError) -> tuple[str, str]:
    """The command and note for a database that can't be read: restore an SQLite file, if there is a backup."""
    if isinstance(error, LockedError):
        locks = surroundings.locks(target)
        return (locks.remedy, locks.note) if locks.remedy or locks.note else (error.command, error.note)
    return error.command, error.note


def _words(error: Exception) -> str:
    """What the database says, without the statement."""
    return (str(getattr(error, "orig", error)) or type(error).__name__).splitlines()[0]


# PostgreSQL's SQLSTATEs for a missing table and a missing column.
_MISSING = ("42P01", "42703")
# And for a damaged page of a table or of an index.
_DAMAGED = ("XX001", "XX002")
_UNKNOWN = "pharmdb does not know this error: fix what the database reports, then run the doctor again"


def _guarded(
    look: Callable[[Context], Iterator[Finding]], context: Context, before: list[Finding]
) -> Iterator[Finding]:
    """Runs a check. Damage can break any query: this check then fails, and the others still run.

    If, according to the findings `before`, the schema has drifted or a node is down, a check may need a table, a column
    or rows that are missing, and is skipped.
    """
    try:
        with dialect.of(context.connection).savepoint(context.connection):
            yield from look(context)
    except (sqlite3.DatabaseError, DBAPIError, NodeDownError, NoPermissionError) as error:
        known = error if isinstance(error, PharmdbError) else driver_errors.explain(context.target, error)
        torn, state = isinstance(known, TornSchemaError), getattr(getattr(error, "orig", None), "sqlstate", "")
        if _failed(before, "drift") and (known is None or torn or state in _MISSING):
            return
        if isinstance(known, NodeDownError) and _failed(before, "nodes"):
            return
        found = known.found if known else _words(error)
        if torn or state in _DAMAGED:
            # The advice of a TornSchemaError is to run the doctor.
            remedy, note = context.restore_content, ""
        else:
            remedy, note = _remedy(context.target, known) if known else ("", _UNKNOWN)
        # Who may read the tables need not see the nodes.
        unseen = isinstance(known, NoPermissionError) and look in _OF_NODES
        name = look.__name__.removeprefix("check_").replace("_", " ")
        yield Finding(name, results.WARN if unseen else results.FAIL, found, remedy, note)


_CHECKS: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    structure.check_environment,
    structure.check_row_security,
    nodes.check_nodes,
    structure.check_integrity,
    structure.check_foreign_keys,
    structure.check_revision,
    structure.check_drift,
    structure.check_constraints,
    structure.check_query_plans,
    content.check_seed,
    content.check_json_shapes,
    content.check_default_passwords,
    structure.check_journal_mode,
    structure.check_time_zone,
    shards.check_shards,
    structure.check_replica,
    structure.check_encoding,
    structure.check_triggers,
)


# The checks that read the rows of all users.
_OF_ALL_NODES = (
    structure.check_foreign_keys,
    content.check_seed,
    content.check_json_shapes,
    shards.check_shards,
)
_OF_NODES = (nodes.check_nodes, shards.check_shards)

# The checks that are useless or impossible unless the schema is at head.
_AT_HEAD = (
    structure.check_drift,
    structure.check_constraints,
    structure.check_query_plans,
    content.check_seed,
    content.check_json_shapes,
    content.check_default_passwords,
    shards.check_shards,
)
# The failed check that makes others useless or impossible; a node that hangs would keep each of them waiting.
_NEEDED = {"revision": _AT_HEAD, "nodes": _OF_ALL_NODES}
