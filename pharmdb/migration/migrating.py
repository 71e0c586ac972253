"""The migrate command: upgrade, downgrade, new revision, history and drift, with Alembic."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.operations.ops import DropColumnOp
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from pharmdb import reports, settings
from pharmdb.arguments import checked
from pharmdb.backups import manifests, taking
from pharmdb.cluster import placing
from pharmdb.database import environments, locks, targets, transactions
from pharmdb.database.placements import placements
from pharmdb.errors import ParameterError, RevisionError
from pharmdb.migration import checks
from pharmdb.schema import revisions

if TYPE_CHECKING:
    import pandas as pd

# Later revisions change distributed tables where they are. Downgrades and older revisions drop and alter tables in ways
# that Citus refuses: for these, the tables are on one server.
_FIRST_ON_NODES = "7b1f4e90d2a6"
_HISTORY = {"revision": "str", "file": "str", "description": "str", "state": "str"}


@dataclass(frozen=True)
class MigrateReport:
    """What a migration did.

    `applied`: order (int64), revision, direction, description. `history`: revision, file, description, state
    (applied, current or pending), oldest first. `drift`: see pharmdb.drift. `rejected`: source_table, reason,
    rows (int64): what this run moved to upgrade_rejects. `written`: the new revision's file, or "". `dropped`: the
    columns that it drops, because of which it was not applied. `backup`: taken before a downgrade, else None.
    `placed`: the new tables that were distributed, on a Citus cluster. `undistributed`: whether all distributed tables
    are gone, so that those of a later migration have to be distributed again.
    """

    target: str
    before: str | None
    after: str | None
    written: str
    dropped: tuple[str, ...]
    message: str
    steps: tuple[tuple[int, str, str, str], ...]
    backup: manifests.Backup | None
    chain: tuple[tuple[str, str, str, str], ...] = field(repr=False)
    differences: tuple[tuple[str, str, str, str, str], ...] = field(repr=False)
    rejects: tuple[tuple[str, str, int], ...] = field(repr=False)
    placed: tuple[str, ...] = ()
    undistributed: bool = False

    @property
    def way_back(self) -> str:
        """The command that restores the content from before a downgrade; "" without a backup."""
        return manifests.way_back(self.target, self.backup)

    @property
    def applied(self) -> pd.DataFrame:
        columns = {"order": "int64", "revision": "str", "direction": "str", "description": "str"}
        return reports.table(list(self.steps), columns)

    @property
    def history(self) -> pd.DataFrame:
        return reports.table(list(self.chain), _HISTORY)

    @property
    def pending(self) -> pd.DataFrame:
        """The rows of history that are not applied."""
        return reports.table([row for row in self.chain if row[3] == "pending"], _HISTORY)

    @property
    def drift(self) -> pd.DataFrame:
        from pharmdb.schema.drift import COLUMNS

        return reports.table(list(self.differences), dict.fromkeys(COLUMNS, "str"))

    @property
    def rejected(self) -> pd.DataFrame:
        return reports.table(list(self.rejects), {"source_table": "str", "reason": "str", "rows": "int64"})

    @property
    def changed(self) -> str:
        done = f"{len(self.steps)} revisions applied"
        if self.placed:
            done += f", {', '.join(self.placed)} distributed"
        if self.undistributed:
            done += "; no table is distributed any more: run pharmdb distribute after the next migration"
        if not self.message:
            return done
        if self.dropped:
            return f"wrote {self.written}, not applied: it drops {', '.join(self.dropped)}"
        if self.differences:
            done += f"; {len(self.differences)} differences must be written by hand"
        elif not self.written:
            return f"no difference: no revision written, {done}"
        return f"wrote {self.written}, {done}" if self.written else f"no revision written, {done}"

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, changed, revision, drift (the number of differences), next.

        ok is False if a message was given and differences between database and models remain.
        """
        ok = not (self.message and self.differences and not self.dropped)
        pending = any(state == "pending" for *_, state in self.chain)
        # The doctor lists the differences that must be written by hand.
        next_ = targets.command(
            self.target, "pharmdb migrate" if pending else "pharmdb seed" if ok else "pharmdb doctor"
        )
        row = (ok, self.changed, self.after or "base", len(self.differences), next_)
        columns = {"ok": "bool", "changed": "str", "revision": "str", "drift": "int64", "next": "str"}
        return reports.table([row], columns)


