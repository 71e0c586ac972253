"""The newest revision according to the revision files, read without Alembic.

Importing Alembic takes longer than a whole seed. Most commands only ask whether the database is at the newest revision.
"""

from __future__ import annotations

import ast
from contextlib import suppress
from pathlib import Path
from typing import Any

from pharmdb import settings


def heads() -> tuple[str, ...]:
    """The revisions on which no other is based, sorted; () where a file states its place in a way of its own."""
    stated = [_stated(path) for path in sorted((settings.SOURCE / "migrations" / "versions").glob("*.py"))]
    if not all("revision" in names and "down_revision" in names for names in stated):
        return ()
    based_on = {base for names in stated for base in _each(names["down_revision"])}
    return tuple(sorted({str(names["revision"]) for names in stated} - based_on))


def _stated(path: Path) -> dict[str, Any]:
    """The literals that a revision file assigns to `revision` and `down_revision`."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name) and target.id in ("revision", "down_revision"):
                with suppress(ValueError):  # not a literal
                    found[target.id] = ast.literal_eval(node.value)
    return found


def _each(bases: Any) -> tuple[str, ...]:
    return () if bases is None else (bases,) if isinstance(bases, str) else tuple(bases)
