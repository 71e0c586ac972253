"""Checksums, state and mode of files, and flushing files to disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def state(path: Path) -> tuple[int, int, int, int]:
    """What tells a file from one that replaces it: device, inode, bytes, and when it was last written to, in ns."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def give_mode(path: Path, fresh: Path) -> None:
    """Gives a new file the mode and, as far as we may, the owner of the file that it replaces."""
    old = path.stat()
    if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.chown(fresh, old.st_uid, old.st_gid)
    shutil.copymode(path, fresh)
