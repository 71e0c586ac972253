"""SQL that a person types: read-only unless unlocked, one statement at a time, cancellable, with its plan."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from pharmdb import database
from pharmdb.errors import ParameterError, PharmdbError, ProtectedError
from pharmdb.studio import browsing, editing, values
from pharmdb.studio.journal import MASKED, Journal, is_secret, mask_hashes

ROWS_SHOWN = 1000
LONGEST_SECONDS = 600
READING = ("SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "PRAGMA")
WRITING = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")
# These look without changing anything; PostgreSQL has no such statements.
PRAGMAS = (
    *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"),
    *("foreign_key_check", "integrity_check", "quick_check", "compile_options", "database_list"),
    *("function_list", "pragma_list", "journal_mode", "user_version", "page_count", "page_size", "foreign_keys"),
)
# A statement that only reads can still call these.
_HARMFUL = re.compile(
    r"\b(pg_(terminate|cancel)_backend|pg_(read|ls|stat|write|file)\w*|pg_(reload|rotate|switch|promote|create|drop|replication)\w*"
    r"|pg_(try_)?advisory_\w+|pg_sleep\w*_forever|lo_\w+|dblink\w*|set_config|\w+_to_xml\w*|ts_stat|ts_rewrite"
    r"|load_extension|writefile|readfile|fts3_tokenizer|edit)\s*\(",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<text>(?:\b[eEuUbBxXnN]&?)?'(?:[^'\\]|''|\\.)*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"""
    r"""|(?P<name>"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\])|(?P<end>;)|(?P<word>\w+)|(?P<space>\s+)|(?P<other>.)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Result:
    """What a statement gave: at most 1,000 rows, `more` if there were others; `changed` rows where it wrote."""

    columns: list[str]
    rows: list[list[str | None]]
    more: bool
    changed: int | None
    ms: float
    plan: str = ""


class Cancel:
    """Ends the statement that runs under it, from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt: Callable[[], None] | None = None
        self.reason = ""

    def __call__(self, reason: str = "cancelled") -> None:
        with self._lock:
            self.reason = self.reason or reason
            if self._interrupt is not None:
                self._interrupt()

    def check(self) -> None:
        """Raises PharmdbError once it was called: for the pauses between statements."""
        if self.reason:
            raise _cancelled(self.reason)

    @contextmanager
    def over(self, connection: Connection, seconds: float = 0) -> Iterator[None]:
        """Whatever the connection does in this block can be cancelled, and is, after `seconds`."""
        driver: Any = connection.connection.dbapi_connection
        interrupt = driver.interrupt if isinstance(driver, sqlite3.Connection) else driver.cancel_safe
        timer = threading.Timer(seconds, self, [f"timed out after {seconds:g} s"]) if seconds else None
        with self._lock:
            self.check()
            self._interrupt = interrupt
        if timer:
            timer.daemon = True
            timer.start()
        try:
            yield
        except Exception as error:
            if self.reason:
                raise _cancelled(self.reason) from error
            raise
        finally:
            if timer:
                timer.cancel()
            with self._lock:
                self._interrupt = None


def _cancelled(reason: str) -> PharmdbError:
    return PharmdbError(expected="the statement to end", found=reason, next="narrow it, or give it more seconds")


