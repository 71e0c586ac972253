"""The doctor: runs every check, says what it found and the command that fixes it. Read-only."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from pharmdb.database import driver_errors, environments, servers, targets, transactions
from pharmdb.doctor import content, remedies, results, structure, surroundings
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import CheckReport, Finding
from pharmdb.errors import LockedError, PharmdbError, RevisionError

# Where a remedy names a command of ours.
_COMMAND = re.compile(r"(^|&& |: )pharmdb [a-z]+\b(?! --database-url)")


def check(database_url: str = "", *, thorough: bool = False) -> CheckReport:
    """Looks at everything that can be wrong with a database, and writes nothing.

    Of a database larger than servers.LARGE it looks at a part, and says at which, unless it is to be `thorough`.
    A check that can't be made because of an earlier one is left out. Raises ParameterError for an unusable URL.
    """
    target = targets.target(database_url)
    findings: list[Finding] = []
    try:
        with transactions.reading(target) as connection:
            findings.append(Finding("answers", results.OK, "yes"))
            whole = thorough or servers.size(connection) <= servers.LARGE
            context = Context(connection, target, environments.environment(connection), whole)
            for look in _CHECKS:
                if look not in _AT_HEAD or not _failed(findings, "revision"):
                    findings.extend(_guarded(look, context, drifted=_failed(findings, "drift")))
    except PharmdbError as error:
        findings = [Finding("answers", results.FAIL, f"{type(error).__name__}: {error.found}", _mend(target, error))]
    findings += [
        surroundings.locks(target),
        surroundings.room(target),
        surroundings.newest_backup(target, thorough),
        surroundings.versions(),
    ]
    options = targets.command(target, "")
    addressed = (
        replace(finding, remedy=_COMMAND.sub(lambda command: command.group() + options, finding.remedy))
        for finding in findings
    )
    return CheckReport(str(target), tuple(addressed))


def _failed(findings: list[Finding], check: str) -> bool:
    return any((finding.check, finding.state) == (check, results.FAIL) for finding in findings)


def _mend(target: targets.Target, error: PharmdbError) -> str:
    """What makes a database answer: a file comes back from a backup, if there is one; else the error knows."""
    if isinstance(error, LockedError):
        return surroundings.locks(target).remedy or error.next
    damaged = "malformed" in error.found or "not a database" in error.found
    if target.is_sqlite and (damaged or error.found.startswith("no file ")):
        return remedies.make_anew(target, damaged)
    if error.next.startswith("createdb "):
        return f"createdb --maintenance-db={remedies.libpq_url(target, 'postgres')} {shlex.quote(target.name)}"
    # What stands behind three spaces is for a person.
    return error.next.partition("   ")[0]


# PostgreSQL's codes for a table and a column that there isn't.
_MISSING = ("42P01", "42703")


def _guarded(look: Callable[[Context], Iterator[Finding]], context: Context, *, drifted: bool) -> Iterator[Finding]:
    """A damaged database can break any query: then this check fails, and the others are still made.

    Where the schema has drifted a check may lack what it asks for, and is left out.
    """
    savepoint = None if context.is_sqlite else context.connection.begin_nested()
    try:
        yield from look(context)
    except (sqlite3.DatabaseError, DBAPIError) as error:
        if savepoint is not None:
            savepoint.rollback()
        known = driver_errors.explain(context.target, error)
        if isinstance(known, RevisionError):
            # A table that isn't there; its advice is to ask the doctor.
            known = None
        if drifted and (known is None or getattr(getattr(error, "orig", None), "sqlstate", "") in _MISSING):
            return
        found = known.found if known else str(getattr(error, "orig", error)).splitlines()[0]
        remedy = _mend(context.target, known) if known else context.bring_back
        yield Finding(look.__name__.removeprefix("check_").replace("_", " "), results.FAIL, found, remedy)


_CHECKS: tuple[Callable[[Context], Iterator[Finding]], ...] = (
    structure.check_environment,
    structure.check_integrity,
    structure.check_foreign_keys,
    structure.check_revision,
    structure.check_drift,
    structure.check_constraints,
    structure.check_query_plans,
    content.check_seed,
    content.check_default_passwords,
    structure.check_journal_mode,
    structure.check_time_zone,
)


# What makes no sense, or can't be asked, before the schema is what the code expects.
_AT_HEAD = (
    structure.check_drift,
    structure.check_constraints,
    structure.check_query_plans,
    content.check_seed,
    content.check_default_passwords,
)
