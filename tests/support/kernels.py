"""Kernels that are forks of a process with all imports done: one starts in a tenth of the time.

Jupyter starts such a kernel as any other; what it starts asks the warm process for a fork, and lives as long as that.
"""

from __future__ import annotations

import array
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipykernel.kernelapp import IPKernelApp

import pharmdb

ROOT = Path(__file__).resolve().parents[2]
# What Jupyter starts. It says where the kernel works and writes, and passes interrupts on.
_STARTED = """
import array, json, os, signal, socket, sys
kernel = socket.socket(socket.AF_UNIX)
kernel.connect(sys.argv[1])
work = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
outputs = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))]
kernel.sendmsg([len(work).to_bytes(4, "big")], outputs)
kernel.sendall(work)
signal.signal(signal.SIGINT, lambda *_: kernel.send(b"i"))
kernel.recv(1)
"""
_IMPORTED = [
    "matplotlib.backends.backend_agg",
    "matplotlib_inline.backend_inline",
    "pandas.io.formats.style",
    "pharmdb.studio_app.widget",
]


@contextmanager
def warm_kernels(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which Jupyter starts warm kernels. The folder is new and empty."""
    address = folder / "socket"
    specification = folder / "kernels" / "python3" / "kernel.json"
    specification.parent.mkdir(parents=True)
    # -I and -S: nothing is looked for that the few lines don't need.
    argv = [sys.executable, "-I", "-S", "-c", _STARTED, str(address), "-f", "{connection_file}"]
    specification.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    command = [sys.executable, __file__, str(address)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    warm = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert warm.stdin is not None
    assert warm.stdout is not None
    try:
        assert warm.stdout.readline() == "ready\n"
        yield {"JUPYTER_PATH": str(folder)}
    finally:
        warm.stdin.close()
        warm.wait()
        warm.stdout.close()


def _serve(address: str) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    for module in _IMPORTED:
        importlib.import_module(module)
    for name in pharmdb.__all__:
        getattr(pharmdb, name)
    # A kernel that has ended needs nobody to wait for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        started, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _become_a_kernel(started)
        started.close()


def _become_a_kernel(started: socket.socket) -> None:
    head, ancillary, _, _ = started.recvmsg(4, socket.CMSG_SPACE(8))
    outputs = array.array("i", ancillary[0][2])
    work = started.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    arguments, folder, environment = json.loads(work)
    # Jupyter is not the parent of this process: its end is seen on the socket.
    environment.pop("JPY_PARENT_PID", None)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    threading.Thread(target=_follow, args=(started,), daemon=True).start()
    IPKernelApp.launch_instance(arguments)
    os._exit(0)


def _follow(started: socket.socket) -> None:
    while started.recv(1):
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(1)


if __name__ == "__main__":
    _serve(sys.argv[1])
