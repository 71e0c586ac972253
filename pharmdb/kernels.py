"""How the `pharmdb` command talks to its kernel."""

from __future__ import annotations

import sys
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir

# A Unix socket's path holds about a hundred bytes; the kernel appends some forty to the folder.
_LONGEST_FOLDER = 60


class LocalKernelManager(AsyncKernelManager):
    """Unix sockets that only their owner can open, in place of TCP ports that every user of the machine can read."""

    def _transport_default(self) -> str:
        usable = sys.platform != "win32" and len(str(Path(jupyter_runtime_dir()))) <= _LONGEST_FOLDER
        return "ipc" if usable else "tcp"
