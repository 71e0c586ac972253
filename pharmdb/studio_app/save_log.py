"""The log of saves: one line before each commit, and one after it that confirms the save."""

from __future__ import annotations

import getpass
import json
import os
import platform
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import UnavailableError
from pharmdb.studio_app.catalogue import Table
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.lost_rows import text_of
from pharmdb.studio_app.statement_log import MASKED, masked

# All saves, in place of the latest.
ALL = 0


def now() -> str:
    """The current time for an entry: UTC in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def who(target: targets.Target) -> dict[str, str]:
    """The first fields of an entry: time, user and database."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an account without a name
        user = str(os.getuid())
    return {"at": now(), "who": f"{user}@{platform.node()}", "database": str(target)}


def entry_of(table: Table, change: Change, row: Sequence[Any] | None, key: list[str | None] | None) -> dict[str, Any]:
    """A change for the log: the row before and after, without secrets."""

    now = {} if row is None else {c.name: text_of(c, v) for c, v in zip(table.columns.values(), row, strict=True)}
    after = {name: None if value is None else masked(value) for name, value in change.values.items()}
    if change.password is not None:
        after |= {c.name: MASKED for c in table.columns.values() if c.is_password}
    before = now if change.kind == "delete" else {name: now[name] for name in after if name in now}
    return {
        "change": change.id,
        "kind": change.kind,
        "table": table.name,
        "key": [None if part is None else part.partition(":")[2] for part in (key or change.key)],
        "before": before,
        "after": after,
    }


def log_statement(target: targets.Target, statement: str, rows: int | None, log: Path) -> Callable[[], str]:
    """Logs a statement of the unlocked console before its commit.

    The returned function logs the confirmation after the commit, and returns a sentence if it can't be written.
    """
    number = secrets.token_hex(8)
    append(log, {"save": number, "state": "saving", **who(target), "statement": masked(statement), "rows": rows})
    return lambda: append_done(log, {"save": number, "state": "saved", "at": now()})


def append_done(path: Path, entry: dict[str, Any]) -> str:
    """Writes the second line of a committed save. Returns a sentence if it can't be written."""
    try:
        append(path, entry)
    except UnavailableError as error:
        return f"saved, but not confirmed in the log: {error.found}"
    return ""


def append(path: Path, entry: dict[str, Any]) -> None:
    """Writes a line and waits until it is on disk. Raises UnavailableError if it can't be written."""
    line = json.dumps(entry) + "\n"
    try:
        settings.make_private(path.parent)
        descriptor = settings.open_private(path, os.O_APPEND)
        try:
            os.write(descriptor, line.encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnavailableError(
            expected=f"to log the save in {path}", found=str(error), note=f"make {path.parent} writable"
        ) from error


def saves(target: targets.Target, *, limit: int = 100, log: Path) -> list[dict[str, Any]]:
    """The latest saves of this database, newest first; `state` is not "saved" if the commit was not confirmed.

    `reverted` is set for those that a later save has reverted.
    """
    entries = entries_of(log)
    done = {entry["save"] for entry in entries if entry.get("state") == "saved" and "save" in entry}
    # The second line of a save only confirms the first, so it is not listed.
    own = [e for e in entries if e.get("database") == str(target) and ("changes" in e or "statement" in e)]
    reverted = {entry["reverts"] for entry in own if entry.get("reverts") and entry.get("save") in done}
    latest = own[-limit:] if limit else own
    return [
        {
            **entry,
            "state": "saved" if entry.get("save") in done else entry.get("state", ""),
            "reverted": entry.get("save") in reverted,
        }
        for entry in reversed(latest)
    ]


def entries_of(log: Path) -> list[dict[str, Any]]:
    """The entries of the log. Truncated lines, as after a full disk, are skipped."""
    if not log.exists():
        return []
    found = []
    for line in log.read_bytes().split(b"\n"):
        with suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                found.append(entry)
    return found