@checked
def migrate(database_url: str = "", *, revision: str = "head", message: str = "", backup: bool = True) -> MigrateReport:
    """Migrates the schema to a revision, up or down, in one transaction; creates the SQLite file if it is missing.

    With a message, the differences between models and database are then written as a new revision, which is applied
    unless it drops a column: the column may have been renamed. Before a downgrade the database is backed up, unless
    `backup` is False.

    Raises RevisionError for a revision, database or history that can't be migrated, ParameterError for an invalid
    message, LockedError, UnavailableError.
    """
    # Papermill converts text that looks like a number.
    revision = str(revision)
    target = targets.target(database_url)
    if message and not re.fullmatch(r"(?=.*[^\W_])[\w ,.:()+-]{1,80}", message):
        raise ParameterError(
            expected="a message of one line: letters, digits, spaces and , . : ( ) + -, at most 80",
            found=repr(message),
            command=targets.command(target, 'pharmdb migrate --message "add x to attempts"'),
        )
    if message and revision != "head":
        raise ParameterError(
            expected="a message together with revision=head",
            found=f"revision={revision!r}",
            command=targets.command(target, f'pharmdb migrate --message "{message}"'),
        )
    if message and not settings.is_checkout():
        raise ParameterError(
            expected="a checkout of pharmdb, where a new revision belongs",
            found=f"a message, and pharmdb installed in {settings.SOURCE}",
            note="write the revision in a checkout and install pharmdb from it; without a message migrate works here",
        )
    written: list[Path] = []
    try:
        with transactions.changing_schema(target) as connection:
            return _migrate(connection, target, revision, message, backup, written)
    except BaseException:
        # All or nothing: a file that can't be applied would stop every later migration and reset.
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _migrate(
    connection: Connection, target: targets.Target, revision: str, message: str, backup: bool, written: list[Path]
) -> MigrateReport:
    from pharmdb.schema import drift

    if message:
        environments.refuse_production(connection, "write a revision from")
    revisions.require_known(connection, target)
    before = revisions.current_heads(connection)
    placed = placements(connection)
    rejected_before = _rejects(connection)
    taken = None
    with _explained(target, revision):
        _refuse_short(revision)
        down = _is_downgrade(connection, revision)
        if backup and down:
            locks.lock_tables(connection)
            taken = taking.take(connection, target)
        with placing.gathered(connection) if down or _is_old(before) else nullcontext():
            _go_to(connection, target, revision)
    dropped = _write_revision(connection, target, message, written) if message else ()
    steps = placing.place(connection) if placed else []
    after = revisions.current_heads(connection)
    environments.stamp_environment(connection)
    script = ScriptDirectory.from_config(revisions.config())
    return MigrateReport(
        target=str(target),
        before=", ".join(before) or None,
        after=", ".join(after) or None,
        written=str(written[0].relative_to(settings.SOURCE)) if written else "",
        dropped=dropped,
        message=message,
        steps=tuple(_steps(script, before, after)),
        backup=taken,
        chain=tuple(_history(script, after)),
        differences=tuple(drift.differences(connection)),
        rejects=tuple((*key, n) for key, n in sorted((_rejects(connection) - rejected_before).items())),
        placed=tuple(dict.fromkeys(step.table for step in steps)),
        undistributed=bool(placed) and not placements(connection),
    )


@contextmanager
def _explained(target: targets.Target, revision: str) -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise RevisionError(
            expected="a revision of migrations/versions, head, base, +N or -N",
            found=f"{revision!r}: {error}",
            command=targets.command(target, "pharmdb migrate"),
        ) from error


# Alembic takes any unique beginning of a revision's name, so that a slip such as 5 for -5 would be one.
_SHORTEST = 4


def _refuse_short(revision: str) -> None:
    name = re.split(r"[-+@]", revision)[0]
    names = {s.revision for s in ScriptDirectory.from_config(revisions.config()).walk_revisions()}
    if 0 < len(name) < _SHORTEST and name not in names:
        raise CommandError(f"a beginning of fewer than {_SHORTEST} characters")


