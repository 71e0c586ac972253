"""SQL that a person types: read-only unless unlocked, one statement at a time, cancellable, with its plan."""

from __future__ import annotations

import json
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

from pharmdb import settings
from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError, PharmdbError, ProtectedError
from pharmdb.schema import bookkeeping
from pharmdb.studio_app import browsing, editing, values
from pharmdb.studio_app.statement_log import MASKED, Journal, is_secret, mask_hashes

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
    r"pg_(terminate|cancel)_backend|pg_(read|ls|write|file|reload|rotate|switch|promote|create|drop|replication)\w*"
    r"|pg_stat(?!_get_)(_\w+|istic\w*)?|pg_(logical|export|import|log|wal|backup|start|stop|copy|sync|restore|clear)_\w+"
    r"|pg_(try_)?advisory_\w+|pg_sleep\w*_forever|lo_\w+|lo(read|write)|dblink\w*|set_config|\w+_to_xml\w*|ts_stat"
    r"|ts_rewrite|crosstab\w*|connectby|xpath_table|get_raw_page|heap_page\w*|pg_visibility\w*"
    r"|load_extension|writefile|readfile|fts3_tokenizer|edit",
    re.IGNORECASE,
)
# Statistics hold samples of the columns; the others hold passwords, or what was deleted.
_SECRET_RELATIONS = frozenset(
    {
        *("pg_statistic", "pg_statistic_ext_data", "pg_authid", "pg_shadow", "pg_user_mapping", "pg_subscription"),
        *("pg_largeobject", "sqlite_dbpage", "sqlite_stat3", "sqlite_stat4"),
    }
)
_START, _PART = r"A-Za-z_\x80-\U0010ffff", r"0-9A-Za-z_\x80-\U0010ffff"
_REST = rf"(?P<end>;)|(?P<word>[{_START}][{_PART}$]*+)|(?P<number>[0-9]++)|(?P<space>[ \t\n\r\f\v]++)|(?P<other>.)"
# As each database reads a statement: a quote, a comment or a name that ends elsewhere would hide the rest of it.
_POSTGRESQL = re.compile(
    r"(?P<comment>--[^\n\r]*+)|(?P<nested>/\*)"
    r"|(?P<text>(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*+')|[bBxXnN]?'(?:[^']|'')*+'"
    rf"|\$(?P<tag>(?:[{_START}][{_PART}]*+)?)\$.*?\$(?P=tag)\$)"
    rf'|(?P<name>"(?:[^"]|"")*+")|{_REST}',
    re.DOTALL,
)
_SQLITE = re.compile(
    r"(?P<comment>--[^\n]*+|/\*.*?(?:\*/|\Z))|(?P<text>'(?:[^']|'')*+')"
    rf'|(?P<name>"(?:[^"]|"")*+"|`(?:[^`]|``)*+`|\[[^\]]*+\])|{_REST}',
    re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Token:
    """A part of a statement: a text, name, word, number, end (`;`) or other, from `start` to `end`.

    `name` is what a name or a word names: without its quotes, as the database compares it.
    """

    kind: str
    text: str
    name: str
    start: int
    end: int


def tokens_of(statement: str, *, sqlite: bool) -> list[Token]:
    """A statement as the database reads it, without comments and spaces. Raises ParameterError where it is open."""
    if "\0" in statement:
        raise ParameterError(expected="a statement of text", found="a NUL character", next="SELECT char(0)")
    found: list[Token] = []
    place = 0
    escaped = False
    pattern = _SQLITE if sqlite else _POSTGRESQL
    while place < len(statement):
        match = pattern.match(statement, place)
        assert match is not None
        kind, text = match.lastgroup or "", match[0]
        kind = "text" if match["text"] is not None else kind
        if kind == "nested":
            place = _end_of_comment(statement, place)
            continue
        place = match.end()
        if kind in ("comment", "space"):
            continue
        if kind == "other" and text in ("'", '"') and not sqlite:
            raise ParameterError(expected="closed quotes", found="an open one", next="close it")
        # PostgreSQL goes on with the escapes of E'…' in the text of the next line.
        if kind == "text" and escaped and text[0] == "'":
            raise ParameterError(expected="one text", found="E'…' in several pieces", next="SELECT E'a' || E'b'")
        escaped = not sqlite and kind == "text" and match["escaped"] is not None
        found.append(Token(kind, text, _named(kind, text, sqlite), match.start(), place))
    return found


def _end_of_comment(statement: str, start: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(statement, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    raise ParameterError(expected="a closed comment", found="an open /*", next="SELECT 1 /* a comment */")


def _named(kind: str, text: str, sqlite: bool) -> str:
    if kind == "name":
        return text[1:-1].replace(text[0] * 2, text[0]) if text[0] != "[" else text[1:-1]
    return (text if sqlite else text.lower()) if kind == "word" else ""


@dataclass(frozen=True)
class Result:
    """What a statement gave: at most 1,000 rows, `more` if there were others; `changed` rows where it wrote.

    `warning` is a sentence where it wrote and the log of saves does not say so.
    """

    columns: list[str]
    rows: list[list[str | None]]
    more: bool
    changed: int | None
    ms: float
    plan: str = ""
    warning: str = ""


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
    target: targets.Target,
    statement: str,
    journal: Journal,
    *,
    cancel: Cancel,
    seconds: float = 30,
    unlocked: bool = False,
    plan: bool = False,
    log: Path | None = None,
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
    tokens = tokens_of(statement, sqlite=target.is_sqlite)
    while tokens[-1].kind == "end":
        tokens.pop()
    words = {token.name.upper() for token in tokens if token.kind == "word"}
    writes = unlocked and not plan and (first in WRITING or (first == "WITH" and bool(words & set(WRITING))))
    statement = statement[tokens[0].start : tokens[-1].end]
    with _opened(target, writes) as connection:
        browsing.prepare(connection)
        driver: Any = connection.connection.dbapi_connection
        began = time.perf_counter()
        try:
            with cancel.over(connection, seconds):
                if isinstance(driver, sqlite3.Connection):
                    result = _run_sqlite(driver, statement, plan, writes)
                else:
                    result = _run_postgresql(driver, _Typed(target, statement, tokens, first), plan, writes, seconds)
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
            done = editing.log_statement(target, statement, result.changed, log or settings.statement_log())
    warning = done() if writes else ""
    journal.add(statement, (), len(result.rows) if result.columns else result.changed, ms)
    return Result(result.columns, result.rows, result.more, result.changed, round(ms, 2), result.plan, warning)


@contextmanager
def _opened(target: targets.Target, writes: bool) -> Iterator[Connection]:
    """A transaction for one statement. One that only reads is rolled back, whatever it was."""
    if writes or target.is_sqlite:
        with transactions.writing(target) if writes else transactions.reading(target) as connection:
            yield connection
        return
    with suppress(_RolledBackError), transactions.writing(target) as connection:
        yield connection
        raise _RolledBackError


class _RolledBackError(Exception):
    """Ends a transaction that only reads."""


def check(statement: str, *, sqlite: bool, unlocked: bool) -> str:
    """The first word of a statement that is allowed, in capitals. Raises ParameterError or ProtectedError."""
    tokens = tokens_of(statement, sqlite=sqlite)
    while tokens and tokens[-1].kind == "end":
        tokens.pop()
    if not tokens:
        raise ParameterError(expected="a statement", found="nothing", next="type one")
    if not sqlite and _has_unicode_escapes(tokens):
        raise ProtectedError(
            expected="names and texts as they are", found="U&, which hides them", next="SELECT 'ä' AS \"ä\""
        )
    first = tokens[0].text.upper() if tokens[0].kind == "word" else tokens[0].text
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
    if any(token.kind == "end" for token in tokens):
        raise ParameterError(expected="one statement", found="several", next="run them one by one")
    if called := harmful(tokens):
        raise ProtectedError(
            expected="a statement that looks at data", found=f"a call of {called}", next="use another statement"
        )
    secret = next((token.text for token in tokens if token.name and is_secret(token.name)), None)
    if secret:
        raise ProtectedError(
            expected="a statement that names no secret column",
            found=secret,
            next="see and set passwords in the table: they are masked there, and hashed when they are saved",
        )
    names = {token.name.lower() for token in tokens if token.name}
    if names & set(bookkeeping.BOOKKEEPING_TABLES) and {name.upper() for name in names} & set(WRITING):
        raise ProtectedError(
            expected="a statement that leaves pharmdb's own tables alone",
            found=", ".join(sorted(names & set(bookkeeping.BOOKKEEPING_TABLES))),
            next="use another statement",
        )
    return first


def harmful(tokens: list[Token]) -> str:
    """The name of a harmful function that is called, however it is quoted; empty where there is none."""
    calls = (before.name for before, after in pairwise(tokens) if before.name and after.text == "(")
    return next((name for name in calls if _HARMFUL.fullmatch(name)), "")


def _has_unicode_escapes(tokens: list[Token]) -> bool:
    return any(
        first.name == "u" and mark.text == "&" and first.end == mark.start and mark.end == text.start
        for first, mark, text in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if text.kind in ("text", "name")
    )


# -- SQLite ------------------------------------------------------------------------------------------

_READS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
_WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)


def _authorizer(writes: bool, guarded: set[str]) -> Callable[..., int]:
    """Asked by SQLite for every table, column and function of a statement: what is not allowed is refused."""

    def allowed(action: int, first: str | None, second: str | None, *_: Any) -> int:
        if action == sqlite3.SQLITE_READ:
            if (first or "").lower() in _SECRET_RELATIONS:
                return sqlite3.SQLITE_DENY
            # NULL in place of a secret, however the statement gets at it.
            return sqlite3.SQLITE_IGNORE if is_secret(second or "", first or "") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if _HARMFUL.fullmatch(second or "") else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_PRAGMA:
            assigned = second is not None and first in ("journal_mode", "user_version", "page_size", "foreign_keys")
            return sqlite3.SQLITE_OK if first in PRAGMAS and not assigned else sqlite3.SQLITE_DENY
        if action in _WRITES:
            own = first in bookkeeping.BOOKKEEPING_TABLES or (first or "").startswith("sqlite_")
            # A row that is inserted would bring its password as text.
            secret = (action == sqlite3.SQLITE_UPDATE and is_secret(second or "", first or "")) or (
                action == sqlite3.SQLITE_INSERT and (first or "").lower() in guarded
            )
            return sqlite3.SQLITE_OK if writes and not own and not secret else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY

    return allowed


def _run_sqlite(driver: sqlite3.Connection, statement: str, plan: bool, writes: bool) -> Result:
    columns = driver.execute(
        "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_xinfo(s.name) c WHERE s.type = 'table'"
    ).fetchall()
    guarded = {table.lower() for table, name in columns if is_secret(name, table)}
    driver.set_authorizer(_authorizer(writes, guarded))
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


@dataclass(frozen=True)
class _Typed:
    """A statement of the console, and its first word in capitals."""

    target: targets.Target
    text: str
    tokens: list[Token]
    first: str


def _run_postgresql(driver: Any, typed: _Typed, plan: bool, writes: bool, seconds: float) -> Result:
    from psycopg.postgres import types
    from psycopg.types.string import TextLoader

    statement = typed.text
    # The tokens are those of a server that has this on.
    driver.execute("SET LOCAL standard_conforming_strings = on")
    if not writes:
        _without_secrets(driver, typed.tokens)
    driver.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000) + 1000}")
    if (looked := _explainable(typed)) is not None:
        _check_plan(driver, typed, looked)
    by_cursor = not plan and not writes and typed.first in ("SELECT", "WITH", "VALUES", "TABLE")
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