def run(
    target: database.Target,
    statement: str,
    journal: Journal,
    *,
    cancel: Cancel,
    seconds: float = 30,
    unlocked: bool = False,
    plan: bool = False,
    log: Path = editing.LOG,
) -> Result:
    """Runs one statement, or with `plan` says how the database would.

    Raises ParameterError for what is no single statement, ProtectedError for one that is not allowed, PharmdbError
    where it was cancelled, timed out or is refused by the database.
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ParameterError(
            expected=f"a time-out of 1 to {LONGEST_SECONDS} s", found=f"{seconds:g} s", next="give another one"
        )
    first = check(statement, sqlite=target.is_sqlite, unlocked=unlocked)
    writes = unlocked and not plan and (first in WRITING or (first == "WITH" and _names(statement) & set(WRITING)))
    statement = statement.strip().rstrip(";")
    with _opened(target, bool(writes)) as connection:
        browsing.prepare(connection)
        driver: Any = connection.connection.dbapi_connection
        began = time.perf_counter()
        try:
            with cancel.over(connection, seconds):
                if isinstance(driver, sqlite3.Connection):
                    result = _run_sqlite(driver, statement, plan, bool(writes))
                else:
                    result = _run_postgresql(driver, statement, plan, bool(writes), seconds)
        except PharmdbError as error:
            journal.add(statement, (), None, (time.perf_counter() - began) * 1000, error.found)
            raise
        except Exception as error:
            found = str(error).strip()
            journal.add(statement, (), None, (time.perf_counter() - began) * 1000, found.partition("\n")[0])
            raise PharmdbError(
                expected="a statement that the database takes", found=mask_hashes(found), next="correct the statement"
            ) from error
        ms = (time.perf_counter() - began) * 1000
        if writes:
            editing.log_statement(target, statement, result.changed, "saving", log)
    if writes:
        editing.log_statement(target, statement, result.changed, "saved", log)
    journal.add(statement, (), len(result.rows) if result.columns else result.changed, ms)
    return Result(result.columns, result.rows, result.more, result.changed, round(ms, 2), result.plan)


@contextmanager
def _opened(target: database.Target, writes: bool) -> Iterator[Connection]:
    """A transaction for one statement. One that only reads is rolled back, whatever it was."""
    if writes or target.is_sqlite:
        with database.writing(target) if writes else database.reading(target) as connection:
            yield connection
        return
    with suppress(_RolledBackError), database.writing(target) as connection:
        yield connection
        raise _RolledBackError


class _RolledBackError(Exception):
    """Ends a transaction that only reads."""


def check(statement: str, *, sqlite: bool, unlocked: bool) -> str:
    """The first word of a statement that is allowed, in capitals. Raises ParameterError or ProtectedError."""
    tokens = [match for match in _TOKEN.finditer(statement) if match.lastgroup not in ("comment", "space")]
    while tokens and tokens[-1].lastgroup == "end":
        tokens.pop()
    if not tokens:
        raise ParameterError(expected="a statement", found="nothing", next="type one")
    if any(token.lastgroup == "end" for token in tokens):
        raise ParameterError(expected="one statement", found="several", next="run them one by one")
    if not sqlite and any(token.lastgroup == "other" and token[0] == "'" for token in tokens):
        raise ParameterError(expected="closed quotes", found="an open one", next="close it")
    first = tokens[0][0].upper() if tokens[0].lastgroup == "word" else tokens[0][0]
    if first == "(":
        first = "SELECT"
    allowed = (*READING, *WRITING) if unlocked else READING
    if first not in allowed:
        change = (
            "; the schema is changed by revisions alone" if first in ("CREATE", "ALTER", "DROP", "TRUNCATE") else ""
        )
        raise ProtectedError(
            expected=f"a statement that begins with {', '.join(allowed)}",
            found=f"{first}{change}",
            next="unlock the studio to write" if first in WRITING else "use another statement",
        )
    code = " ".join("''" if token.lastgroup == "text" else token[0] for token in tokens)
    if match := _HARMFUL.search(code):
        raise ProtectedError(
            expected="a statement that looks at data", found=f"a call of {match[1]}", next="use another statement"
        )
    secret = next((t[0] for t in tokens if t.lastgroup in ("word", "name") and is_secret(t[0].strip('"`[]'))), None)
    if secret:
        raise ProtectedError(
            expected="a statement that names no secret column",
            found=secret,
            next="see and set passwords in the table: they are masked there, and hashed when they are saved",
        )
    names = {token[0].strip('"`[]').lower() for token in tokens if token.lastgroup in ("word", "name")}
    if names & set(database.BOOKKEEPING_TABLES) and {name.upper() for name in names} & set(WRITING):
        raise ProtectedError(
            expected="a statement that leaves pharmdb's own tables alone",
            found=", ".join(sorted(names & set(database.BOOKKEEPING_TABLES))),
            next="use another statement",
        )
    return first


def _names(statement: str) -> set[str]:
    return {match[0].upper() for match in _TOKEN.finditer(statement) if match.lastgroup == "word"}


# -- SQLite ------------------------------------------------------------------------------------------

_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)


def _authorizer(writes: bool) -> Callable[..., int]:
    """Asked by SQLite for every table, column and function of a statement: what is not allowed is refused."""

    def allowed(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ:
            # NULL in place of a secret, however the statement gets at it.
            return sqlite3.SQLITE_IGNORE if is_secret(second or "") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if _HARMFUL.search(f"{second}(") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA:
            assigned = second is not None and first in ("journal_mode", "user_version", "page_size", "foreign_keys")
            return sqlite3.SQLITE_OK if first in PRAGMAS and not assigned else sqlite3.SQLITE_DENY
        if action in _WRITES:
            own = first in database.BOOKKEEPING_TABLES or (first or "").startswith("sqlite_")
            secret = action == sqlite3.SQLITE_UPDATE and is_secret(second or "")
            return sqlite3.SQLITE_OK if writes and not own and not secret else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY

    return allowed


def _run_sqlite(driver: sqlite3.Connection, statement: str, plan: bool, writes: bool) -> Result:
    driver.set_authorizer(_authorizer(writes))
    try:
        return _result_of_sqlite(driver, statement, plan)
    finally:
        # Else the end of the transaction would be refused too.
        driver.set_authorizer(None)


def _result_of_sqlite(driver: sqlite3.Connection, statement: str, plan: bool) -> Result:
    if plan:
        rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        depth = {0: -1}
        lines = []
        for number, parent, _, detail in rows:
            depth[number] = depth.get(parent, -1) + 1
            lines.append("  " * depth[number] + detail)
        return Result([], [], False, None, 0, "\n".join(lines))
    cursor = driver.execute(statement)
    if cursor.description is None:
        return Result([], [], False, cursor.rowcount, 0)
    names = [column[0] for column in cursor.description]
    found = cursor.fetchmany(ROWS_SHOWN + 1)
    rows = [[_shown(name, value) for name, value in zip(names, row, strict=True)] for row in found[:ROWS_SHOWN]]
    return Result(names, rows, len(found) > ROWS_SHOWN, cursor.rowcount if cursor.rowcount >= 0 else None, 0)


def _shown(name: str, value: Any) -> str | None:
    text = values.shown(value, "any")
    if is_secret(name):
        return MASKED
    return None if text is None else mask_hashes(text)


# -- PostgreSQL --------------------------------------------------------------------------------------


def _run_postgresql(driver: Any, statement: str, plan: bool, writes: bool, seconds: float) -> Result:
    from psycopg.postgres import types
    from psycopg.types.string import TextLoader

    if not writes:
        _without_secrets(driver, statement)
    driver.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000) + 1000}")
    first = statement.lstrip().split(None, 1)[0].upper()
    by_cursor = not plan and not writes and first in ("SELECT", "WITH", "VALUES", "TABLE")
    # A cursor on the server: the rows beyond the first thousand are never sent.
    with driver.cursor(name="studio") if by_cursor else driver.cursor() as cursor:
        for info in types:
            for oid in filter(None, (info.oid, info.array_oid)):
                cursor.adapters.register_loader(oid, TextLoader)
        # Prepared statements hold one command only: a second guard against several.
        if by_cursor:
            cursor.execute(statement)
        else:
            cursor.execute(f"EXPLAIN {statement}" if plan else statement, prepare=True)
        if cursor.description is None:
            return Result([], [], False, cursor.rowcount, 0)
        found = cursor.fetchmany(ROWS_SHOWN + 1)
        if plan:
            return Result([], [], False, None, 0, "\n".join(row[0] for row in found))
        names = [column.name for column in cursor.description]
        secret = _secret_columns(driver, cursor)
        booleans = {n for n, column in enumerate(cursor.description) if column.type_code == 16}
        rows = [
            [
                MASKED if n in secret and value is not None else _shown_text(names[n], value, n in booleans)
                for n, value in enumerate(row)
            ]
            for row in found[:ROWS_SHOWN]
        ]
        changed = cursor.rowcount if writes else None
        return Result(names, rows, len(found) > ROWS_SHOWN, changed, 0)


def _without_secrets(driver: Any, statement: str) -> None:
    """Makes the transaction read-only, after a view without its secrets has taken the place of each table with some.

    Names without a schema find temporary views first; names with one are refused.
    """
    from psycopg import sql

    rows = driver.execute(
        "SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_class JOIN pg_attribute ON attrelid = oid "
        "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm') "
        "AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum"
    ).fetchall()
    tables = {table for table, name, _ in rows if is_secret(name)}
    words = [m[0].strip('"').lower() for m in _TOKEN.finditer(statement) if m.lastgroup not in ("comment", "space")]
    qualified = {word for before, word in pairwise(words) if before == "." and word in tables}
    if qualified or re.search(r'\bU&"', statement, re.IGNORECASE):
        raise ProtectedError(
            expected="a table that holds secrets to be named without its schema",
            found=", ".join(sorted(qualified)) or 'a name in U&"…"',
            next="leave the schema out",
        )
    for table in tables:
        columns = sql.SQL(", ").join(
            sql.SQL("NULL::{} AS {}").format(sql.SQL(type_), sql.Identifier(name))
            if is_secret(name)
            else sql.Identifier(name)
            for found, name, type_ in rows
            if found == table
        )
        view = sql.SQL("CREATE TEMPORARY VIEW {0} AS SELECT {1} FROM {0}").format(sql.Identifier(table), columns)
        driver.execute(view)
    driver.execute("SET TRANSACTION READ ONLY")


def _shown_text(name: str, value: Any, boolean: bool) -> str | None:
    if is_secret(name):
        return MASKED
    if value is None:
        return None
    if boolean:
        return "true" if value == "t" else "false"
    return mask_hashes(str(value))


def _secret_columns(driver: Any, cursor: Any) -> set[int]:
    """The columns of a result that come from a secret column, whatever they are called there."""
    result = cursor.pgresult
    origins = [(result.ftable(n), result.ftablecol(n)) for n in range(result.nfields)]
    tables = [oid for oid, _ in origins if oid]
    if not tables:
        return set()
    rows = driver.execute(
        "SELECT attrelid, attnum, attname FROM pg_attribute WHERE attrelid = ANY(%s)", (tables,)
    ).fetchall()
    secret = {(relation, number) for relation, number, name in rows if is_secret(name)}
    return {n for n, origin in enumerate(origins) if origin in secret}
