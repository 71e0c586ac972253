"""The console's statements on PostgreSQL: secrets are hidden and the plan is checked before they run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from pharmdb.errors import ProtectedError
from pharmdb.studio_app import plans
from pharmdb.studio_app.statement_log import MASKED, is_secret, mask_hashes
from pharmdb.studio_app.statements import ROWS_SHOWN, Result, Typed
from pharmdb.studio_app.tokens import Token


def run(driver: Any, typed: Typed, *, plan: bool, writes: bool, seconds: float) -> Result:
    """Runs a statement, or with `plan` returns its plan. Raises ProtectedError for one that reads a secret."""
    from psycopg.postgres import types
    from psycopg.types.string import TextLoader

    statement = typed.text
    # The tokenizer assumes this setting.
    driver.execute("SET LOCAL standard_conforming_strings = on")
    if not writes:
        _without_secrets(driver, typed.tokens)
    driver.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000) + 1000}")
    if (looked := _explainable(typed)) is not None:
        plans.check(driver, typed, looked)
    by_cursor = not plan and not writes and typed.first in ("SELECT", "WITH", "VALUES", "TABLE")
    # With a server-side cursor, rows beyond the first thousand are never sent.
    with driver.cursor(name="studio") if by_cursor else driver.cursor() as cursor:
        for info in types:
            for oid in filter(None, (info.oid, info.array_oid)):
                cursor.adapters.register_loader(oid, TextLoader)
        # A prepared statement can contain only one command: a second guard against several statements.
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
    """Hides each table with secrets behind a temporary view without them, then makes the transaction read-only.

    Unqualified names resolve to the temporary views first; schema-qualified names are refused.
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
            expected="a table with secrets to be named without its schema",
            found=", ".join(sorted(qualified)),
            note=f"SELECT * FROM {min(qualified)}",
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


def _explainable(typed: Typed) -> str | None:
    """The statement to explain, which may itself be inside an EXPLAIN; None for SHOW."""
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


def _shown_text(name: str, value: Any, boolean: bool) -> str | None:
    if is_secret(name):
        return MASKED
    if value is None:
        return None
    if boolean:
        return "true" if value == "t" else "false"
    return mask_hashes(str(value))


def _secret_columns(driver: Any, cursor: Any) -> set[int]:
    """The columns of a result that come from a secret column, even if they were renamed."""
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