def _without_secrets(driver: Any, tokens: list[Token]) -> None:
    """Makes the transaction read-only, after a view without its secrets has taken the place of each table with some.

    Names without a schema find temporary views first; names with one are refused.
    """
    from psycopg import sql

    rows = driver.execute(
        "SELECT relname, attname, format_type(atttypid, atttypmod) FROM pg_class JOIN pg_attribute ON attrelid = oid "
        "WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind IN ('r', 'p', 'v', 'm') "
        "AND attnum > 0 AND NOT attisdropped ORDER BY relname, attnum"
    ).fetchall()
    tables = {table for table, name, _ in rows if is_secret(name, table)}
    qualified = {t.name for before, t in pairwise(tokens) if before.text == "." and t.name in tables}
    if qualified:
        raise ProtectedError(
            expected="a table that holds secrets to be named without its schema",
            found=", ".join(sorted(qualified)),
            next=f"SELECT * FROM {min(qualified)}",
        )
    for table in tables:
        columns = sql.SQL(", ").join(
            sql.SQL("NULL::{} AS {}").format(sql.SQL(type_), sql.Identifier(name))
            if is_secret(name, table)
            else sql.Identifier(name)
            for found, name, type_ in rows
            if found == table
        )
        view = sql.SQL("CREATE TEMPORARY VIEW {0} AS SELECT {1} FROM {0}").format(sql.Identifier(table), columns)
        driver.execute(view)
    driver.execute("SET TRANSACTION READ ONLY")


