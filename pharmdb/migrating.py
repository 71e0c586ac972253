"""Alembic as verbs: upgrade, downgrade, new revision, history, drift."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from pharmdb import database, reports
from pharmdb.errors import ParameterError, RevisionError

if TYPE_CHECKING:
    import pandas as pd


def config(connection: Connection | None = None) -> Config:
    """The settings of [tool.alembic] in pyproject.toml; env.py works on the connection, if there is one."""
    settings = Config(toml_file=database.ROOT / "pyproject.toml", stdout=io.StringIO())
    settings.attributes["connection"] = connection
    # The longest message that migrate takes: a file's name is never cut.
    settings.set_main_option("truncate_slug_length", "80")
    return settings


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None where no revision was ever applied."""
    heads = MigrationContext.configure(connection).get_current_heads()
    return ", ".join(heads) or None


def head(script: ScriptDirectory | None = None) -> str:
    """The newest revision that the code knows. Raises RevisionError where there are two."""
    script = script or ScriptDirectory.from_config(config())
    heads = script.get_heads()
    if len(heads) != 1:
        raise RevisionError(
            expected="one newest revision in migrations/versions",
            found=f"{len(heads)}: {', '.join(heads)}",
            next='alembic merge heads -m "merge"   then pharmdb migrate',
        )
    return heads[0]


def require_known(connection: Connection, target: database.Target | str) -> None:
    """Raises RevisionError for a database newer than the code, or with tables that no revision made."""
    script = ScriptDirectory.from_config(config())
    known = {revision.revision for revision in script.walk_revisions()}
    current = current_revision(connection)
    unknown = [revision for revision in (current or "").split(", ") if revision and revision not in known]
    if unknown:
        raise RevisionError(
            expected=f"{target} at a revision that this code knows; the newest is {', '.join(script.get_heads())}",
            found=f"revision {', '.join(unknown)}, written by newer code or another branch",
            next="git pull, then run the same command again",
        )
    if current is None:
        tables = [t for t in inspect(connection).get_table_names() if t not in database.BOOKKEEPING_TABLES]
        if tables:
            raise RevisionError(
                expected=f"{target} empty, or at a revision of pharmdb",
                found=f"{len(tables)} table(s) that no revision made: {', '.join(sorted(tables)[:8])}",
                next="set PHARMDB_URL to another database; or, if all that this one holds may go: pharmdb reset",
            )


def require_head(connection: Connection, target: database.Target) -> None:
    """Raises RevisionError unless the database is at the newest revision."""
    require_known(connection, target)
    current, newest = current_revision(connection), head()
    if current != newest:
        raise RevisionError(
            expected=f"{target} at revision {newest}",
            found=f"revision {current}" if current else "no revision: the database is empty",
            next="pharmdb migrate",
        )


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Applies the revisions up to this one inside the caller's transaction; see database.changing_schema."""
    command.upgrade(config(connection), revision)


# -- the verb ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MigrateReport:
    """What a migration did.

    `applied`: order (int64), revision, direction, description. `history`: revision, file, description, state
    (applied, current or pending), oldest first. `drift`: see pharmdb.drift. `rejected`: source_table, reason,
    rows (int64): what this run moved to upgrade_rejects. `written`: the new revision's file, or "".
    """

    target: str
    before: str | None
    after: str | None
    written: str
    message: str
    steps: tuple[tuple[int, str, str, str], ...]
    revisions: tuple[tuple[str, str, str, str], ...] = field(repr=False)
    differences: tuple[tuple[str, str, str, str, str], ...] = field(repr=False)
    rejects: tuple[tuple[str, str, int], ...] = field(repr=False)

    @property
    def applied(self) -> pd.DataFrame:
        columns = {"order": "int64", "revision": "str", "direction": "str", "description": "str"}
        return reports.table(list(self.steps), columns)

    @property
    def history(self) -> pd.DataFrame:
        return reports.table(
            list(self.revisions), {"revision": "str", "file": "str", "description": "str", "state": "str"}
        )

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
        pending = sum(state == "pending" for *_, state in self.revisions)
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


def migrate(database_url: str = "", *, revision: str = "head", message: str = "") -> MigrateReport:
    """Brings the schema to a revision, up or down, in one transaction; makes the SQLite file if there is none.

    With a message, the models' differences from the database are first written as a new revision, and applied.

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
        require_known(connection, target)
        before = current_revision(connection)
        rejected_before = _rejects(connection)
        _go_to(connection, revision)
        written = _write_revision(connection, message) if message else None
        after = current_revision(connection)
        database.stamp_environment(connection)
        script = ScriptDirectory.from_config(config())
        return MigrateReport(
            target=str(target),
            before=before,
            after=after,
            written=str(written.relative_to(database.ROOT)) if written else "",
            message=message,
            steps=tuple(_steps(script, before, after)),
            revisions=tuple(_history(script, after)),
            differences=tuple(drift.differences(connection)),
            rejects=tuple((*key, n) for key, n in sorted((_rejects(connection) - rejected_before).items())),
        )


def _go_to(connection: Connection, revision: str) -> None:
    script = ScriptDirectory.from_config(config())
    if revision in ("head", "heads"):
        head(script)
    try:
        if not revision:
            raise CommandError("no revision")
        current = current_revision(connection)
        if revision == "base" or revision.startswith("-") or _is_older(script, revision, current):
            command.downgrade(config(connection), revision)
        else:
            command.upgrade(config(connection), revision)
    except CommandError as error:
        raise RevisionError(
            expected="a revision of migrations/versions, head, base, +N or -N",
            found=f"{revision!r}: {error}",
            next="pharmdb migrate   (its history table lists the revisions)",
        ) from error


def _is_older(script: ScriptDirectory, revision: str, current: str | None) -> bool:
    if current is None or revision in ("head", "heads") or revision.startswith("+"):
        return False
    wanted = script.get_revision(revision)
    ancestors = {r.revision for r in script.iterate_revisions(current, "base")}
    return wanted is not None and wanted.revision in ancestors and wanted.revision != current


def _write_revision(connection: Connection, message: str) -> Path | None:
    """Writes and applies a revision for the models' differences; None where there is none."""

    settings = config(connection)
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
        upgrade(connection)
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
