"""Kernels that are forks of a process with all imports done: one starts in a tenth of a second.

Jupyter starts a small program as its kernel. That one asks the warm process for a fork, and lives as long as the fork.
A kernel ends with this program, and with the process that owns the warm one, even if that is killed.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# What the studio's notebook needs. Not matplotlib, which writes to the home folder, and is needed for one picture only.
IMPORTED = ("pharmdb.studio_app.widget", "pandas")
# What Jupyter starts: it says where the kernel works and writes, and passes interrupts on. Without the warm process it
# becomes a usual kernel itself.
STARTER = """
import array, json, os, signal, socket, sys
kernel = socket.socket(socket.AF_UNIX)
try:
    kernel.connect(sys.argv[1])
except OSError:
    os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *sys.argv[2:]])
work = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
outputs = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1, 2]))]
kernel.sendmsg([len(work).to_bytes(4, "big")], outputs)
kernel.sendall(work)
def while_it_runs(talk, *data):
    try:
        talk(*data)
    except ConnectionError:
        pass  # The kernel has just ended, which ends this program, too.
signal.signal(signal.SIGINT, lambda *_: while_it_runs(kernel.send, b"i"))
while_it_runs(kernel.recv, 1)
"""


class WarmKernels:
    """The warm process; `variables` make Jupyter start its kernels there."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.variables = {"JUPYTER_PATH": str(folder)}

    def wait(self) -> bool:
        """Waits until all imports are done; False if the process has ended instead."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "ready\n"


@contextmanager
def warm_kernels(folder: Path, imported: Sequence[str] = IMPORTED) -> Iterator[WarmKernels]:
    """Starts the warm process, without waiting for its imports; it ends with the context, and its kernels with it.

    The folder is new and empty, and its path is short enough for a Unix socket.
    """
    address = folder / "socket"
    specification = folder / "kernels" / "python3" / "kernel.json"
    specification.parent.mkdir(parents=True)
    # -I and -S: nothing is looked for that the few lines don't need.
    argv = [sys.executable, "-I", "-S", "-c", STARTER, str(address), "-f", "{connection_file}"]
    specification.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        # -P: no module in the working folder is taken for one of the library's.
        [sys.executable, "-P", "-c", f"from {__name__} import main; main()", str(address), *imported],
        # Threads of a numerical library would not survive a fork.
        env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Ctrl-C in a terminal is for the server, which then ends its kernels.
        start_new_session=True,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield WarmKernels(process, folder)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main() -> None:
    """The warm process, until its standard input is closed."""
    address, *imported = sys.argv[1:]
    owner = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        importlib.import_module("ipykernel.ipkernel")
        for module in imported:
            importlib.import_module(module)
        # What is imported is shared by all kernels; a scan for garbage would copy it.
        gc.collect()
        gc.freeze()
        # A kernel that has ended needs nobody to wait for it.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while owner not in select.select([listener.fileno(), owner], [], [])[0]:
            starter, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _become_a_kernel(starter, owner)
            starter.close()


def _become_a_kernel(starter: socket.socket, owner: int) -> None:
    from ipykernel.kernelapp import IPKernelApp

    head, ancillary, _, _ = starter.recvmsg(4, socket.CMSG_SPACE(8))
    outputs = array.array("i", ancillary[0][2])
    work = starter.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    arguments, folder, environment = json.loads(work)
    # Jupyter is not the parent of this process: its end is seen here.
    environment.pop("JPY_PARENT_PID", None)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    threading.Thread(target=_follow, args=(starter, owner), daemon=True).start()
    # Not 0, so that nothing is printed; 1 is nobody to watch.
    IPKernelApp.launch_instance(arguments, parent_handle=1)
    os._exit(0)


def _follow(starter: socket.socket, owner: int) -> None:
    """Passes interrupts on; ends the kernel with its starter or its owner."""
    while owner not in select.select([starter.fileno(), owner], [], [])[0] and starter.recv(1):
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(1)
