"""Whole processes: `pharmdb reset` and `seed` compared with an empty papermill run and Prisma's command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from benchmarks.ground import Ground
from benchmarks.prisma_baseline import VERSION, Project
from benchmarks.timing import Baseline, alternate, line
from pharmdb import settings

BINARIES = Path(sys.executable).parent


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    folder = ground.folder
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "empty.ipynb")
    environment = os.environ | {"PHARMDB_URL": f"sqlite:///{folder / 'process.db'}"}

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    # Fast enough for twice as many rounds as work that takes seconds.
    rounds = 2 * ground.rounds - 1
    project = prisma(folder / "prisma")
    floor, reset, seed, *theirs = alternate(
        rounds,
        lambda: run(BINARIES / "papermill", folder / "empty.ipynb", folder / "out.ipynb"),
        lambda: run(BINARIES / "pharmdb", "reset"),
        lambda: run(BINARIES / "pharmdb", "seed"),
        *((project.reset, project.seed) if project else ()),
    )
    names = (f"Prisma {VERSION}: `migrate reset`, file deleted first; `db seed`", f"Prisma {VERSION}: `db seed`")
    others = [[Baseline(*each)] for each in zip(names, theirs, (0.45, 0.7), strict=True)] if project else [[], []]
    for name, ours, other in zip(("reset", "seed"), (reset, seed), others, strict=True):
        yield line(f"whole process, `pharmdb {name}`", ours, Baseline("empty papermill run", floor, 1.5), *other)

    def load(name: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {name}"], check=True, cwd=settings.SOURCE)

    ours, baseline = alternate(rounds, lambda: load("pharmdb"), lambda: load("sqlalchemy"))
    yield line("`import pharmdb`, whole process", ours, Baseline("`import sqlalchemy`", baseline, 1.3))


def prisma(folder: Path) -> Project | None:
    """The baseline; None, with the reason on standard error, where Node.js or npm's packages are missing."""
    try:
        return Project(folder)
    except pytest.skip.Exception as skipped:
        print(f"no Prisma: {skipped}", file=sys.stderr)
        return None
