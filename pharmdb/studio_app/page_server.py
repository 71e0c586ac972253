"""The web server of the studio's page: Voilà on this machine only, with a token, and one kernel for each open page."""

from __future__ import annotations

import asyncio
import hmac
import sys
from collections.abc import Callable
from http.client import responses
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.auth.login import LoginFormHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.ioloop import IOLoop
from tornado.routing import HostMatches, Rule
from tornado.web import RequestHandler, authenticated
from traitlets.config import Config
from voila.app import Voila
from voila.tornado.handler import TornadoVoilaHandler

from pharmdb.errors import PharmdbError
from pharmdb.studio_app import access

ADDRESS = "127.0.0.1"
# Seconds after which a kernel is ended if its page is open but no longer used.
IDLE = 1800
# Seconds that a page may take to connect for the first time, and again after a lost connection.
FIRST_CONNECTION = 60
RECONNECTION = 5
# A Unix socket's path is limited to about a hundred bytes, of which names inside our folder take about seventy.
_LONGEST = 36


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


def configuration(token: str, port: int, folder: Path) -> Config:
    """The settings that make Voilà safe to serve; `folder` is for the kernels' sockets."""
    # Sockets that only their owner can open, in place of TCP ports open to every user of the machine.
    usable = sys.platform != "win32" and len(str(folder)) <= _LONGEST
    headers = {
        "Content-Security-Policy": policy(port),
        # The first address contains the token.
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    tornado = {
        "allow_remote_access": False,
        "headers": headers,
        # Milliseconds; Jupyter's own time-out is longer than its interval, which Tornado complains of.
        "ws_ping_interval": 30_000,
        "ws_ping_timeout": 30_000,
    }
    return Config(
        {
            "Voila": {
                "ip": ADDRESS,
                "port": port,
                "port_retries": 0,
                "token": token,
                "cookie_secret": access.cookie_secret(token),
                "identity_provider_class": Identity,
                "open_browser": False,
                "connection_dir_root": str(folder),
                "log_level": "WARN",
                "tornado_settings": tornado,
            },
            "VoilaConfiguration": {
                "template": "studio",
                "allow_template_override": "NO",
                "allow_theme_override": "NO",
                "file_allowlist": [],
                "file_denylist": [".*"],
                "show_tracebacks": False,
                "multi_kernel_manager_class": PageKernels,
            },
            "VoilaExecutor": {"cell_error_instruction": "Reload the page: it says what is wrong with the database."},
            "KernelManager": {"transport": "ipc" if usable else "tcp"},
            "MappingKernelManager": {"cull_idle_timeout": IDLE, "cull_interval": 60, "cull_connected": True},
        }
    )


class PageKernels(AsyncMappingKernelManager):  # type: ignore[misc]
    """The kernels, each of which is ended when its page is gone: closed, reloaded, or never there."""

    async def start_kernel(self, *args: Any, **kwargs: Any) -> str:
        kernel: str = await super().start_kernel(*args, **kwargs)
        self._look_in(FIRST_CONNECTION, kernel)
        return kernel

    def notify_disconnect(self, kernel_id: str) -> None:
        super().notify_disconnect(kernel_id)
        self._look_in(RECONNECTION, kernel_id)

    def _look_in(self, seconds: float, kernel: str) -> None:
        IOLoop.current().call_later(seconds, self._end_unless_connected, kernel)

    async def _end_unless_connected(self, kernel: str) -> None:
        if kernel in self and not self.kernel_model(kernel)["connections"]:
            await ensure_async(self.shutdown_kernel(kernel))


class _Plain(RequestHandler):
    """Says what went wrong on a page of its own; Jupyter's needs files that Voilà doesn't have."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(_template(self, "failed.html.j2").render(status=status_code, reason=responses.get(status_code, "")))


class Login(_Plain, LoginFormHandler):  # type: ignore[misc]
    """The page that asks for the token."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        # Without a referrer the browser would not say where the form comes from. This address contains no token.
        self.set_header("Referrer-Policy", "same-origin")

    def _render(self, message: dict[str, str] | None = None) -> None:
        # The form's address is the page's own, so that a bookmarked view is shown after the log-in.
        self.write(_template(self, "login.html.j2").render(xsrf=self.xsrf_form_html(), refused=message is not None))


class Identity(IdentityProvider):  # type: ignore[misc]
    """Whoever has the token. The cookie is sent with no request from another site's page."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs | {"login_handler_class": Login})
        self.cookie_options = {"samesite": "Lax"}

    def process_login_form(self, handler: Any) -> User | None:
        """The user who has typed the token, or None."""
        typed = handler.get_body_argument("password", "")
        same = hmac.compare_digest(typed.encode(), str(self.token).encode())
        return self.generate_anonymous_user(handler) if same else None


class _Page(_Plain, TornadoVoilaHandler):  # type: ignore[misc]
    """The studio's page; if the database can't be opened, a page that says why."""

    @authenticated
    async def get(self, path: str | None = None) -> None:
        # Read for its effect: a cookie, without which the page could not end its kernel when it is left.
        _ = self.xsrf_token
        try:
            await asyncio.to_thread(self.settings["look"])
        except PharmdbError as error:
            self.set_status(503)
            self.set_header("Cache-Control", "no-store")
            self.write(_template(self, "unavailable.html.j2").render(error=error, kind=type(error).__name__))
            return
        await ensure_async(super().get(path))


class _Refused(RequestHandler):
    """Refuses a request for any host name but this machine's own, against DNS rebinding."""

    def prepare(self) -> None:
        self.send_error(403)


class Server(Voila):  # type: ignore[misc]
    """Voilà, restricted to this machine's own host names, also for static files.

    `look` raises a PharmdbError if the database can't be shown; it runs before each page.
    """

    look: Callable[[], object]

    def init_settings(self) -> dict[str, Any]:
        return {**super().init_settings(), "look": self.look}

    def init_handlers(self) -> list[Any]:
        return [
            (pattern, _Page if handler is TornadoVoilaHandler else handler, *rest)
            for pattern, handler, *rest in super().init_handlers()
        ]

    def listen(self) -> None:
        elsewhere = HostMatches(rf"(?!(localhost|{ADDRESS.replace('.', '[.]')})$).*")
        router = self.app.default_router
        router.rules.insert(0, router.process_rule(Rule(elsewhere, [(r".*", _Refused)])))
        super().listen()


def _template(handler: Any, name: str) -> Any:
    return handler.settings["voila_jinja2_env"].get_template(name)
