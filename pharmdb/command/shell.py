"""IPython in this process: runs a cell and returns its outputs in notebook format. It touches no files."""

from __future__ import annotations

import os
import sys
import warnings
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from pharmdb import reports
from pharmdb.errors import mask

Output = dict[str, Any]


@dataclass(frozen=True)
class Ran:
    """The result of one cell: its number, its outputs, the value of its last line, and the error it raised."""

    number: int
    outputs: list[Output]
    result: Any
    error: BaseException | None


class _Stream(TextIOBase):
    """Captures what a cell prints; consecutive prints are merged into one output."""

    encoding = "utf-8"

    def __init__(self, name: str, outputs: list[Output]) -> None:
        self._name, self._outputs = name, outputs

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        last = self._outputs[-1] if self._outputs else {}
        if last.get("name") == self._name:
            last["text"] += text
        elif text:
            self._outputs.append({"output_type": "stream", "name": self._name, "text": text})
        return len(text)


class _Results(DisplayHook):
    """Captures the value of a cell's last line."""

    def write_output_prompt(self) -> None:
        """Does nothing: a notebook numbers its cells itself."""

    def compute_format_data(self, result: Any) -> Any:
        # The cell may be the first to need pandas.
        reports.widen()
        return super().compute_format_data(result)  # type: ignore[no-untyped-call]

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        output = {"output_type": "execute_result", "data": _encoded(format_dict), "metadata": md_dict or {}}
        shell: Any = self.shell
        shell.outputs.append(output | {"execution_count": self.prompt_count})

    def finish_displayhook(self) -> None:
        """Does nothing: there is nothing to flush."""


class _Displays(DisplayPublisher):
    """Captures what a cell displays."""

    def publish(self, data: Any, metadata: Any = None, source: Any = None, **options: Any) -> None:
        self.shell.outputs.append({"output_type": "display_data", "data": _encoded(data), "metadata": metadata or {}})

    def clear_output(self, wait: bool = False) -> None:
        self.shell.outputs.clear()


def _encoded(data: dict[str, Any]) -> dict[str, Any]:
    return {kind: b64encode(value).decode() if isinstance(value, bytes) else value for kind, value in data.items()}


class Shell(InteractiveShell):
    """IPython without a profile, history, completer or terminal."""

    def __init__(self, **options: Any) -> None:
        # The running cell's outputs; `run` starts a new list for each cell.
        self.outputs: list[Output] = []
        memory = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
        super().__init__(  # type: ignore[no-untyped-call]
            config=memory, displayhook_class=_Results, display_pub_class=_Displays, **options
        )

    def init_ipython_dir(self, ipython_dir: Any) -> None:
        """Creates no folder: there may be no home folder."""

    def init_profile_dir(self, profile_dir: Any) -> None:
        """Creates no folder."""

    def init_completer(self) -> None:
        """Does nothing: there is no interactive input."""

    def ask_exit(self) -> None:
        """Called for `exit()` in a cell."""
        raise SystemExit(0)

    def showtraceback(self, *args: Any, **options: Any) -> None:
        """Does nothing: `run` reports the error."""

    def showsyntaxerror(self, *args: Any, **options: Any) -> None:
        """Does nothing: `run` reports the error."""

    def run(self, source: str) -> Ran:
        """Runs one cell, which can read no input. What it raises, even an interrupt, is returned as `error`."""
        outputs: list[Output] = []
        self.outputs = outputs
        with redirect_stdout(_Stream("stdout", outputs)), redirect_stderr(_Stream("stderr", outputs)):
            done = self.run_cell(source, store_history=True)  # type: ignore[no-untyped-call]
        error = done.error_before_exec or done.error_in_exec
        if error is not None:
            outputs.append(self._told(error))
        return Ran(done.execution_count, outputs, done.result, error)

    def _told(self, error: BaseException) -> Output:
        parts = (type(error), error, error.__traceback__)
        own = getattr(error, "_render_traceback_", None)
        lines = own() if own else self.InteractiveTB.structured_traceback(*parts, tb_offset=1)
        return {
            "output_type": "error",
            "ename": type(error).__name__,
            "evalue": mask(str(error)),
            "traceback": [mask(line) for line in lines],
        }


@contextmanager
def shell() -> Iterator[Shell]:
    """Yields a shell for one notebook, with empty standard input; afterwards the process is as it was before."""
    standard_input = sys.stdin
    with open(os.devnull, encoding="utf-8") as nothing, warnings.catch_warnings():
        # IPython warns about every SystemExit.
        warnings.filterwarnings("ignore", "To exit:", UserWarning)
        # Code that asks for input gets end-of-file at once, in place of waiting forever.
        sys.stdin = nothing
        made = Shell.instance()
        try:
            yield made
        finally:
            made.restore_sys_module_state()  # type: ignore[no-untyped-call]
            Shell.clear_instance()
            sys.stdin = standard_input
