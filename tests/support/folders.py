"""Where what the tests write lies: in memory, where there is room, since a copy on a disk takes ten times as long."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ENOUGH = 4 << 30


def new_folder(prefix: str) -> Path:
    """A new folder, in memory if that has room, else in the temporary folder. Nobody removes it."""
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH
    return Path(tempfile.mkdtemp(prefix=prefix, dir=_MEMORY if in_memory else None))


def remove_later(folder: Path) -> None:
    """Removes it after the tests: nobody needs to wait for it."""
    subprocess.Popen(["rm", "-rf", folder], start_new_session=True)


@contextmanager
def memory_folder(prefix: str) -> Iterator[Path]:
    """A `new_folder` that goes with the block."""
    folder = new_folder(prefix)
    try:
        yield folder
    finally:
        remove_later(folder)
