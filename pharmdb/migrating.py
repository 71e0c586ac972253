"""Alembic as verbs: upgrade, downgrade, new revision, history, drift."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from pharmdb import backups, database, reports, revisions
from pharmdb.errors import ParameterError, RevisionError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MigrateReport:
    """What a migration did.

    `applied`: order (int64), revision, direction, description. `history`: revision, file, description, state
    (applied, current or pending), oldest first. `drift`: see pharmdb.drift. `rejected`: source_table, reason,
    rows (int64): what this run moved to upgrade_rejects. `written`: the new revision's file, or "".
    `backup`: taken before a downgrade, else None.
    """

    target: str
    before: str | None
    after: str | None
    written: str
    message: str
    steps: tuple[tuple[int, str, str, str], ...]
    backup: backups.Backup | None
    chain: tuple[tuple[str, str, str, str], ...] = field(repr=False)
    differences: tuple[tuple[str, str, str, str, str], ...] = field(repr=False)
    rejects: tuple[tuple[str, str, int], ...] = field(repr=False)

    @property
    def applied(self) -> pd.DataFrame:
        columns = {"order": "int64", "revision": "str", "direction": "str", "description": "str"}
        return reports.table(list(self.steps), columns)

    @property
    def history(self) -> pd.DataFrame:
        return reports.table(list(self.chain), {"revision": "str", "file": "str", "description": "str", "state": "str"})

    @property
    def pending(self) -> pd.DataFrame:
        """The rows of history that are not applied."""
        history = self.history
        return history[history["state"] == "pending"].reset_index(drop=True)

    @property
    def drift(self) -> pd.DataFrame:
        from pharmdb.drift import COLUMNS

        return reports.table(list(self.differences), dict.fromkeys(COLUMNS, "str"))

    @property
    def rejected(self) -> pd.DataFrame:
        return reports.table(list(self.rejects), {"source_table": "str", "reason": "str", "rows": "int64"})

    @property
    def changed(self) -> str:
        done = f"{len(self.steps)} revisions applied"
        if self.message:
            done = f"wrote {self.written}, " + done if self.written else "no difference: no revision written, " + done
        return done

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, revision, drift (the number of differences), next."""
        pending = sum(state == "pending" for *_, state in self.chain)
        return reports.table(
            [
                (
                    True,
                    self.changed,
                    self.after or "base",
                    len(self.differences),
                    "pharmdb migrate" if pending else "pharmdb seed",
                )
            ],
            {"ok": "bool", "changed": "str", "revision": "str", "drift": "int64", "next": "str"},
        )


def migrate(database_url: str = "", *, revision: str = "head", message: str = "", backup: bool = True) -> MigrateReport:
    """Brings the schema to a revision, up or down, in one transaction; makes the SQLite file if there is none.

    With a message, the models' differences from the database are first written as a new revision, and applied. Before
    a downgrade the database is backed up, unless `backup` is False.

    Raises RevisionError for a revision, database or history that can't be migrated, ParameterError for a message that
    is no plain line, LockedError, UnavailableError.
    """
    from pharmdb import drift

    # Papermill makes a number of what looks like one.
    revision = str(revision)
    if message and not re.fullmatch(r"(?=.*[^\W_])[\w ,.:()+-]{1,80}", message):
        raise ParameterError(
            expected="a message of one line: letters, digits, spaces and , . : ( ) + -, at most 80",
            found=repr(message),
            next='pharmdb migrate --message "add x to attempts"',
        )
    if message and revision != "head":
        raise ParameterError(
            expected="a message together with revision=head",
            found=f"revision={revision!r}",
            next=f'pharmdb migrate --message "{message}"',
        )
    target = database.target(database_url)
    with database.changing_schema(target) as connection:
        if message:
            database.refuse_production(
                connection, "write a revision from", "write it against a development database, then migrate this one"
            )
        revisions.require_known(connection, target)
        before = revisions.current_revision(connection)
        rejected_before = _rejects(connection)
        taken = None
        with _explained(revision):
            if backup and _is_downgrade(connection, revision):
                database.hold_still(connection)
                taken = backups.take(connection, target)
            _go_to(connection, revision)
        written = _write_revision(connection, message) if message else None
        after = revisions.current_revision(connection)
        database.stamp_environment(connection)
        script = ScriptDirectory.from_config(revisions.config())
        return MigrateReport(
            target=str(target),
            before=before,
            after=after,
            written=str(written.relative_to(database.ROOT)) if written else "",
            message=message,
            steps=tuple(_steps(script, before, after)),
            backup=taken,
            chain=tuple(_history(script, after)),
            differences=tuple(drift.differences(connection)),
            rejects=tuple((*key, n) for key, n in sorted((_rejects(connection) - rejected_before).items())),
        )