def _go_to(connection: Connection, target: targets.Target, revision: str) -> None:
    if not revision:
        raise CommandError("no revision")
    if revision in ("head", "heads"):
        revisions.head(target=target)
    if _is_downgrade(connection, revision):
        command.downgrade(revisions.config(connection), revision)
    else:
        command.upgrade(revisions.config(connection), revision)


def _is_downgrade(connection: Connection, revision: str) -> bool:
    current = revisions.current_heads(connection)
    if not current or revision in ("", "head", "heads") or revision.startswith("+"):
        return False
    if revision == "base" or revision.startswith("-"):
        return True
    script = ScriptDirectory.from_config(revisions.config())
    wanted = script.get_revision(revision)
    ancestors = {r.revision for r in script.iterate_revisions(current, "base")}
    return wanted is not None and wanted.revision in ancestors and wanted.revision not in current


def _is_old(heads: tuple[str, ...]) -> bool:
    """Whether a pending revision may be one that was not written for the nodes of a Citus cluster."""
    script = ScriptDirectory.from_config(revisions.config())
    return _FIRST_ON_NODES not in {revision.revision for revision in _ancestors(script, heads)}


def _write_revision(
    connection: Connection, target: targets.Target, message: str, written: list[Path]
) -> tuple[str, ...]:
    """Writes a revision for the differences, if any, and applies it unless it drops columns; returns these."""
    settings = revisions.config(connection)
    slug = "_".join(re.findall(r"\w+", message)).lower()
    name = f"{datetime.now(UTC):%Y%m%d}_{slug}.py"
    dropped: list[str] = []

    def check(context: Any, revision: Any, directives: list[Any]) -> None:
        changes = directives[0].upgrade_ops
        checks.complete(connection, changes, directives[0].downgrade_ops)
        dropped.extend(
            f"{change.table_name}.{change.column_name}" for change in _flat(changes) if isinstance(change, DropColumnOp)
        )
        if changes.is_empty():
            directives.clear()
        elif (Path(ScriptDirectory.from_config(settings).versions) / name).exists():
            # Alembic would overwrite it.
            raise ParameterError(
                expected="a message that no other revision of today has",
                found=f"{name} exists",
                command=targets.command(target, f'pharmdb migrate --message "{message[:77]} 2"'),
            )

    script = command.revision(settings, message, autogenerate=True, process_revision_directives=check)
    if script is None or isinstance(script, list):
        return ()
    written.append(Path(script.path))
    if not dropped:
        revisions.upgrade(connection)
    return tuple(dropped)


def _flat(change: Any) -> Iterator[Any]:
    yield change
    for inner in getattr(change, "ops", ()):
        yield from _flat(inner)


def _steps(script: ScriptDirectory, before: tuple[str, ...], after: tuple[str, ...]) -> list[tuple[int, str, str, str]]:
    ups = {s.revision for s in _ancestors(script, before)}
    downs = {s.revision for s in _ancestors(script, after)}
    applied = [(s, "up") for s in reversed(_ancestors(script, after)) if s.revision not in ups]
    undone = [(s, "down") for s in _ancestors(script, before) if s.revision not in downs]
    return [(n, s.revision, way, s.doc) for n, (s, way) in enumerate(undone + applied, start=1)]


def _ancestors(script: ScriptDirectory, heads: tuple[str, ...]) -> list[Script]:
    return list(script.iterate_revisions(heads, "base")) if heads else []


def _history(script: ScriptDirectory, current: tuple[str, ...]) -> list[tuple[str, str, str, str]]:
    applied = {s.revision for s in _ancestors(script, current)}
    return [
        (
            s.revision,
            Path(s.path).name,
            s.doc,
            "current" if s.revision in current else "applied" if s.revision in applied else "pending",
        )
        for s in reversed(list(script.walk_revisions()))
    ]


def _rejects(connection: Connection) -> Counter[tuple[str, str]]:
    if not inspect(connection).has_table("upgrade_rejects"):
        return Counter()
    rows = connection.exec_driver_sql("SELECT source_table, reason, count(*) FROM upgrade_rejects GROUP BY 1, 2")
    return Counter({(table, reason): n for table, reason, n in rows})
