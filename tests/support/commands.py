"""Every command that pharmdb prints, read from its source: where it is made, and how it begins."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pharmdb
from pharmdb.command import listing

PACKAGE = Path(pharmdb.__file__).parent
_PROGRAMS = ("git", "alembic", "npx", "mkdir", "chmod", "mv", "export", "unset", "read", "du", "ls", "kill", "sqlite3")
# Functions whose result is a command, besides those that are given its beginning.
_MAKERS = ("sql_command", "psql", "createdb")


def printed() -> Counter[str]:
    """ "module:function: beginning" of each command; {} stands for what is known only when it is printed."""
    return Counter(f"{place}: {command}" for place, command, _ in _commands())


def unaddressed() -> set[str]:
    """ "module:function" where a command of pharmdb does not get its --database-url at once, from `command(…)`."""
    return {place for place, command, addressed in _commands() if command.startswith("pharmdb ") and not addressed}


def _commands() -> Iterator[tuple[str, str, bool]]:
    names = "|".join(command.name for command in listing.commands())
    begins = re.compile(
        rf"(?:^|[:;] |&& |`)((?:pharmdb (?:{names}|\{{\}})(?![:\w])|(?:{'|'.join(_PROGRAMS)}) )[^`&|;]*)"
    )
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for where, text, addressed in _texts(ast.parse(path.read_text(encoding="utf-8")), (), False):
            for match in begins.finditer(text):
                yield f"{module}:{'.'.join(where)}", match[1].strip(), addressed


def _texts(node: ast.AST, where: tuple[str, ...], addressed: bool) -> Iterator[tuple[tuple[str, ...], str, bool]]:
    """The texts of the code, without docstrings, the names of what each is in, and whether `command` gets it."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        where = (*where, node.name)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield where, node.value, addressed
    elif isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        yield where, text, addressed
        for part in node.values:
            if not isinstance(part, ast.Constant):
                yield from _texts(part, where, addressed)
    else:
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            addressed = addressed or name == "command"
            if name == "command" and len(node.args) == 1 and isinstance(node.args[0], ast.Constant):
                # Context.command
                yield where, f"pharmdb {node.args[0].value!s}", True
                return
            if name in _MAKERS:
                yield where, f"ls {name}", True
        for child in ast.iter_child_nodes(node):
            yield from _texts(child, where, addressed)
