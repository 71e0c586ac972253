"""Runs a notebook in this process, and writes a run file like papermill's.

Papermill itself is not imported, because that takes longer than a whole seed. It can run notebooks in the same way with
the engine in `papermill_engine`, which shares `execute`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from pharmdb import reports, settings
from pharmdb.command.shell import Output, Ran, shell
from pharmdb.plain_table import PlainTable

Cell = dict[str, Any]
WIDGET = "application/vnd.jupyter.widget-view+json"


class Keeper(Protocol):
    """The object that stores the running notebook: our RunFile, or papermill's NotebookExecutionManager."""

    nb: Any

    def cell_start(self, cell: Any, cell_index: int) -> None: ...
    def cell_exception(self, cell: Any, cell_index: int) -> None: ...
    def cell_complete(self, cell: Any, cell_index: int) -> None: ...


@dataclass
class Run:
    """The result of a notebook: its cells with their results, the outcome row, and the error that stopped it."""

    steps: list[tuple[Cell, Ran | None]] = field(default_factory=list)
    outcome: dict[str, Any] | None = None
    error: BaseException | None = None


def execute(keeper: Keeper, run: Run, as_output: Callable[[Output], Any] = dict) -> None:
    """Runs the cells in order until one raises; the outcome is stored in the notebook's metadata.

    `run` is filled in as the cells run, so that it shows how far an interrupted notebook got.
    """
    # A notebook that uses pandas itself may pass a table to it, where only a dataframe will do.
    uses_pandas = any("pandas" in "".join(cell["source"]) for cell in keeper.nb["cells"])
    with shell() as made, nullcontext() if uses_pandas else reports.without_pandas():
        for index, cell in enumerate(keeper.nb["cells"]):
            source = "".join(cell["source"])
            if cell["cell_type"] != "code" or not source.strip():
                run.steps.append((cell, None))
                continue
            keeper.cell_start(cell, cell_index=index)
            ran = made.run(source)
            cell["execution_count"] = ran.number
            cell["outputs"] = [as_output(output) for output in without_widgets(ran.outputs)]
            run.steps.append((cell, ran))
            run.error = ran.error
            if run.error is not None:
                keeper.cell_exception(cell, cell_index=index)
            elif index == len(keeper.nb["cells"]) - 1 and (row := outcome(ran.result)):
                run.outcome = row
                keeper.nb["metadata"].setdefault("pharmdb", {})["outcome"] = row
            keeper.cell_complete(cell, cell_index=index)
            if run.error is not None:
                return


def outcome(result: Any) -> dict[str, Any] | None:
    """The row of an outcome (a dataframe of one row with a boolean `ok`); None for anything else."""
    if isinstance(result, PlainTable):
        if result.plain_texts and len(result) == 1:
            row = dict(zip(result.plain_dtypes, result.plain_rows[0], strict=True))
            return row if isinstance(row.get("ok"), bool) else None
        result = result.plain_frame
    # Without pandas nothing is a dataframe.
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(result, pandas.DataFrame) or len(result) != 1 or "ok" not in result.columns:
        return None
    if not pandas.api.types.is_bool_dtype(result["ok"]) or result["ok"].isna().any():
        return None
    return dict(json.loads(result.to_json(orient="records", date_format="iso"))[0])


def without_widgets(outputs: list[Output]) -> list[Output]:
    """Removes widgets: without their kernel they would be blank, and hide the tables stored with them."""
    for output in outputs:
        output.get("data", {}).pop(WIDGET, None)
    return outputs


def inject(notebook: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The notebook with a cell that sets these values after its parameter cell, as papermill does it."""
    lines = ["# Parameters\n", *(f"{name} = {value!r}\n" for name, value in values.items())]
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": uuid4().hex[:8],
        "metadata": {"tags": ["injected-parameters"]},
        "outputs": [],
        "source": lines,
    }
    place = next(i for i, c in enumerate(notebook["cells"]) if "parameters" in c["metadata"].get("tags", []))
    return notebook | {"cells": [*notebook["cells"][: place + 1], cell, *notebook["cells"][place + 1 :]]}


class RunFile:
    """The notebook of a run and its file, which is saved whenever a cell begins and when the run ends.

    A command does its work whether or not that is possible; `problem` says why it was not, or is "".
    """

    def __init__(self, notebook: dict[str, Any], path: Path, values: dict[str, Any], source: Path) -> None:
        self.path = path
        self.problem = ""
        self.nb = inject(notebook, values) if values else notebook
        self._began = datetime.now(UTC)
        self.nb["metadata"]["papermill"] = {
            "input_path": str(source),
            "output_path": str(path),
            "parameters": values,
            "start_time": self._began.isoformat(),
            "end_time": None,
            "duration": None,
            "exception": None,
        }
        for cell in self.nb["cells"]:
            cell["metadata"]["papermill"] = {"exception": None, "status": "pending"}
            if cell["cell_type"] == "code":
                cell |= {"execution_count": None, "outputs": []}

    def cell_start(self, cell: Cell, cell_index: int) -> None:
        now = datetime.now(UTC).isoformat()
        cell["metadata"]["papermill"] |= {"exception": False, "status": "running", "start_time": now}
        self.save()

    def cell_exception(self, cell: Cell, cell_index: int) -> None:
        cell["metadata"]["papermill"] |= {"exception": True, "status": "failed"}
        self.nb["metadata"]["papermill"]["exception"] = True

    def cell_complete(self, cell: Cell, cell_index: int) -> None:
        kept = cell["metadata"]["papermill"]
        now = datetime.now(UTC)
        kept |= {
            "end_time": now.isoformat(),
            "duration": (now - datetime.fromisoformat(kept["start_time"])).total_seconds(),
            "status": "failed" if kept["exception"] else "completed",
        }

    def end(self) -> None:
        """Records when the run ended, and saves it."""
        now = datetime.now(UTC)
        seconds = (now - self._began).total_seconds()
        self.nb["metadata"]["papermill"] |= {"end_time": now.isoformat(), "duration": seconds}
        self.save()

    def save(self) -> None:
        text = json.dumps(self.nb, indent=1, ensure_ascii=False, default=str)
        try:
            descriptor = settings.open_private(self.path, os.O_TRUNC)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text + "\n")
        except OSError as error:
            self.problem = str(error)
            # Half of a notebook is none.
            with suppress(OSError):
                self.path.unlink()
        else:
            self.problem = ""
