"""The notebooks as commands, and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pharmdb import reports, settings
from pharmdb.command.parameters import Parameter, parameters

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Command:
    """A notebook that is a command. What it destroys, and whether it is served, its metadata say under `pharmdb`."""

    path: Path
    title: str
    text: str
    parameters: list[Parameter]
    served: bool
    destroys: str

    @property
    def name(self) -> str:
        return self.path.stem

    def notebook(self) -> dict[str, Any]:
        """The notebook itself."""
        return _read(self.path)


def commands() -> Iterator[Command]:
    """The commands by name. Raises ValueError for a notebook whose parameter cell is none."""
    for path in sorted(settings.notebooks().glob("*.ipynb")):
        notebook = _read(path)
        traits = notebook["metadata"].get("pharmdb", {})
        if not traits.get("command", True):
            continue
        heading, _, text = "".join(notebook["cells"][0]["source"]).partition("\n")
        yield Command(
            path=path,
            title=heading.partition(": ")[2],
            text=text,
            parameters=parameters(notebook),
            served=traits.get("serve", False),
            destroys=traits.get("destroys", ""),
        )


def notebooks() -> pd.DataFrame:
    """The notebooks: command, does, destroys (str; empty where nothing is lost)."""
    rows = [(f"pharmdb {command.name}", command.title, command.destroys) for command in commands()]
    return reports.table(rows, {"command": "str", "does": "str", "destroys": "str"})


def _read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook
