"""The studio as a page of its own: Voilà on this machine alone, behind a token, asking no other host for anything."""

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
from pharmdb.studio_app.statement_log import Journal

HERE = Path(__file__).parent
ADDRESS = "127.0.0.1"
PORT = 5555
# Seconds after which a kernel whose page was left, or is no longer looked at, is ended.
IDLE = 1800
# A Unix socket's path holds about a hundred bytes; names below the folder of ours take some seventy of them.
_LONGEST = 20
# Where Jupyter and IPython look for a folder that they may write into.
_WRITTEN = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")


def policy(port: int) -> str:
    """The content security policy: what the page may load, run and talk to."""
    own = " ".join(f"{scheme}://{host}:{port}" for scheme in ("http", "ws") for host in ("localhost", ADDRESS))
    return "; ".join(
        (
            "default-src 'none'",
            # Voilà's page has scripts of its own in it, and the widget's code comes as a blob.
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
    """For a request under another name than this machine's own: DNS rebinding comes so."""

    def prepare(self) -> None:
        self.send_error(403)


class Server(Voila):  # type: ignore[misc]
    """Voilà, which answers to this machine's own names alone, for its static files too."""

    def listen(self) -> None:
        elsewhere = HostMatches(rf"(?!(localhost|{ADDRESS.replace('.', '[.]')})$).*")
        router = self.app.default_router
        router.rules.insert(0, router.process_rule(Rule(elsewhere, [(r".*", _Refused)])))
        super().listen()


def configuration(token: str, port: int, folder: Path) -> Config:
    """What makes Voilà safe to serve; `folder` is for the kernels' sockets."""
    # Sockets that only their owner can open, in place of TCP ports that every user of the machine can connect to.
    usable = sys.platform != "win32" and len(str(folder)) <= _LONGEST + len("/pharmdb-12345678")
    headers = {
        "Content-Security-Policy": policy(port),
        # The first address holds the token.
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
    """Serves the studio's notebook, whose parameters are set, until it is interrupted; leaves nothing behind.

    Raises what `pharmdb.studio` raises with these parameters, and ParameterError for a port that is taken.
    """
    _look(database_url, model)
    _refuse_taken(port, database_url)
    token = secrets.token_urlsafe(24)
    with _private_folder() as folder:
        # Where Voilà looks for the page's template, and where Jupyter and IPython would write into the home.
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("JUPYTER_PATH"))))
        os.environ |= dict.fromkeys(_WRITTEN, str(folder))
        # The kernel is started in that folder.
        os.environ["PHARMDB_HOME"] = str(settings.home())
        page = folder / "studio.ipynb"
        # Jupyter warns of stored outputs that it has not made.
        cells = [cell | ({"outputs": []} if "outputs" in cell else {}) for cell in notebook["cells"]]
        page.write_text(json.dumps(notebook | {"cells": cells}), encoding="utf-8")
        server: Any = Server(config=configuration(token, port, folder))
        server.initialize([str(page)])
        # The loop runs as soon as the server listens.
        IOLoop.current().add_callback(_announce, f"http://localhost:{port}/?token={token}", browser)
        server.start()
    return 0


def _announce(url: str, browser: bool) -> None:
    print(f"The studio: {url}\nCtrl+C ends it.", flush=True)
    if browser and _has_screen():
        webbrowser.open(url)


def _look(database_url: str, model: str) -> None:
    """Raises where there is no database, or no such model; says it where the schema is not the newest."""
    target = targets.target(database_url)
    with sessions.reading(target, Journal()) as session:
        find(catalogue(session), model)
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
                expected=f"port {port} free to listen at",
                found=f"{error.strerror}; perhaps another studio listens there",
                command=targets.command(targets.target(database_url), f"pharmdb studio --port {free}"),
            ) from None


def _has_screen() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only its owner can open, for sockets and what Jupyter writes; its path is short, if it can be."""
    place = tempfile.gettempdir()
    if len(place) > _LONGEST and os.access("/tmp", os.W_OK | os.X_OK):
        place = "/tmp"
    with TemporaryDirectory(prefix="pharmdb-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
