"""Checks which statements are allowed: read-only unless unlocked, one at a time, and without secret columns."""

from __future__ import annotations

import re
from itertools import pairwise

from pharmdb.errors import ParameterError, ProtectedError
from pharmdb.studio_app.statement_log import is_secret
from pharmdb.studio_app.tokens import Token, tokens_of

READING = ("SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "PRAGMA")
WRITING = ("INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE")
# SQLite pragmas that only read; PostgreSQL has no pragmas.
PRAGMAS = (
    *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"),
    *("foreign_key_check", "integrity_check", "quick_check", "compile_options", "database_list"),
    *("function_list", "pragma_list", "journal_mode", "user_version", "page_count", "page_size", "foreign_keys"),
)
# Functions whose effect no right and no transaction limits, or that run a text as a statement.
HARMFUL = re.compile(
    r"pg_(try_)?advisory_\w+|set_config|lo_\w+|lo(read|write)|\w+_to_xml\w*|ts_stat|ts_rewrite"
    r"|load_extension|writefile|readfile|fts3_tokenizer|edit",
    re.IGNORECASE,
)


def check(statement: str, *, sqlite: bool, unlocked: bool) -> str:
    """Returns the statement's first word in capitals. Raises ParameterError or ProtectedError if it is not allowed."""
    tokens = tokens_of(statement, sqlite=sqlite)
    while tokens and tokens[-1].kind == "end":
        tokens.pop()
    if not tokens:
        raise ParameterError(expected="a statement", found="nothing", note="type a statement")
    if not sqlite and _has_unicode_escapes(tokens):
        raise ProtectedError(expected="plain names and texts", found="U&, which hides them", note="SELECT 'ä' AS \"ä\"")
    first = tokens[0].text.upper() if tokens[0].kind == "word" else tokens[0].text
    if first == "(":
        first = "SELECT"
    allowed = (*READING, *WRITING) if unlocked else READING
    if first not in allowed:
        change = "; only revisions change the schema" if first in ("CREATE", "ALTER", "DROP", "TRUNCATE") else ""
        raise ProtectedError(
            expected=f"a statement that begins with {', '.join(allowed)}",
            found=f"{first}{change}",
            note="unlock the studio to write" if first in WRITING else "use another statement",
        )
    if any(token.kind == "end" for token in tokens):
        raise ParameterError(expected="one statement", found="several", note="run them one by one")
    if called := _harmful(tokens):
        raise ProtectedError(
            expected="a statement that only reads data", found=f"a call of {called}", note="use another statement"
        )
    secret = next((token.text for token in tokens if token.name and is_secret(token.name)), None)
    if secret:
        raise ProtectedError(
            expected="a statement that names no secret column",
            found=secret,
            note="set passwords in the table view, where they are masked, and hashed when they are saved",
        )
    return first


def _harmful(tokens: list[Token]) -> str:
    """The name of a harmful function that is called, even if it is quoted; empty if there is none."""
    calls = (before.name for before, after in pairwise(tokens) if before.name and after.text == "(")
    return next((name for name in calls if HARMFUL.fullmatch(name)), "")


def _has_unicode_escapes(tokens: list[Token]) -> bool:
    return any(
        first.name == "u" and mark.text == "&" and first.end == mark.start and mark.end == text.start
        for first, mark, text in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if text.kind in ("text", "name")
    )
