"""A notebook in this process has the outputs that it has with a kernel, for the command and for papermill."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.engines import papermill_engines

from pharmdb.command import running, shell
from pharmdb.command.papermill_engine import InProcess

CELLS = (
    "import sys\nprint('a'); print('b', file=sys.stderr); print('c')",
    "from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))",
    "import pandas as pd\npd.DataFrame({'a': [1.5, None]})",
    "class Picture:\n  def _repr_png_(self): return b'\\x89PNG'\n  def __repr__(self): return 'a picture'\nPicture()",
    "1;",
    "%precision 3",
    "await __import__('asyncio').sleep(0)",
    "text",
)
OUTCOME = "import pandas as pd; pd.DataFrame([{'ok': True, 'rows': 2}])"


def notebook(*cells: str) -> nbformat.NotebookNode:
    book: nbformat.NotebookNode = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    parameters = nbformat.v4.new_code_cell('text: str = "x"  # any', metadata={"tags": ["parameters"]})
    book.cells = [parameters, *map(nbformat.v4.new_code_cell, cells)]
    return book


def outputs(book: Any) -> list[Any]:
    """Of each code cell its number and its outputs."""
    # The one form in memory, however the file breaks its lines.
    book = nbformat.reads(json.dumps(book), as_version=4)
    return [(c.execution_count, [dict(output) for output in c.outputs]) for c in book.cells if c.cell_type == "code"]


def alone(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """In a thread of its own: a browser's tests leave an event loop running in this one, and cells may await."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *arguments, **options).result()


def run_file(path: Path, *cells: str, **values: Any) -> tuple[running.Run, dict[str, Any]]:
    file = running.RunFile(json.loads(nbformat.writes(notebook(*cells))), path, values, Path("source.ipynb"))
    run = running.Run()
    alone(running.execute, file, run)
    file.end()
    return run, json.loads(path.read_text(encoding="utf-8"))


def test_the_outputs_are_those_of_a_kernel(tmp_path: Path) -> None:
    # Without the cell that prints to both streams: a kernel may deliver them in another order.
    cells = CELLS[1:]
    source = tmp_path / "source.ipynb"
    nbformat.write(notebook(*cells), source)
    kernel = papermill.execute_notebook(
        str(source), str(tmp_path / "kernel.ipynb"), parameters={"text": "y"}, progress_bar=False
    )
    run, ours = run_file(tmp_path / "ours.ipynb", *cells, text="y")
    assert run.error is None
    assert outputs(ours) == outputs(kernel)
    nbformat.validate(nbformat.from_dict(ours))
    assert ours["metadata"]["papermill"].keys() <= kernel.metadata.papermill.keys()
    assert [cell["metadata"]["papermill"]["status"] for cell in ours["cells"]] == ["completed"] * len(ours["cells"])


def test_papermill_runs_the_same_without_a_kernel(tmp_path: Path) -> None:
    papermill_engines.register("pharmdb", InProcess)
    source = tmp_path / "source.ipynb"
    nbformat.write(notebook(*CELLS, OUTCOME), source)
    theirs = alone(
        papermill.execute_notebook,
        str(source),
        str(tmp_path / "papermill.ipynb"),
        engine_name="pharmdb",
        parameters={"text": "y"},
        progress_bar=False,
    )
    run, ours = run_file(tmp_path / "ours.ipynb", *CELLS, OUTCOME, text="y")
    assert outputs(ours) == outputs(theirs)
    assert run.outcome == {"ok": True, "rows": 2} == theirs.metadata.pharmdb["outcome"]
    printed = ours["cells"][2]["outputs"]
    assert [(o["name"], o["text"]) for o in printed] == [("stdout", "a\n"), ("stderr", "b\n"), ("stdout", "c\n")]


def test_an_error_stops_papermill_too(tmp_path: Path) -> None:
    papermill_engines.register("pharmdb", InProcess)
    source = tmp_path / "source.ipynb"
    nbformat.write(notebook("1 / 0", "2"), source)
    with pytest.raises(papermill.PapermillExecutionError, match="division by zero"):
        papermill.execute_notebook(str(source), str(tmp_path / "out.ipynb"), engine_name="pharmdb", progress_bar=False)


def test_an_error_is_the_object_itself_and_stored_as_a_kernel_stores_it(tmp_path: Path) -> None:
    run, ours = run_file(tmp_path / "ours.ipynb", "{}['key']", "2")
    assert isinstance(run.error, KeyError)
    (output,) = ours["cells"][1]["outputs"]
    assert (output["output_type"], output["ename"], output["evalue"]) == ("error", "KeyError", "'key'")
    assert "{}[" in re.sub(r"\x1b\[[0-9;]*m", "", "".join(output["traceback"]))
    assert [cell["metadata"]["papermill"]["status"] for cell in ours["cells"]] == ["completed", "failed", "pending"]
    assert ours["metadata"]["papermill"]["exception"]


def test_the_process_is_as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("IPYTHONDIR", raising=False)
    before = (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"])
    with shell.shell() as made:
        assert made.run("raise KeyboardInterrupt").error.__class__ is KeyboardInterrupt
        assert made.run("x = 1").error is None
    assert before == (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.modules["__main__"])
    with shell.shell() as made:
        assert isinstance(made.run("x").error, NameError)
    assert list(tmp_path.iterdir()) == []


def test_a_widget_is_made_without_a_kernel_and_stored_as_its_table(tmp_path: Path) -> None:
    source = "import pandas as pd, pharmdb; pharmdb.searchable(pd.DataFrame({'a': [1]}))"
    run, ours = run_file(tmp_path / "ours.ipynb", source)
    assert run.error is None
    (output,) = ours["cells"][1]["outputs"]
    assert output["data"].keys() == {"text/plain", "text/html"}


def test_a_traceback_in_a_run_file_shows_no_password() -> None:
    with shell.shell() as made:
        ran = made.run("part = 's3' + 'cret'\nraise ValueError(f'postgresql://ann:p@x/{part}@host/db')")
    assert isinstance(ran.error, ValueError)
    assert "s3cret" not in json.dumps(ran.outputs)
