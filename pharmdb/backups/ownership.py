"""Owners and privileges of what is in a PostgreSQL dump: given back where the roles exist, else reported."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection

# White space, a comment, a literal, a quoted name, a function's body, the end of a statement, or other text.
_PIECE = re.compile(
    r"\s+|--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(?<![\w$])(?P<tag>\$\w*\$).*?(?P=tag)|;|[^-'\"$;\s]+|.",
    re.DOTALL,
)
_ROLE = r'("(?:[^"]|"")*"|[\w$]+)'
_OWNER = re.compile(rf"ALTER (?P<kind>[A-Z ]+?) .* OWNER TO {_ROLE};\Z", re.DOTALL)
_PRIVILEGE = re.compile(r"(GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|SET SESSION AUTHORIZATION|RESET SESSION AUTH\w+)\b")
_NAMED = re.compile(rf"\b(?:TO|FROM|ROLE|AUTHORIZATION) {_ROLE}")


def split(script: str) -> tuple[str, list[str]]:
    """A script of pg_restore without its statements about owners and privileges, and these in their order.

    The owner of the schema is left out altogether: a restore does not replace the schema itself.
    """
    rest: list[str] = []
    held: list[str] = []
    statement: list[str] = []
    for piece in _PIECE.finditer(script):
        text = piece.group()
        if not statement and (text.isspace() or text.startswith("--")):
            rest.append(text)
            continue
        statement.append(text)
        if text == ";":
            whole = "".join(statement)
            owner = _OWNER.match(whole)
            if owner is None and not _PRIVILEGE.match(whole):
                rest.append(whole)
            elif owner is None or owner["kind"] != "SCHEMA":
                held.append(whole)
            statement = []
    return "".join(rest + statement), held


def apply(connection: Connection, statements: list[str]) -> list[tuple[str, str, str]]:
    """Executes these statements; returns those that can't be, as (role, reason, statement).

    Either the role does not exist, or our role has no right to give something to it.
    """
    from psycopg import errors

    driver: Any = connection.connection.dbapi_connection
    refused: list[tuple[str, str, str]] = []
    foreign = ""
    for statement in statements:
        if foreign and not statement.startswith("RESET"):
            # Granted by a role that we can't act as.
            refused.append((_role(statement), foreign, statement))
            continue
        try:
            with driver.transaction(), driver.cursor() as cursor:
                cursor.execute(statement)
            foreign = ""
        except (errors.UndefinedObject, errors.InsufficientPrivilege, errors.FeatureNotSupported) as error:
            reason = str(error).splitlines()[0]
            if statement.startswith("SET SESSION"):
                foreign = reason
            else:
                refused.append((_role(statement), reason, statement))
    return refused


def _role(statement: str) -> str:
    """The role that a statement names last: the one that gets or loses something."""
    found = _NAMED.findall(statement)
    name = str(found[-1]) if found else ""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
