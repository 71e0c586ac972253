"""The backup folder: writes files that are complete or absent, keeps the newest backups, protects those in use.

All of it holds between processes: a lock on the folder while files get their names, a lock on each file in use.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pharmdb import settings
from pharmdb.backups import files, manifests
from pharmdb.backups.manifests import Backup
from pharmdb.database import sqlite_codes, targets
from pharmdb.errors import BackupError, NoRoomForBackupError, UnsoundSourceError


@contextmanager
def partial(rest: str) -> Iterator[tuple[datetime, Path]]:
    """A file for a backup with the name TIME_rest: its time, which no other backup has, and its path until `publish`.

    Only its owner can read it, and it is always removed at the end. Raises BackupError.
    """
    with _explained():
        settings.make_private(manifests.folder())
        with _folder_lock():
            _clear()
            now = datetime.now(UTC)
            while any(manifests.folder().glob(f"{_stamp(now)}_*")):
                now += timedelta(microseconds=1)
            path, lock = _create(f"{_stamp(now)}_{rest}")
        with _removed(path, lock):
            yield now, path


@contextmanager
def scratch(name: str, fill: Callable[[Path], object]) -> Iterator[Path]:
    """A private file in the backup folder, filled by `fill` and removed at the end. Raises BackupError."""
    with _explained():
        path, lock = _create(f"{name}.{secrets.token_hex(4)}")
    with _removed(path, lock):
        with _explained():
            fill(path)
        yield path


def final_name(path: Path) -> str:
    """The name that a partial file will have."""
    return path.name.removesuffix(".partial").rpartition(".")[0]


def publish(path: Path, entry: Backup) -> Backup:
    """Renames backup and manifest, both already flushed to disk; the manifest comes last, as only it makes a backup.

    Then the oldest backups of the same database are deleted; the new one and those in use never are.
    """
    with _folder_lock():
        others = manifests.known()
        entry = replace(entry, sequence=1 + max((other.sequence for other in others), default=0))
        manifest = Path(f"{path}.json")
        with os.fdopen(settings.open_private(manifest, os.O_TRUNC), "w", encoding="utf-8") as file:
            file.write(manifests.write(entry))
        for written in (path, manifest):
            files.sync(written)
        path.rename(entry.path)
        manifest.rename(f"{entry.path}.json")
        files.sync(manifests.folder())
        same = [other for other in others if _kept_together(other, entry)]
        for old in same[manifests.KEPT - 1 :]:
            if old.name != entry.before_restore_of:
                _delete(old)
    return entry


@contextmanager
def in_use(entry: Backup, target: targets.Target) -> Iterator[None]:
    """Protects a backup from being deleted as an old one. Raises BackupError if it is gone or can't be read."""
    try:
        descriptor = os.open(entry.path, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(entry, target, str(error)) from error
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        if not os.fstat(descriptor).st_nlink:
            raise _unreadable(entry, target, "it was deleted as an old one at this moment")
        yield
    finally:
        os.close(descriptor)


def _unreadable(entry: Backup, target: targets.Target, found: str) -> BackupError:
    return BackupError(
        expected=f"to read {entry.path}",
        found=found,
        unchanged="the database",
        command=targets.command(target, "pharmdb backup --list"),
        note="restore another one of the list, by its name",
    )


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%dT%H%M%S.%fZ}"


def _kept_together(other: Backup, entry: Backup) -> bool:
    """Whether both count among the same newest ones."""

    def database(backup: Backup) -> tuple[str, ...]:
        if not backup.place:
            return (backup.dialect, backup.target)
        alone = backup.dialect == "sqlite" and backup.database_id
        return (backup.dialect, backup.database_id, backup.place, "" if alone else backup.machine)

    return database(other) == database(entry)


def _delete(old: Backup) -> None:
    with suppress(OSError):
        descriptor = os.open(old.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # It is being restored.
            return
        else:
            Path(f"{old.path}.json").unlink(missing_ok=True)
            old.path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


@contextmanager
def _folder_lock() -> Iterator[None]:
    descriptor = os.open(manifests.folder(), os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(name: str) -> tuple[Path, int]:
    """A new file, whose name ends with our process ID, and a descriptor that locks it."""
    path = manifests.folder() / f"{name}.{os.getpid()}.partial"
    descriptor = settings.open_private(path, os.O_EXCL)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return path, descriptor


@contextmanager
def _removed(path: Path, lock: int) -> Iterator[None]:
    try:
        yield
    finally:
        for left in (path, *(Path(f"{path}{end}") for end in ("-journal", "-wal", "-shm", ".json"))):
            with suppress(OSError):
                left.unlink()
        os.close(lock)


def _clear() -> None:
    """Removes what killed processes left. What belongs to another user is left to that user."""
    for old in manifests.folder().glob("*.partial*"):
        if _is_alive(old):
            continue
        published = old.with_name(final_name(old.with_name(old.name.split(".partial")[0] + ".partial")))
        with suppress(OSError):
            if not Path(f"{published}.json").exists():
                # Killed between renaming the backup and its manifest: without a manifest it is not a backup.
                published.unlink(missing_ok=True)
            old.unlink(missing_ok=True)


def _is_alive(partial: Path) -> bool:
    """Whether its writer is still running: the process whose ID is in its name, or one on another host, by its lock."""
    import psutil

    number = partial.name.split(".partial")[0].rpartition(".")[2]
    # A file without a process ID is not ours to remove.
    if not number.isdecimal() or psutil.pid_exists(int(number)):
        return True
    try:
        descriptor = os.open(partial, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if sqlite_codes.is_busy(error):
            # The lock is on the source: nobody else knows the copy.
            raise
        raise _failed(error) from error


def _failed(error: OSError | sqlite3.Error) -> BackupError:
    kind: type[BackupError]
    kind, advice = BackupError, "fix the reported problem"
    if sqlite_codes.is_damaged(error):
        kind, advice = UnsoundSourceError, "restore an older backup"
    elif getattr(error, "errno", None) in _NO_ROOM or sqlite_codes.primary(error) == sqlite3.SQLITE_FULL:
        kind = NoRoomForBackupError
        advice = f"free space in {manifests.folder()} (pharmdb keeps the newest {manifests.KEPT} backups)"
    elif isinstance(error, PermissionError):
        advice = f"make {manifests.folder()} writable for you, or set PHARMDB_BACKUPS to your own folder"
    return kind(
        expected=f"a backup in {manifests.folder()}",
        found=str(error),
        unchanged="the database; no part of a backup was left behind",
        note=f"{advice}, then run the same command again",
    )
