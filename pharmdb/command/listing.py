"""The notebooks as commands, and as a table."""

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
    """A notebook that is a command. Its `pharmdb` metadata say what it destroys and whether it is served as a page."""

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
        """Reads the notebook."""
        return _read(self.path)


def commands() -> Iterator[Command]:
    """The commands, sorted by name. Raises ValueError for a notebook with an invalid parameter cell."""
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
    """The notebooks as a table: command, does, destroys (str; empty if nothing is destroyed)."""
    rows = [(f"pharmdb {command.name}", command.title, command.destroys) for command in commands()]
    return reports.table(rows, {"command": "str", "does": "str", "destroys": "str"})


def _read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook
