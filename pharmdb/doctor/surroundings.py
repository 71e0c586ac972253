"""Checks beside the snapshot: locks, disk space, the newest backup, versions."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from pharmdb.backups import manifests, restoring
from pharmdb.database import servers, targets, transactions
from pharmdb.database.lock_holders import holders
from pharmdb.doctor import remedies, results
from pharmdb.doctor.results import Finding
from pharmdb.errors import PharmdbError

ROOM = 2**30


OLD_BACKUP = timedelta(days=7)


def locks(target: targets.Target) -> Finding:
    """Whether a writer would have to wait now, and for whom."""
    if not _is_locked(target):
        return Finding("locks", results.OK, "no writer would wait")
    who = holders(target)
    if not who:
        found = "somebody whose processes can't be seen from here"
        return Finding("locks", results.WARN, found, "run the doctor as the user who runs them")
    command = (
        f"kill {who[0].pid}"
        if target.is_sqlite
        else remedies.sql_command(target, f"SELECT pg_terminate_backend({who[0].pid})")
    )
    return Finding("locks", results.WARN, "; ".join(map(str, who)), command)


def _is_locked(target: targets.Target) -> bool:
    if target.is_sqlite:
        if not target.path.is_file():
            return False
        try:
            with closing(sqlite3.connect(f"{target.path.as_uri()}?mode=rw", uri=True, timeout=0)) as connection:
                # Takes the lock and gives it back; writes nothing.
                connection.execute("BEGIN IMMEDIATE").execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            return "locked" in str(error)
        except sqlite3.DatabaseError:
            return False
        return False
    try:
        with transactions.watching(target) as connection:
            return bool(connection.exec_driver_sql(_BLOCKERS).scalar_one())
    except PharmdbError:
        return False


# Locks that a writer or a schema change waits for: held by a transaction that sits idle, or waited for by somebody.
_BLOCKERS = """
    SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND (NOT granted OR (state LIKE 'idle in transaction%%'
                           AND locktype IN ('relation', 'advisory')
                           AND mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                                        'RowExclusiveLock'))))
"""


def room(target: targets.Target) -> Finding:
    folder = target.path.parent if target.is_sqlite else manifests.folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= ROOM:
        return Finding("disk", results.OK, "more than 1 GiB free")
    return Finding(
        "disk",
        results.WARN,
        f"{free / 2**20:.0f} MiB free at {folder}",
        f"du -xh {shlex.quote(str(folder))} | sort -h | tail",
    )


def newest_backup(target: targets.Target, thorough: bool) -> Finding:
    try:
        entries = manifests.of(target)
    except PharmdbError as error:
        return Finding("newest backup", results.FAIL, error.found, error.next)
    if not entries:
        return Finding("newest backup", results.WARN, "none", "pharmdb backup")
    newest = entries[0]
    whole = thorough or newest.size <= servers.LARGE
    try:
        (restoring.verify if whole else restoring.glance)(newest)
    except PharmdbError as error:
        return Finding("newest backup", results.FAIL, f"{newest.name}: {error.found}", "pharmdb backup")
    age = datetime.now(UTC) - datetime.fromisoformat(newest.taken_at)
    if age > OLD_BACKUP:
        return Finding("newest backup", results.WARN, f"{age.days} days old", "pharmdb backup")
    young = f"less than {OLD_BACKUP.days} days old"
    if whole:
        return Finding("newest backup", results.OK, f"opens, {young}")
    return Finding(
        "newest backup",
        results.OK,
        f"begins as it should, of its full size, {young}; the rest not read",
        results.WHOLE_LOOK,
    )


def versions() -> Finding:
    if sqlite3.sqlite_version_info < (3, 37):
        found = f"SQLite {sqlite3.sqlite_version}: STRICT tables need 3.37"
        return Finding("versions", results.FAIL, found, "make PYTHON=… with a Python that brings a newer SQLite")
    return Finding("versions", results.OK, "supported")
