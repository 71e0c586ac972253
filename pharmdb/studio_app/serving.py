"""Serves the studio as a web page: Voilà on this machine only, with a token, without requests to other hosts."""

from __future__ import annotations

import copy
import json
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import ParameterError, RevisionError
from pharmdb.schema import revisions
from pharmdb.studio_app import access, sessions
from pharmdb.studio_app.catalogue import catalogue, find
from pharmdb.studio_app.statement_log import StatementLog
from pharmdb.studio_app.warm_kernels import WarmKernels, warm_kernels

HERE = Path(__file__).parent
PORT = 5555
# The longest path of a folder for temporary files in which Unix sockets can be: theirs are limited to a hundred bytes.
_LONGEST = 20
# The environment variables for the folders that Jupyter and IPython write to.
_WRITTEN = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")


def serve(
    notebook: dict[str, Any], *, database_url: str = "", model: str = "User", port: int = PORT, browser: bool = True
) -> int:
    """Serves the studio's notebook with its parameters set, until it is interrupted; only the token is kept.

    Raises what `pharmdb.studio` raises with these parameters, and ParameterError if the port is in use.
    """
    target = targets.target(database_url)
    look = partial(_look, target, model)
    if behind := look():
        print(f"pharmdb studio: {type(behind).__name__}: {behind}\n", file=sys.stderr)
    _refuse_taken(port, target)
    with _private_folder() as folder, _kernels(folder) as warm:
        # Voilà finds the page's template here, and Jupyter its kernels.
        places = (str(HERE), warm.variables["JUPYTER_PATH"] if warm else "", os.environ.get("JUPYTER_PATH"))
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, places))
        # Jupyter and IPython must not write to the home folder.
        os.environ |= dict.fromkeys(_WRITTEN, str(folder))
        # Made absolute, because the kernel is started in the temporary folder.
        os.environ["PHARMDB_HOME"] = str(settings.home())
        # Imported while the warm process imports what kernels need.
        from tornado.ioloop import IOLoop

        from pharmdb.studio_app import page_server

        token = _token(target)
        server: Any = page_server.Server(config=page_server.configuration(token, port, folder))
        server.look = look
        server.initialize([str(_page(notebook, target, folder))])
        if warm is not None and not warm.wait():
            print(
                "pharmdb studio: kernels start slowly, because the process that prepares them has ended",
                file=sys.stderr,
            )
        # This callback runs as soon as the server listens.
        IOLoop.current().add_callback(_announce, f"http://localhost:{port}/?token={token}", browser)
        server.start()
    return 0


@contextmanager
def _kernels(folder: Path) -> Iterator[WarmKernels | None]:
    """Warm kernels where a process can safely be forked; elsewhere Jupyter's own ones."""
    if sys.platform != "linux" or len(str(folder.parent)) > _LONGEST:
        yield None
        return
    (folder / "warm").mkdir()
    with warm_kernels(folder / "warm") as warm:
        yield warm


def _token(target: targets.Target) -> str:
    try:
        return access.token(target)
    except OSError as error:
        print(f"pharmdb studio: the token can't be kept, so bookmarks end with this studio: {error}", file=sys.stderr)
        return secrets.token_urlsafe(24)


def _page(notebook: dict[str, Any], target: targets.Target, folder: Path) -> Path:
    """The notebook as Voilà serves it: titled and trusted, and without outputs."""
    notebook = copy.deepcopy(notebook)
    notebook["metadata"]["title"] = f"{target.name} – pharmdb studio"
    for cell in notebook["cells"]:
        if "outputs" in cell:
            cell["outputs"] = []
    path = folder / "studio.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    from nbformat import from_dict, sign

    sign.NotebookNotary(data_dir=str(folder)).sign(from_dict(notebook))
    return path


def _announce(url: str, browser: bool) -> None:
    print(f"The studio: {url}\nPress Ctrl+C to stop it.", flush=True)
    if browser and _has_screen():
        webbrowser.open(url)


def _look(target: targets.Target, model: str) -> RevisionError | None:
    """Raises if there is no database or no such model; returns what is wrong if the schema is not the newest."""
    with sessions.reading(target, StatementLog()) as session:
        tables = catalogue(session)
        try:
            revisions.require_head(session.connection, target)
        except RevisionError as error:
            if not tables:
                raise
            find(tables, target, model)
            return error
        find(tables, target, model)
    return None


def _refuse_taken(port: int, target: targets.Target) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            with socket.socket() as other:
                other.bind(("127.0.0.1", 0))
                free = other.getsockname()[1]
            raise ParameterError(
                expected=f"port {port} to be free",
                found=f"{error.strerror}; perhaps another studio is running on it",
                command=targets.command(target, f"pharmdb studio --port {free}"),
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
