"""Serves the studio as a web page: Voilà on this machine only, with a token, without requests to other hosts."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tornado.ioloop import IOLoop
from tornado.routing import HostMatches, Rule
from tornado.web import RequestHandler
from traitlets.config import Config
from voila.app import Voila

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import ParameterError, RevisionError
from pharmdb.schema import revisions
from pharmdb.studio_app import sessions
from pharmdb.studio_app.catalogue import catalogue, find
from pharmdb.studio_app.statement_log import StatementLog

HERE = Path(__file__).parent
ADDRESS = "127.0.0.1"
PORT = 5555
# Seconds after which a kernel is ended if its page was closed or is no longer used.
IDLE = 1800
# A Unix socket's path is limited to about a hundred bytes, of which names inside our folder take about seventy.
_LONGEST = 20
# The environment variables for the folders that Jupyter and IPython write to.
_WRITTEN = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")


def policy(port: int) -> str:
    """The content security policy: what the page may load, run and connect to."""
    own = " ".join(f"{scheme}://{host}:{port}" for scheme in ("http", "ws") for host in ("localhost", ADDRESS))
    return "; ".join(
        (
            "default-src 'none'",
            # Voilà's page has inline scripts, and the widget's code is loaded as a blob.
            "script-src 'self' 'unsafe-inline' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "font-src 'self' data:",
            f"connect-src 'self' {own} blob: data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class _Refused(RequestHandler):
    """Refuses a request for any host name but this machine's own, against DNS rebinding."""

    def prepare(self) -> None:
        self.send_error(403)


class Server(Voila):  # type: ignore[misc]
    """Voilà, restricted to this machine's own host names, also for static files."""

    def listen(self) -> None:
        elsewhere = HostMatches(rf"(?!(localhost|{ADDRESS.replace('.', '[.]')})$).*")
        router = self.app.default_router
        router.rules.insert(0, router.process_rule(Rule(elsewhere, [(r".*", _Refused)])))
        super().listen()


def configuration(token: str, port: int, folder: Path) -> Config:
    """The settings that make Voilà safe to serve; `folder` is for the kernels' sockets."""
    # Sockets that only their owner can open, in place of TCP ports open to every user of the machine.
    usable = sys.platform != "win32" and len(str(folder)) <= _LONGEST + len("/pharmdb-12345678")
    headers = {
        "Content-Security-Policy": policy(port),
        # The first address contains the token.
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Config(
        {
            "Voila": {
                "ip": ADDRESS,
                "port": port,
                "port_retries": 0,
                "token": token,
                "open_browser": False,
                "connection_dir_root": str(folder),
                "log_level": "WARN",
                "tornado_settings": {"allow_remote_access": False, "headers": headers},
            },
            "VoilaConfiguration": {
                "template": "studio",
                "allow_template_override": "NO",
                "allow_theme_override": "NO",
                "file_allowlist": [],
                "file_denylist": [".*"],
                "show_tracebacks": False,
            },
            "KernelManager": {"transport": "ipc" if usable else "tcp"},
            "MappingKernelManager": {"cull_idle_timeout": IDLE, "cull_interval": 60, "cull_connected": True},
        }
    )


def serve(
    notebook: dict[str, Any], *, database_url: str = "", model: str = "User", port: int = PORT, browser: bool = True
) -> int:
    """Serves the studio's notebook with its parameters set, until it is interrupted; leaves no files behind.

    Raises what `pharmdb.studio` raises with these parameters, and ParameterError if the port is in use.
    """
    _look(database_url, model)
    _refuse_taken(port, database_url)
    token = secrets.token_urlsafe(24)
    with _private_folder() as folder:
        # Voilà finds the page's template here; Jupyter and IPython must not write to the home folder.
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("JUPYTER_PATH"))))
        os.environ |= dict.fromkeys(_WRITTEN, str(folder))
        # Made absolute, because the kernel is started in the temporary folder.
        os.environ["PHARMDB_HOME"] = str(settings.home())
        page = folder / "studio.ipynb"
        # Outputs are removed, because Jupyter warns about stored outputs from elsewhere.
        cells = [cell | ({"outputs": []} if "outputs" in cell else {}) for cell in notebook["cells"]]
        page.write_text(json.dumps(notebook | {"cells": cells}), encoding="utf-8")
        server: Any = Server(config=configuration(token, port, folder))
        server.initialize([str(page)])
        # This callback runs as soon as the server listens.
        IOLoop.current().add_callback(_announce, f"http://localhost:{port}/?token={token}", browser)
        server.start()
    return 0


def _announce(url: str, browser: bool) -> None:
    print(f"The studio: {url}\nPress Ctrl+C to stop it.", flush=True)
    if browser and _has_screen():
        webbrowser.open(url)


def _look(database_url: str, model: str) -> None:
    """Raises if there is no database or no such model; prints a warning if the schema is not at head."""
    target = targets.target(database_url)
    with sessions.reading(target, StatementLog()) as session:
        find(catalogue(session), target, model)
        try:
            revisions.require_head(session.connection, target)
        except RevisionError as error:
            print(f"pharmdb studio: {type(error).__name__}: {error}\n", file=sys.stderr)


def _refuse_taken(port: int, database_url: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            with socket.socket() as other:
                other.bind((ADDRESS, 0))
                free = other.getsockname()[1]
            raise ParameterError(
                expected=f"port {port} to be free",
                found=f"{error.strerror}; perhaps another studio is running on it",
                command=targets.command(targets.target(database_url), f"pharmdb studio --port {free}"),
            ) from None


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only its owner can open, for sockets and Jupyter's files; with a short path, if possible."""
    place = tempfile.gettempdir()
    if len(place) > _LONGEST and os.access("/tmp", os.W_OK | os.X_OK):
        place = "/tmp"
    with TemporaryDirectory(prefix="pharmdb-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
