"""Checks outside the snapshot: locks, disk space, the newest backup, versions."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta

from pharmdb.backups import manifests, restoring
from pharmdb.database import servers, targets
from pharmdb.database.lock_holders import holders
from pharmdb.doctor import results, sides
from pharmdb.doctor.results import Finding
from pharmdb.errors import PharmdbError

ROOM = 2**30


OLD_BACKUP = timedelta(days=7)


def locks(target: targets.Target) -> Finding:
    """Whether a writer would have to wait now, and for which lock holders."""
    side = sides.of(target)
    if not side.is_locked(target):
        return Finding("locks", results.OK, "no writer would have to wait")
    who = holders(target)
    if not who:
        found = "held by a process that is not visible to this user"
        return Finding("locks", results.WARN, found, note="run the doctor as the user of that process")
    return Finding("locks", results.WARN, "; ".join(map(str, who)), side.end(target, who[0]))


def room(target: targets.Target) -> Finding:
    folder = sides.of(target).folder(target)
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
        return Finding("newest backup", results.FAIL, error.found, error.command, error.note)
    if not entries:
        return Finding("newest backup", results.WARN, "none", targets.command(target, "pharmdb backup"))
    newest = entries[0]
    whole = thorough or newest.size <= servers.LARGE
    try:
        (restoring.verify if whole else restoring.verify_quickly)(newest, target)
    except PharmdbError as error:
        return Finding(
            "newest backup", results.FAIL, f"{newest.name}: {error.found}", targets.command(target, "pharmdb backup")
        )
    age = datetime.now(UTC) - datetime.fromisoformat(newest.taken_at)
    if age > OLD_BACKUP:
        return Finding("newest backup", results.WARN, f"{age.days} days old", targets.command(target, "pharmdb backup"))
    young = f"less than {OLD_BACKUP.days} days old"
    if whole:
        return Finding("newest backup", results.OK, f"readable, {young}")
    return Finding(
        "newest backup",
        results.OK,
        f"size and first bytes as expected, {young}; not read completely",
        results.full_check(target),
    )


def versions() -> Finding:
    if sqlite3.sqlite_version_info < (3, 37):
        found = f"SQLite {sqlite3.sqlite_version}: STRICT tables need 3.37"
        return Finding("versions", results.FAIL, found, note="use a Python with a newer SQLite")
    return Finding("versions", results.OK, "supported")
