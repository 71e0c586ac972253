"""Where a database stands in the chain of revisions, and what the files of the chain say."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.schema import CreateTable

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import RevisionError
from pharmdb.schema import bookkeeping

# What each revision's file said when it was applied.
_applied = Table(
    "pharmdb_revisions",
    MetaData(),
    Column("revision", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
)


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; env.py works on the connection, if there is one."""
    # A wheel brings no pyproject.toml: it applies revisions, and writes none.
    toml = settings.SOURCE / "pyproject.toml" if settings.is_checkout() else None
    found = Config(toml_file=toml, stdout=io.StringIO())
    found.set_main_option("script_location", str(settings.SOURCE / "migrations").replace("%", "%%"))
    found.attributes["connection"] = connection
    # The longest message that migrate takes: a file's name is never cut.
    found.set_main_option("truncate_slug_length", "80")
    return found


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


def require_known(connection: Connection, target: targets.Target) -> None:
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
        tables = [t for t in inspect(connection).get_table_names() if t not in bookkeeping.BOOKKEEPING_TABLES]
        if tables:
            raise RevisionError(
                expected=f"{target} empty, or at a revision of pharmdb",
                found=f"{len(tables)} table(s) that no revision made: {', '.join(sorted(tables)[:8])}",
                next="set PHARMDB_URL to another database; or, if all that this one holds may go: "
                + targets.command(target, "pharmdb reset"),
            )


def require_head(connection: Connection, target: targets.Target) -> None:
    """Raises RevisionError unless the database is at the newest revision."""
    require_known(connection, target)
    current, newest = current_revision(connection), head()
    if current != newest:
        raise RevisionError(
            expected=f"{target} at revision {newest}",
            found=f"revision {current}" if current else "no revision: the database is empty",
            next=targets.command(target, "pharmdb migrate"),
        )


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Applies the revisions up to this one inside the caller's transaction; see database.changing_schema."""
    command.upgrade(config(connection), revision)


def record_step(connection: Connection, step: Any) -> None:
    """Remembers what a revision's file said when it was applied; env.py calls it for every step."""
    if step.is_stamp:
        return
    connection.execute(CreateTable(_applied, if_not_exists=True))
    revision = step.up_revision
    connection.execute(_applied.delete().where(_applied.c.revision == revision.revision))
    if step.is_upgrade:
        connection.execute(_applied.insert().values(revision=revision.revision, sha256=_file_hash(revision)))


def edited_revisions(connection: Connection) -> list[str]:
    """The files of applied revisions that no longer say what they said then."""
    if not inspect(connection).has_table(_applied.name):
        return []
    known = {s.revision: s for s in ScriptDirectory.from_config(config()).walk_revisions()}
    rows = list(connection.execute(select(_applied)))
    return sorted(Path(known[r].path).name for r, applied in rows if r in known and _file_hash(known[r]) != applied)


def _file_hash(revision: Script) -> str:
    return hashlib.sha256(Path(revision.path).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
