"""The studio, or JupyterLab, served by a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import psutil

from support.project import ROOT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A server in a process of its own. `url` holds the token, `lines` is what it prints afterwards."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = url
        found = re.match(r"(http://[^/]+)/.*token=(\S+)", url)
        assert found is not None
        self.origin, self.token = found[1], found[2]
        self.port = int(self.origin.rpartition(":")[2])

    def kernels(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [p for p in children if re.search(r"-f \S+\.json\b", " ".join(p.cmdline()))]

    def get(self, path: str, **headers: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path, headers={"Host": f"localhost:{self.port}", **headers})
        return connection.getresponse()


@contextmanager
def serve(command: list[object], url: str, pattern: str, cwd: Path, **variables: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"PHARMDB_URL": url, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)} | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(pattern, line):
                break
        else:
            raise AssertionError("".join(said))
        served = Served(process, found[0])
        reader = threading.Thread(target=served.lines.extend, args=(process.stdout,))
        reader.start()
        yield served
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        reader.join(20)


@contextmanager
def serve_studio(url: str, home: Path, *options: str, port: int = 0) -> Iterator[Served]:
    """`pharmdb studio`; its token is kept in this home."""
    command = [sys.executable, "-m", "pharmdb.command", "studio", "--no-browser", "--port", port or free_port()]
    pattern = r"http://localhost:\d+/\?token=\S+"
    with serve([*command, *options], url, pattern, ROOT, PHARMDB_HOME=str(home)) as served:
        yield served
