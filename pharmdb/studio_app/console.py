"""The SQL console: read-only unless unlocked, one statement at a time, cancellable, with query plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from pharmdb import settings
from pharmdb.accounts import administrators
from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError, PharmdbError
from pharmdb.studio_app import parameters, postgresql_console, rights, save_log, sessions, sqlite_console
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.statement_log import StatementLog, mask_hashes
from pharmdb.studio_app.statements import ROWS_SHOWN, Result, Typed
from pharmdb.studio_app.tokens import tokens_of

LONGEST_SECONDS = 600


def run(
    target: targets.Target,
    statement: str,
    statement_log: StatementLog,
    *,
    cancel: Cancel,
    seconds: float = 30,
    unlocked: bool = False,
    plan: bool = False,
    trial: bool = False,
    expected: int | None = None,
    values: Mapping[str, str | None] | None = None,
    most: int = ROWS_SHOWN,
    log: Path | None = None,
) -> Result:
    """Runs one statement, or with `plan` returns its query plan.

    With `trial` a statement that writes is rolled back, and only says how many rows it would change. If `expected` is
    given, it is committed only if it changes exactly so many. `values`: the values of its parameters, by name; None is
    NULL. At most `most` rows are returned.

    Raises ParameterError if it is not a single statement, ProtectedError if it is not allowed, PharmdbError if it was
    cancelled, timed out or was refused by the database.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ParameterError(
            expected=f"a time-out of 1 to {LONGEST_SECONDS} s", found=f"{seconds:g} s", note="change the time-out"
        )
    sqlite = target.is_sqlite
    first = rights.check(statement, sqlite=sqlite, unlocked=unlocked)
    tokens = tokens_of(statement, sqlite=sqlite)
    while tokens[-1].kind == "end":
        tokens.pop()
    words = {token.name.upper() for token in tokens if token.kind == "word"}
    writes = (
        unlocked and not plan and (first in rights.WRITING or (first == "WITH" and bool(words & set(rights.WRITING))))
    )
    statement = statement[tokens[0].start : tokens[-1].end]
    tokens = tokens_of(statement, sqlite=sqlite)
    bound = parameters.given(statement, tokens, values or {})
    typed = Typed(target, statement, tokens, first, bound, most)
    given = ", ".join(f"{name} = {'NULL' if value is None else repr(value)}" for name, value in bound.items())
    logged = f"{statement} -- {given}" if given else statement
    with _opened(target, writes, trial=trial) as connection:
        sessions.prepare(connection)
        before = administrators.listed(connection) if writes and administrators.are_kept(connection) else []
        driver: Any = connection.connection.dbapi_connection
        began = time.perf_counter()
        try:
            with cancel.over(connection, seconds):
                result = _RUN[target.dialect.name](driver, typed, plan=plan, writes=writes, seconds=seconds)
        except PharmdbError as error:
            statement_log.add(statement, bound, None, (time.perf_counter() - began) * 1000, error.found)
            raise
        except Exception as error:
            found = str(error).strip()
            statement_log.add(statement, bound, None, (time.perf_counter() - began) * 1000, found.partition("\n")[0])
            raise PharmdbError(
                expected="a valid statement", found=mask_hashes(found), note="correct the statement"
            ) from error
        ms = (time.perf_counter() - began) * 1000
        # Locked: another statement may be deleting the one that this one leaves.
        if before and not administrators.locked(connection):
            refusal = administrators.refusal(target, before)
            statement_log.add(statement, bound, None, ms, refusal.found)
            raise refusal
        if writes and not trial:
            if expected is not None and result.changed != expected:
                raise PharmdbError(
                    expected=f"to change {expected:,} rows, as in the trial",
                    found=f"the statement would now change {result.changed or 0:,} rows",
                    note="run it again",
                )
            done = save_log.log_statement(target, logged, result.changed, log or settings.statement_log())
    warning = done() if writes and not trial else ""
    statement_log.add(statement, bound, len(result.rows) if result.columns else result.changed, ms)
    return replace(result, ms=round(ms, 2), warning=warning, trial=trial and writes)


_RUN: dict[str, Callable[..., Result]] = {"sqlite": sqlite_console.run, "postgresql": postgresql_console.run}


@contextmanager
def _opened(target: targets.Target, writes: bool, *, trial: bool) -> Iterator[Connection]:
    """A transaction for one statement. A read-only one and a trial are always rolled back."""
    if (writes and not trial) or (target.is_sqlite and not writes):
        with transactions.writing(target) if writes else transactions.reading(target) as connection:
            yield connection
        return
    with suppress(_RolledBackError), transactions.writing(target) as connection:
        yield connection
        raise _RolledBackError


class _RolledBackError(Exception):
    """Ends a transaction that keeps nothing."""
