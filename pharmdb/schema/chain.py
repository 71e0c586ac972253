"""The newest revision according to the revision files, read without Alembic.

Importing Alembic takes longer than a whole seed. Most commands only ask whether the database is at the newest revision.
"""

from __future__ import annotations

import re
from pathlib import Path

from pharmdb import settings

# How Alembic's template writes it: a name, None, or the names that a merge is based on.
_STATED = re.compile(
    r"""^(revision|down_revision)\b(?:\s*:[^=\n]*)?\s*=\s*(None|"[\w-]+"|'[\w-]+'|\([\s\w,"'-]*\))\s*(?:#.*)?$""",
    re.MULTILINE,
)


def heads() -> tuple[str, ...]:
    """The revisions on which no other is based, sorted; () if a file computes what others state."""
    stated = [_stated(path) for path in sorted((settings.SOURCE / "migrations" / "versions").glob("*.py"))]
    if not all(names.keys() == {"revision", "down_revision"} for names in stated):
        return ()
    based_on = {base for names in stated for base in names["down_revision"]}
    return tuple(sorted({name for names in stated for name in names["revision"]} - based_on))


def _stated(path: Path) -> dict[str, list[str]]:
    text = path.read_text(encoding="utf-8")
    return {name: re.findall(r"[\w-]+", value) if value != "None" else [] for name, value in _STATED.findall(text)}
