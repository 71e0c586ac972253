"""Kernels that are forked from a warm process: what they have imported, what interrupts them, and what ends them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from pharmdb.studio_app.warm_kernels import STARTER, warm_kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels are started anew")
# Nothing else imports it.
MARK = "xml.sax.xmlreader"


def result(client: Any, code: str) -> str:
    found: list[str] = []

    def hear(message: Any) -> None:
        found.extend(filter(None, [message["content"].get("text"), message["content"].get("ename")]))

    client.execute_interactive(code, output_hook=hear, timeout=60)
    return "".join(found).strip()


def test_a_kernel_is_warm_can_be_interrupted_and_ends_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = f"import sys; print({MARK!r} in sys.modules, sys.stdin is not None)"
    with warm_kernels(tmp_path, [MARK]) as warm:
        assert warm.wait()
        monkeypatch.setenv("JUPYTER_PATH", warm.variables["JUPYTER_PATH"])
        manager, client = start_new_kernel(kernel_name="python3")
        assert result(client, ask) == "True True"
        client.execute("while True: pass")
        while client.get_iopub_msg(timeout=60)["msg_type"] != "execute_input":
            pass
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=60)["content"]["ename"] == "KeyboardInterrupt"
        (kernel,) = psutil.Process(warm.process.pid).children()
        # As if the server had been killed, without a word to its kernels.
        assert warm.process.stdin is not None
        warm.process.stdin.close()
        assert psutil.wait_procs([kernel], 20)[1] == []
        manager.shutdown_kernel(now=True)
        client.stop_channels()
        warm.process.wait(20)
        # Without the warm process a kernel starts as any other.
        manager, client = start_new_kernel(kernel_name="python3")
        assert result(client, ask) == "False True"
        manager.shutdown_kernel(now=True)
        client.stop_channels()


def test_an_interrupt_of_a_kernel_that_has_just_ended_is_nothing(tmp_path: Path) -> None:
    waiting = STARTER.replace("while_it_runs(kernel.recv", "print('waiting', flush=True); while_it_runs(kernel.recv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        with subprocess.Popen(
            [sys.executable, "-I", "-c", waiting, str(tmp_path / "socket")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as starter:
            kernel, _ = listener.accept()
            assert starter.stdout is not None
            assert starter.stdout.readline() == "waiting\n"
            kernel.shutdown(socket.SHUT_RD)
            starter.send_signal(signal.SIGINT)
            kernel.close()
            assert starter.communicate(timeout=60)[1] == ""
        assert starter.returncode == 0
