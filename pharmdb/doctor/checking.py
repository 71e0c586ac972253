"""The doctor: runs every check, says what it found and the command that fixes it. Read-only."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

from sqlalchemy.exc import DBAPIError

from pharmdb import progress
from pharmdb.database import dialect, driver_errors, environments, servers, targets, transactions
from pharmdb.doctor import content, remedies, results, structure, surroundings
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import CheckReport, Finding
from pharmdb.errors import DamagedError, LockedError, MissingFileError, PharmdbError, TornSchemaError


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
            for look in progress.counted(_CHECKS, "doctor", len(_CHECKS), " checks"):
                if look not in _AT_HEAD or not _failed(findings, "revision"):
                    findings.extend(_guarded(look, context, drifted=_failed(findings, "drift")))
    except PharmdbError as error:
        told = f"{type(error).__name__}: {error.found}"
        findings = [Finding("answers", results.FAIL, told, *_mend(target, error))]
    findings += [
        surroundings.locks(target),
        surroundings.room(target),
        surroundings.newest_backup(target, thorough),
        surroundings.versions(),
    ]
    return CheckReport(str(target), tuple(findings))


def _failed(findings: list[Finding], check: str) -> bool:
    return any((finding.check, finding.state) == (check, results.FAIL) for finding in findings)


def _mend(target: targets.Target, error: PharmdbError) -> tuple[str, str]:
    """Command and note that make a database answer: a file comes back from a backup, if there is one."""
    if isinstance(error, LockedError):
        locks = surroundings.locks(target)
        return (locks.remedy, locks.note) if locks.remedy or locks.note else (error.command, error.note)
    damaged = isinstance(error, DamagedError)
    # Where the folder is missing, too, the error knows what comes first.
    if target.is_sqlite and (damaged or (isinstance(error, MissingFileError) and target.path.parent.exists())):
        return remedies.make_anew(target, damaged), ""
    return error.command, error.note


# PostgreSQL's codes for a table and a column that there isn't.
_MISSING = ("42P01", "42703")


def _guarded(look: Callable[[Context], Iterator[Finding]], context: Context, *, drifted: bool) -> Iterator[Finding]:
    """A damaged database can break any query: then this check fails, and the others are still made.

    Where the schema has drifted a check may lack what it asks for, and is left out.
    """
    try:
        with dialect.of(context.connection).savepoint(context.connection):
            yield from look(context)
    except (sqlite3.DatabaseError, DBAPIError) as error:
        known = driver_errors.explain(context.target, error)
        if isinstance(known, TornSchemaError):
            # A table that isn't there; its advice is to ask the doctor.
            known = None
        if drifted and (known is None or getattr(getattr(error, "orig", None), "sqlstate", "") in _MISSING):
            return
        found = known.found if known else str(getattr(error, "orig", error)).splitlines()[0]
        remedy, note = _mend(context.target, known) if known else (context.bring_back, "")
        yield Finding(look.__name__.removeprefix("check_").replace("_", " "), results.FAIL, found, remedy, note)


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
