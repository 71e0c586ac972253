"""How the `pharmdb` command talks to its kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

from jupyter_client.manager import AsyncKernelManager
from jupyter_core.paths import jupyter_runtime_dir

# A Unix socket's path holds about a hundred bytes; the name of a socket takes some forty of them.
_LONGEST_FOLDER = 60


class LocalKernelManager(AsyncKernelManager):
    """Unix sockets that only their owner can open, in place of TCP ports that every user of the machine can read."""

    def _transport_default(self) -> str:
        usable = sys.platform != "win32" and len(str(Path(jupyter_runtime_dir()))) <= _LONGEST_FOLDER
        return "ipc" if usable else "tcp"

    def _ip_default(self) -> str:
        if self.transport != "ipc":
            return str(super()._ip_default())
        # Before there is a connection file jupyter_client takes one path in the working folder, for every kernel there.
        return str(Path(jupyter_runtime_dir(), f"kernel-{uuid4().hex[:16]}-ipc"))
