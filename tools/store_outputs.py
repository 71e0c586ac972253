"""Runs the notebooks again and stores their outputs, which newcomers see in the repository.

They run in a copy of the project, on the copy's default database, so that nobody's own database is touched.
"""

from __future__ import annotations

import os
import shutil
import sys
from base64 import b64decode
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from support import legacy
from support.studying import study

import pharmdb
from pharmdb.command.running import without_widgets

ROOT = Path(__file__).resolve().parents[1]
# The order in which they are run and tested. Before the reset the database has an active learner; then only the seed,
# until the cohort, which is the class, and which the restore takes back.
ORDER = (
    *("index", "inspect", "export", "reset", "seed", "migrate", "backup", "distribute", "doctor", "cohort", "class"),
    *("restore", "account", "studio", "upgrade", "prisma"),
)
_CLASS = ("weeks", "blocks", "tags", "curve", "retention", "hours", "scores", "items", "scale", "at_risk", "forecast")
# Notebook -> its report, and the charts that the documentation shows.
PICTURES = {
    "inspect": ("seen", {"schema": "schema.png"}),
    "class": ("report", {name: f"class-{name.replace('_', '-')}.png" for name in _CLASS}),
}
COPIED = ("pharmdb", "migrations", "notebooks", "data/seed", "data/catalogue", "pyproject.toml")


def main(*names: str) -> None:
    """Stores the outputs of the named notebooks, or of all."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "pharmdb"
        for name in COPIED:
            source = ROOT / name
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
        for name in list(os.environ):
            if name.startswith("PHARMDB_"):
                del os.environ[name]
        os.environ["PYTHONPATH"] = str(copy)
        os.environ["PHARMDB_SOURCE"] = str(legacy.sample(Path(folder)))
        url = f"sqlite:///{copy / 'data' / 'pharm.db'}"
        pharmdb.reset(url)
        study(url)
        for name in names or ORDER:
            notebook = nbformat.read(copy / "notebooks" / f"{name}.ipynb", as_version=4)
            NotebookClient(notebook, resources={"metadata": {"path": str(copy / "notebooks")}}).execute()
            notebook.metadata.language_info = {"name": "python"}
            notebook.metadata.pop("widgets", None)
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)
                without_widgets(cell.get("outputs", []))
            # The temporary folder's name says nothing to a reader.
            text = nbformat.writes(notebook).replace(str(copy), "/home/ann/pharmdb")
            (ROOT / "notebooks" / f"{name}.ipynb").write_text(text + "\n", encoding="utf-8")
            if name in PICTURES:
                _store_pictures(notebook, *PICTURES[name])
            print(f"notebooks/{name}.ipynb")


def _store_pictures(notebook: nbformat.NotebookNode, report: str, names: dict[str, str]) -> None:
    """Stores charts of the notebook as pictures of the documentation."""
    (ROOT / "docs").mkdir(exist_ok=True)
    for name, file in names.items():
        (cell,) = [cell for cell in notebook.cells if cell.source == f"{report}.{name}_picture"]
        (ROOT / "docs" / file).write_bytes(b64decode(cell.outputs[0].data["image/png"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