@contextmanager
def _explained(revision: str) -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise RevisionError(
            expected="a revision of migrations/versions, head, base, +N or -N",
            found=f"{revision!r}: {error}",
            next="pharmdb migrate   (its history table lists the revisions)",
        ) from error


def _go_to(connection: Connection, revision: str) -> None:
    if not revision:
        raise CommandError("no revision")
    if revision in ("head", "heads"):
        revisions.head()
    if _is_downgrade(connection, revision):
        command.downgrade(revisions.config(connection), revision)
    else:
        command.upgrade(revisions.config(connection), revision)


def _is_downgrade(connection: Connection, revision: str) -> bool:
    current = revisions.current_revision(connection)
    if current is None or revision in ("", "head", "heads") or revision.startswith("+"):
        return False
    if revision == "base" or revision.startswith("-"):
        return True
    script = ScriptDirectory.from_config(revisions.config())
    wanted = script.get_revision(revision)
    ancestors = {r.revision for r in script.iterate_revisions(current, "base")}
    return wanted is not None and wanted.revision in ancestors and wanted.revision != current


def _write_revision(connection: Connection, message: str) -> Path | None:
    """Writes and applies a revision for the models' differences; None where there is none."""

    settings = revisions.config(connection)
    slug = "_".join(re.findall(r"\w+", message)).lower()
    name = f"{datetime.now(UTC):%Y%m%d}_{slug}.py"

    def check(context: Any, revision: Any, directives: list[Any]) -> None:
        if directives[0].upgrade_ops.is_empty():
            directives.clear()
        elif (Path(ScriptDirectory.from_config(settings).versions) / name).exists():
            # Alembic would write over it.
            raise ParameterError(
                expected="a message that no revision of today has",
                found=f"{name} exists",
                next=f'pharmdb migrate --message "{message} 2"',
            )

    script = command.revision(settings, message, autogenerate=True, process_revision_directives=check)
    if script is None or isinstance(script, list):
        return None
    try:
        revisions.upgrade(connection)
    except BaseException:
        # All or nothing: a file that can't be applied would stop every later migration and reset.
        Path(script.path).unlink()
        raise
    return Path(script.path)


def _steps(script: ScriptDirectory, before: str | None, after: str | None) -> list[tuple[int, str, str, str]]:
    ups = {s.revision for s in _ancestors(script, before)}
    downs = {s.revision for s in _ancestors(script, after)}
    applied = [(s, "up") for s in reversed(_ancestors(script, after)) if s.revision not in ups]
    undone = [(s, "down") for s in _ancestors(script, before) if s.revision not in downs]
    return [(n, s.revision, way, s.doc) for n, (s, way) in enumerate(undone + applied, start=1)]


def _ancestors(script: ScriptDirectory, revision: str | None) -> list[Script]:
    return list(script.iterate_revisions(tuple(revision.split(", ")), "base")) if revision else []


def _history(script: ScriptDirectory, current: str | None) -> list[tuple[str, str, str, str]]:
    applied = {s.revision for s in _ancestors(script, current)}
    return [
        (
            s.revision,
            Path(s.path).name,
            s.doc,
            "current" if s.revision == current else "applied" if s.revision in applied else "pending",
        )
        for s in reversed(list(script.walk_revisions()))
    ]


def _rejects(connection: Connection) -> Counter[tuple[str, str]]:
    if not inspect(connection).has_table("upgrade_rejects"):
        return Counter()
    rows = connection.exec_driver_sql("SELECT source_table, reason, count(*) FROM upgrade_rejects GROUP BY 1, 2")
    return Counter({(table, reason): n for table, reason, n in rows})
