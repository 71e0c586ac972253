"""A papermill engine: `papermill --engine pharmdb …` runs a notebook without a kernel."""

from __future__ import annotations

from typing import Any

import nbformat
from papermill.engines import Engine, NotebookExecutionManager

from pharmdb.command import running


class InProcess(Engine):  # type: ignore[misc]
    """Runs the cells in papermill's own process."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, kernel_name: str, **options: Any) -> None:
        run = running.Run()
        running.execute(nb_man, run, nbformat.from_dict)
        if run.error is not None and not isinstance(run.error, Exception | SystemExit):
            raise run.error
