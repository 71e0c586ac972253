"""The studio as a page of its own: Voilà on this machine alone, behind a token, asking no other host for anything."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

from tornado.routing import HostMatches, Rule
from tornado.web import RequestHandler
from traitlets.config import Config
from voila.app import Voila

from pharmdb import settings

HERE = Path(__file__).parent
ADDRESS = "127.0.0.1"
PORT = 5555
# Seconds after which a kernel whose page was left, or is no longer looked at, is ended.
IDLE = 1800


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


def configuration(token: str, port: int = PORT) -> Config:
    """What makes Voilà safe to serve."""
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
            # Sockets that only their owner can open, in place of TCP ports that every user of the machine can read.
            "KernelManager": {"transport": "ipc"},
            "MappingKernelManager": {"cull_idle_timeout": IDLE, "cull_interval": 60, "cull_connected": True},
        }
    )


def main(port: int = PORT) -> int:
    """Serves the studio's notebook until it is interrupted."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            print(f"port {port} is taken: end what listens there, perhaps another studio", file=sys.stderr)
            return 1
    token = secrets.token_urlsafe(24)
    # Where Voilà looks for the page's template.
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("JUPYTER_PATH"))))
    server: Any = Server(config=configuration(token, port))
    server.initialize([str(settings.notebooks() / "studio.ipynb")])
    print(f"The studio: http://localhost:{port}/?token={token}\nCtrl+C ends it.", flush=True)
    server.start()
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