def _explainable(typed: _Typed) -> str | None:
    """The statement that EXPLAIN takes, which may be within one; None for SHOW."""
    tokens = typed.tokens
    if typed.first not in ("EXPLAIN", "SHOW", "PRAGMA"):
        return typed.text
    if typed.first != "EXPLAIN":
        return None
    at = 1
    if len(tokens) > 1 and tokens[1].text == "(":
        at = next((n + 1 for n, token in enumerate(tokens) if token.text == ")"), len(tokens))
    while at < len(tokens) and tokens[at].name in ("analyze", "analyse", "verbose"):
        at += 1
    return typed.text[tokens[at].start - tokens[0].start :] if at < len(tokens) else None


# What a node of a plan says of itself, and not of what it reads.
_NO_EXPRESSIONS = frozenset(
    {
        *("Node Type", "Parent Relationship", "Strategy", "Operation", "Relation Name", "Schema", "Alias"),
        *("Index Name", "CTE Name", "Subplan Name", "Join Type", "Scan Direction", "Partial Mode", "Command"),
        *("Custom Plan Provider", "Function Schema", "Tuplestore Name", "Plans", "Target Tables"),
    }
)


def _check_plan(driver: Any, typed: _Typed, statement: str) -> None:
    """The server's own word, without running it, on what the statement reads and writes: no secret, however named.

    Raises ProtectedError.
    """
    (answer,) = driver.execute(f"EXPLAIN (VERBOSE, FORMAT JSON) {statement}", prepare=True).fetchone()
    plans = json.loads(answer) if isinstance(answer, str) else answer
    nodes: list[dict[str, Any]] = []
    expressions: list[str] = []
    for each in plans:
        if "Plan" in each:
            _read_node(each["Plan"], None, nodes, expressions)
    relations = [n for node in nodes for n in (node, *node.get("Target Tables", ())) if "Relation Name" in n]
    columns: dict[tuple[str, str], list[str]] = {}
    for schema, table, name in driver.execute(
        "SELECT nspname, relname, attname FROM pg_attribute JOIN pg_class c ON attrelid = c.oid "
        "JOIN pg_namespace n ON relnamespace = n.oid WHERE relname = ANY(%s) AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        ([n["Relation Name"] for n in relations],),
    ):
        columns.setdefault((schema, table), []).append(name)
    aliases: dict[str, tuple[str, list[str]]] = {}
    for node in relations:
        table, schema = node["Relation Name"], node.get("Schema", "")
        if table in _SECRET_RELATIONS and schema == "pg_catalog":
            raise _secret_read(table, "SELECT relname FROM pg_class")
        own = columns.get((schema, table), [])
        if any(is_secret(name, table) for name in own):
            aliases[node.get("Alias", table)] = table, own
    for node in nodes:
        _check_write(driver, typed, node, {table for table, _ in aliases.values()})
    for expression in expressions:
        tokens = tokens_of(expression, sqlite=False)
        if called := harmful(tokens):
            raise ProtectedError(
                expected="a statement that looks at data", found=f"a call of {called}", next="SELECT * FROM users"
            )
        for n, token in enumerate(tokens):
            before = tokens[n - 2].name if n > 1 and tokens[n - 1].text == "." else None
            for alias, (table, own) in aliases.items():
                if (before is None and token.name in own) or before == alias:
                    whole = before is not None and token.text == "*"
                    if whole or (token.name in own and is_secret(token.name, table)):
                        readable = ", ".join(name for name in own if not is_secret(name, table))
                        raise _secret_read(
                            f"the whole row of {table}" if whole else f"{table}.{token.name}",
                            f"SELECT {readable} FROM {table}",
                        )


