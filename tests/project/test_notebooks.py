"""The notebooks: stored outputs that are compared, a house style that is kept, outcomes that a program can read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import papermill
import pytest
from support import legacy
from support.databases import Databases
from support.outcome import outcome_row
from support.project import ROOT
from support.seeds import KNOWN_GOOD
from support.studying import study

import pharmdb
from pharmdb.command import parameters
from tools.store_outputs import ORDER

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(*command: object, url: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"PHARMDB_URL": url} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def nbval(*notebooks: Path, url: str, cwd: Path, kernels: dict[str, str]) -> subprocess.CompletedProcess[str]:
    options = (
        "-o",
        "addopts=-q",
        "--nbval",
        "--nbval-sanitize-with",
        ROOT / "tests" / "nbval.cfg",
        "-p",
        "no:cacheprovider",
    )
    return run(sys.executable, "-m", "pytest", "--rootdir", cwd, *options, *notebooks, url=url, cwd=cwd, **kernels)


def test_every_notebook_is_in_the_order_of_the_tests() -> None:
    assert sorted(ORDER) == [path.stem for path in NOTEBOOKS]


def test_the_stored_outputs_come_again_on_both_databases(
    seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: dict[str, str]
) -> None:
    monkeypatch.setenv("PHARMDB_SOURCE", str(legacy.sample(tmp_path)))
    study(seeded)
    notebooks = [ROOT / "notebooks" / f"{name}.ipynb" for name in ORDER]
    result = nbval(*notebooks, url=seeded, cwd=tmp_path, kernels=kernels)
    cells = sum(len(code_cells(load(path))) for path in notebooks)
    assert result.returncode == 0, result.stdout
    assert f"{cells} passed" in result.stdout


def test_nbval_turns_red_at_each_stored_value_that_is_changed(
    databases: Databases, tmp_path: Path, kernels: dict[str, str]
) -> None:
    text = (ROOT / "notebooks" / "seed.ipynb").read_text(encoding="utf-8")
    changes = [("<td>4</td>", "<td>5</td>"), ("de90afbc368eb405", "de90afbc368eb406"), ("0 rows cre", "1 rows cre")]
    for stored, changed in changes:
        assert stored in text
        text = text.replace(stored, changed)
    copy = tmp_path / "seed.ipynb"
    copy.write_text(text, encoding="utf-8")
    result = nbval(copy, url=databases.seeded("sqlite"), cwd=tmp_path, kernels=kernels)
    assert result.returncode == 1
    assert re.search(rf"{len(changes)} failed, \d+ passed", result.stdout), result.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_committed_as_it_ran_from_top_to_bottom(path: Path) -> None:
    cells = code_cells(load(path))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    imports = next(number for number, cell in enumerate(cells) if "".join(cell["source"]).startswith("import pharmdb"))
    assert all(cell["outputs"] for cell in cells[imports + 1 :]), "every cell after the imports shows something"
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds == {"execute_result"}, "no error, nothing printed"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_keeps_the_house_style(path: Path) -> None:
    notebook = load(path)
    cells = notebook["cells"]
    assert re.match(r"# \w+: .+\n\n\S", "".join(cells[0]["source"])), "one H1 with the verb, then an introduction"
    assert sum("".join(cell["source"]).startswith("# ") for cell in cells if cell["cell_type"] == "markdown") == 1
    is_command = path.stem != "index"
    assert notebook["metadata"].get("pharmdb", {}).get("command", True) == is_command
    if is_command:
        assert "parameters" in cells[1]["metadata"]["tags"]
    for parameter in parameters.parameters(notebook):
        assert parameter.help, f"{parameter.name} has no comment"
    headings = ["".join(cell["source"]) for cell in cells[1:] if cell["cell_type"] == "markdown"]
    assert [re.match(r"## (\d+)\. ", heading).group(1) for heading in headings] == [  # type: ignore[union-attr]
        str(number) for number in range(1, len(headings) + 1)
    ]
    code = ["".join(cell["source"]) for cell in code_cells(notebook)]
    assert code[is_command].startswith("import pharmdb")
    assert not re.search(r"^\s*(for|while|def|class|SELECT|import(?! pharmdb))\b", "\n".join(code), re.MULTILINE)


def test_the_index_links_every_other_notebook_and_says_which_destroy() -> None:
    text = "".join("".join(cell["source"]) for cell in load(ROOT / "notebooks" / "index.ipynb")["cells"])
    assert sorted(re.findall(r"\]\((\w+)\.ipynb\)", text)) == sorted(p.stem for p in NOTEBOOKS if p.stem != "index")
    table = pharmdb.notebooks().set_index("command")["destroys"]
    destroying = {"reset", "restore", "upgrade"}
    assert {name.split()[1] for name in table.index[table != ""]} == destroying | {"studio", "account"}
    for path in NOTEBOOKS:
        warns = "WARNING" in "".join(load(path)["cells"][0]["source"])
        assert warns == (path.stem in destroying), path


def test_inspect_is_stored_over_a_learner_with_data() -> None:
    cells = code_cells(load(ROOT / "notebooks" / "inspect.ipynb"))
    texts = {"".join(c["source"]): "".join(o["data"]["text/plain"]) for c in cells for o in c["outputs"]}
    assert not [source for source, text in texts.items() if "Empty DataFrame" in text and "overrides" not in source]


RUNS = [
    ("sqlite", "reset", {}, {"ok": "True", "fingerprint": KNOWN_GOOD[:12]}),
    ("postgresql", "reset", {"backup": False}, {"ok": "True", "fingerprint": KNOWN_GOOD[:12]}),
    ("sqlite", "seed", {"seed_dir": "data/seed"}, {"ok": "True", "changed": "0 rows created, 4 updated"}),
    ("postgresql", "migrate", {"revision": "-1"}, {"changed": "1 revisions applied", "next": "pharmdb migrate"}),
    ("sqlite", "migrate", {"message": "x"}, {"changed": "no difference: no revision written, 0 revisions applied"}),
    (
        "postgresql",
        "inspect",
        {"user_email": "admin@pharmtrainer.test", "days": 7},
        {"ok": "False", "rows": "8", "user": "admin@pharmtrainer.test has no attempts"},
    ),
    (
        "sqlite",
        "inspect",
        {"user_email": "nobody@nowhere.test"},
        {"ok": "False", "user": "there is no user nobody@nowhere.test"},
    ),
    ("postgresql", "doctor", {"thorough": True}, {"ok": "True", "checks": "20"}),
]


@pytest.mark.parametrize(("dialect", "name", "parameters", "expected"), RUNS)
def test_papermill_runs_a_notebook_from_another_folder(
    seeded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernels: dict[str, str],
    name: str,
    parameters: dict[str, Any],
    expected: dict[str, str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in kernels.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PHARMDB_URL", seeded)
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(ROOT / "notebooks" / f"{name}.ipynb", out, parameters, progress_bar=False)
    row = outcome_row(load(out))
    assert row | expected == row


def test_papermill_fails_where_the_verb_fails(databases: Databases, tmp_path: Path) -> None:
    missing = databases.empty("sqlite")
    out = tmp_path / "out.ipynb"
    result = run(
        *(sys.executable, "-m", "papermill", ROOT / "notebooks" / "inspect.ipynb", out, "--no-progress-bar"),
        url=missing,
        cwd=tmp_path,
    )
    assert result.returncode == 1
    assert "next:      pharmdb reset" in result.stderr
    (error,) = [o for cell in code_cells(load(out)) for o in cell["outputs"] if o["output_type"] == "error"]
    assert error["ename"] == "MissingFileError"
    assert len(error["traceback"]) == 1, "the message, and no frames"
