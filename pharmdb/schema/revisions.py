"""The schema version of a database in the chain of revisions, and the checksums of the revision files."""

from __future__ import annotations

import hashlib
import io
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from sqlalchemy.schema import CreateTable

from pharmdb import settings
from pharmdb.database import postgresql_errors, targets
from pharmdb.errors import RevisionError, UnknownRevisionError
from pharmdb.schema import bookkeeping, branches, chain, ownership

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import Script, ScriptDirectory

_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
# The checksum of each revision's file when it was applied.
_applied = Table(
    "pharmdb_revisions",
    MetaData(),
    Column("revision", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
)


# Merges branches of the chain.
MERGE = 'alembic merge heads -m "merge"'


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; env.py uses the connection, if one is given."""
    # Alembic is imported where it is needed: see chain.
    from alembic.config import Config

    # A wheel has no pyproject.toml: it applies revisions, but never writes one.
    toml = settings.SOURCE / "pyproject.toml" if settings.is_checkout() else None
    found = Config(toml_file=toml, stdout=io.StringIO())
    found.set_main_option("script_location", str(settings.SOURCE / "migrations").replace("%", "%%"))
    found.attributes["connection"] = connection
    # The longest message that migrate accepts, so that a file name is never truncated.
    found.set_main_option("truncate_slug_length", "80")
    return found


def current_heads(connection: Connection) -> tuple[str, ...]:
    """The revisions that the database is at: none, one, or several if branches were applied but not merged."""
    if not inspect(connection).has_table(_version.name):
        return ()
    return tuple(connection.scalars(select(_version.c.version_num)))


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is at; None if no revision was ever applied.

    Raises RevisionError if it is at several.
    """
    heads = current_heads(connection)
    if len(heads) > 1:
        raise RevisionError(
            expected="a database at one revision", found=f"at {len(heads)}: {', '.join(heads)}", command=MERGE
        )
    return heads[0] if heads else None


def is_at_head(connection: Connection) -> bool:
    """Whether the database is at the newest revision and at no other. Raises like `head`."""
    return _is_at_stated_head(connection) or current_heads(connection) == (head(),)


def _is_at_stated_head(connection: Connection) -> bool:
    """As `is_at_head`, without Alembic; False also if the files leave the answer to Alembic."""
    newest = chain.heads()
    return len(newest) == 1 and current_heads(connection) == newest


def head(script: ScriptDirectory | None = None, *, target: targets.Target | None = None) -> str:
    """The newest revision that the code knows.

    Raises RevisionError if there are several; its command then also migrates the target, if one is given.
    """
    heads = (script or _script()).get_heads()
    if len(heads) != 1:
        raise RevisionError(
            expected="one newest revision in migrations/versions",
            found=f"{len(heads)}: {', '.join(heads)}",
            command=f"{MERGE} && {targets.command(target, 'pharmdb migrate')}" if target else MERGE,
        )
    return heads[0]


def _script() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(config())


def require_known(connection: Connection, target: targets.Target) -> None:
    """Raises RevisionError for a database newer than the code, or with tables that no revision created."""
    script = _script()
    known = {revision.revision for revision in script.walk_revisions()}
    heads = current_heads(connection)
    unknown = [revision for revision in heads if revision not in known]
    if unknown:
        get_code, reset = branches.command(unknown[0]), ownership.reset_command(connection, target)
        note = "install the version of pharmdb that applied it" if not get_code else "then run the same command again"
        if get_code and reset:
            note += f"; or, if nothing of the other branch is needed: {reset}"
        raise UnknownRevisionError(
            expected=f"{target} at a revision that this code knows; the newest is {', '.join(script.get_heads())}",
            found=f"revision {', '.join(unknown)}, written by newer code or another branch",
            command=get_code or reset,
            note=note,
        )
    if not heads:
        tables = [t for t in inspect(connection).get_table_names() if t not in bookkeeping.BOOKKEEPING_TABLES]
        if tables:
            raise _without_revision(connection, target, tables)
        postgresql_errors.require_schema(connection, target)


def _without_revision(connection: Connection, target: targets.Target, tables: list[str]) -> RevisionError:
    """An old database can be upgraded, one that lost its revision may be reset, and another program's is left alone."""
    command, note = "", "it belongs to another program: set PHARMDB_URL to another database"
    if ownership.is_old(connection, tables):
        # Without PHARMDB_URL in between, a password in it reaches the upgrade.
        source = '"$PHARMDB_URL"' if target.url.password else shlex.quote(str(target))
        command = f"PHARMDB_SOURCE={source} pharmdb upgrade --database-url sqlite:///data/upgraded.db"
        note = "or set PHARMDB_URL to another database"
    elif ownership.is_ours(connection, tables):
        command = ownership.reset_command(connection, target)
        note = "only if everything in it may be deleted; else set PHARMDB_URL to another database"
    return RevisionError(
        expected=f"{target} to be empty or at a revision of pharmdb",
        found=f"{len(tables)} table(s) that no revision created: {', '.join(sorted(tables)[:8])}",
        command=command,
        note=note,
    )


def require_head(connection: Connection, target: targets.Target) -> None:
    """Raises RevisionError unless the database is at the newest revision."""
    if _is_at_stated_head(connection):
        return
    require_known(connection, target)
    heads, newest = current_heads(connection), head(target=target)
    if heads != (newest,):
        raise RevisionError(
            expected=f"{target} at revision {newest}",
            found=f"revision {', '.join(heads)}" if heads else "no revision: the database is empty",
            command=targets.command(target, "pharmdb migrate"),
        )


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Applies the revisions up to this one inside the caller's transaction; see transactions.changing_schema."""
    from alembic import command

    command.upgrade(config(connection), revision)


def record_step(connection: Connection, step: Any) -> None:
    """Records the checksum of a revision's file when it is applied; env.py calls this for every step."""
    if step.is_stamp:
        return
    connection.execute(CreateTable(_applied, if_not_exists=True))
    revision = step.up_revision
    connection.execute(_applied.delete().where(_applied.c.revision == revision.revision))
    if step.is_upgrade:
        connection.execute(_applied.insert().values(revision=revision.revision, sha256=_file_hash(revision)))


def edited_revisions(connection: Connection) -> list[str]:
    """The files of applied revisions that have changed since they were applied."""
    if not inspect(connection).has_table(_applied.name):
        return []
    known = {s.revision: s for s in _script().walk_revisions()}
    rows = list(connection.execute(select(_applied)))
    return sorted(Path(known[r].path).name for r, applied in rows if r in known and _file_hash(known[r]) != applied)


def _file_hash(revision: Script) -> str:
    return hashlib.sha256(Path(revision.path).read_bytes().replace(b"\r\n", b"\n")).hexdigest()