def _secret_read(found: str, next_: str) -> ProtectedError:
    return ProtectedError(expected="a statement that reads no secret column", found=found, next=next_)


def _read_node(
    node: dict[str, Any], parent: dict[str, Any] | None, nodes: list[dict[str, Any]], expressions: list[str]
) -> None:
    """Every node, and every expression in it that is used.

    A scan puts out all columns of its table where that costs nothing; those that its parent does not name are unused.
    """
    nodes.append(node)
    passed = (
        parent is not None
        and "Output" in parent
        and parent["Node Type"] != "ModifyTable"
        and node.get("Parent Relationship") in ("Outer", "Inner")
    )
    for key, value in node.items():
        if key in _NO_EXPRESSIONS:
            continue
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not (key == "Output" and passed and _is_column(text)):
                expressions.append(text)
            elif isinstance(text, (dict, list)):
                expressions.extend(_texts(text))
    for child in node.get("Plans", ()):
        _read_node(child, node, nodes, expressions)


def _is_column(text: str) -> bool:
    tokens = tokens_of(text, sqlite=False)
    return all(token.name for token in tokens[::2]) and [token.text for token in tokens[1::2]] in ([], ["."])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _check_write(driver: Any, typed: _Typed, node: dict[str, Any], guarded: set[str]) -> None:
    """A table with a secret takes no new row with one as text, and is changed under its own name."""
    if node["Node Type"] != "ModifyTable":
        return
    for target in (node, *node.get("Target Tables", ())):
        table = target.get("Relation Name", "")
        if table in bookkeeping.BOOKKEEPING_TABLES:
            raise ProtectedError(
                expected="a statement that leaves pharmdb's own tables alone", found=table, next="pharmdb inspect"
            )
        if table not in guarded:
            continue
        operation = node.get("Operation", "")
        names = [token.name for token in typed.tokens if token.name]
        view = driver.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'v' AND relname = ANY(%s) LIMIT 1", (names,)
        ).fetchone()
        if operation not in ("Update", "Delete") or view:
            raise ProtectedError(
                expected="a statement that sets no password",
                found=f"{operation} of {table}" + (f" through the view {view[0]}" if view else ""),
                next=targets.command(typed.target, f"pharmdb studio --model {table}"),
            )


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
        "SELECT attrelid, attnum, attname, relname FROM pg_attribute JOIN pg_class ON attrelid = oid "
        "WHERE attrelid = ANY(%s)",
        (tables,),
    ).fetchall()
    secret = {(relation, number) for relation, number, name, table in rows if is_secret(name, table)}
    return {n for n, origin in enumerate(origins) if origin in secret}
