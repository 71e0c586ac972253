"""Checks what a statement reads and writes, using the server's own query plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pharmdb.database import targets
from pharmdb.errors import ProtectedError
from pharmdb.schema import bookkeeping
from pharmdb.studio_app.rights import SECRET_RELATIONS, harmful
from pharmdb.studio_app.statement_log import is_secret
from pharmdb.studio_app.statements import Typed
from pharmdb.studio_app.tokens import tokens_of

# Fields of a plan node that contain no expressions over what it reads.
_NO_EXPRESSIONS = frozenset(
    {
        *("Node Type", "Parent Relationship", "Strategy", "Operation", "Relation Name", "Schema", "Alias"),
        *("Index Name", "CTE Name", "Subplan Name", "Join Type", "Scan Direction", "Partial Mode", "Command"),
        *("Custom Plan Provider", "Function Schema", "Tuplestore Name", "Plans", "Target Tables"),
    }
)


def check(driver: Any, typed: Typed, statement: str) -> None:
    """Refuses a statement that reads or writes a secret, however it is named, by its plan, without running it.

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
        if table in SECRET_RELATIONS and schema == "pg_catalog":
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
                expected="a statement that only reads data", found=f"a call of {called}", note="SELECT * FROM users"
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


def _secret_read(found: str, instead: str) -> ProtectedError:
    return ProtectedError(expected="a statement that reads no secret column", found=found, note=instead)


def _read_node(
    node: dict[str, Any], parent: dict[str, Any] | None, nodes: list[dict[str, Any]], expressions: list[str]
) -> None:
    """Collects every node, and every expression in it that is used.

    A scan may output all columns of its table, because that costs nothing; those its parent does not name are unused.
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


def _check_write(driver: Any, typed: Typed, node: dict[str, Any], guarded: set[str]) -> None:
    """Refuses statements that write a secret in clear text, or write to a table with secrets through a view."""
    if node["Node Type"] != "ModifyTable":
        return
    for target in (node, *node.get("Target Tables", ())):
        table = target.get("Relation Name", "")
        if table in bookkeeping.BOOKKEEPING_TABLES:
            raise ProtectedError(
                expected="a statement that leaves pharmdb's own tables alone",
                found=table,
                note="only pharmdb's commands write to them",
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
                command=targets.command(typed.target, f"pharmdb studio --model {table}"),
            )
