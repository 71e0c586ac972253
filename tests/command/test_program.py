"""The `pharmdb` command: made from the notebooks, strict with what it is given, true in its exit status."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_core.paths import jupyter_runtime_dir
from support.databases import Databases

from pharmdb.command import parameters, program
from pharmdb.command.kernels import LocalKernelManager

PHARMDB = (sys.executable, "-m", "pharmdb.command")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with braces and a space in its name, whose notebooks the runner finds; runs/ goes there too."""
    folder = tmp_path / "a {b} c"
    (folder / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(program, "NOTEBOOKS", folder / "notebooks")
    monkeypatch.setattr(program, "RUNS", folder / "runs")
    return folder


def write(project: Path, name: str, parameters: str, *cells: str) -> None:
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    book.cells = [nbformat.v4.new_markdown_cell(f"# {name}: a title\n\nWhat it does.")]
    book.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, project / "notebooks" / f"{name}.ipynb")


def last_run(project: Path) -> dict[str, Any]:
    return json.loads(max((project / "runs").glob("echo-*.ipynb")).read_text(encoding="utf-8"))


ECHO = """
text: str = "x"  # any text
count: int = 1  # how many
flag: bool = True  # whether
ratio: float = 0.5  # how much
"""


def echo(project: Path, *options: str) -> Any:
    write(project, "echo", ECHO, "(text, count, flag, ratio)")
    assert program.main(["echo", *options]) == 0
    return last_run(project)["cells"][-1]["outputs"][0]["data"]["text/plain"]


def test_a_new_notebook_is_a_new_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "".join(echo(project)) == "('x', 1, True, 0.5)"
    printed = capsys.readouterr().out
    assert "('x', 1, True, 0.5)\n" in printed
    assert str(next((project / "runs").iterdir())) in printed


HOSTILE = [
    "007",
    "None",
    "True",
    "1e3",
    "",
    " ",
    'quo"te',
    "it's",
    "back\\slash",
    "new\nline",
    "{braces}",
    "'; DROP TABLE users; --",
    '"""; import os; os._exit(3)',
    "../../etc/passwd",
    "naïve ≥ 🩺",
    "--not-an-option",
]


def test_a_string_stays_the_string_that_was_typed(project: Path) -> None:
    names = [f"text_{number}" for number in range(len(HOSTILE))]
    parameters = "\n".join(f'{name}: str = "x"  # any text' for name in names)
    write(project, "echo", parameters, f"({', '.join(names)})")
    options = [f"--text-{number}={text}" for number, text in enumerate(HOSTILE)]
    assert program.main(["echo", *options]) == 0
    (output,) = last_run(project)["cells"][-1]["outputs"]
    assert ast.literal_eval("".join(output["data"]["text/plain"])) == tuple(HOSTILE)


def test_options_have_the_types_of_the_parameter_cell(project: Path) -> None:
    assert "".join(echo(project, "--count", "-7", "--no-flag", "--ratio", "2")) == "('x', -7, False, 2.0)"


@pytest.mark.parametrize(
    "options",
    [
        ["--txt", "a"],
        ["--tex", "a"],
        ["--text; import os", "a"],
        ["--text = 1; x", "a"],
        ["--count", "1.5"],
        ["--count", "0x10"],
        ["--count", "1; import os"],
        ["--ratio", "much"],
        ["--flag", "maybe"],
        ["--text", "\udcff"],
        ["more"],
    ],
)
def test_unknown_names_and_malformed_values_are_refused_before_anything_runs(project: Path, options: list[str]) -> None:
    write(project, "echo", ECHO, "1")
    with pytest.raises(SystemExit) as refused:
        program.main(["echo", *options])
    assert refused.value.code == 2
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:canary@db/x",
        "postgresql://db/x?password=canary",
        "postgresql://ann@corp:canary@db/x",
        "postgresql://ann:a canary@db/x",
        "postgresql://db/x?pass%77ord=canary",
        "postgresql://db/x?sslpassword=canary",
    ],
)
def test_a_password_in_an_option_reaches_no_run_file(
    project: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    write(project, "echo", ECHO, "1")
    with pytest.raises(SystemExit):
        program.main(["echo", "--text", url])
    message = capsys.readouterr().err
    assert "PHARMDB_URL" in message
    assert "canary" not in message
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1 / 0", "2"], "ZeroDivisionError: division by zero"),
        (["import sys; sys.exit(0)", "2"], "stopped before its end"),
        (["import os; os._exit(0)", "2"], "the kernel died"),
        (["1", "None"], "stopped before its end"),
        (["input('?')", "2"], "StdinNotImplementedError"),
    ],
)
def test_a_run_that_did_not_reach_its_end_fails_without_a_traceback(
    project: Path, capsys: pytest.CaptureFixture[str], cells: list[str], message: str
) -> None:
    write(project, "broken", ECHO, *cells)
    assert program.main(["broken"]) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_a_notebook_with_an_untyped_parameter_is_no_command(project: Path) -> None:
    write(project, "loose", "text = 1", "1")
    with pytest.raises(ValueError, match="name: type = default"):
        program.main(["loose"])


def test_old_runs_of_the_same_verb_are_removed(project: Path) -> None:
    echo(project)
    (first,) = (project / "runs").iterdir()
    for number in range(program.RUNS_KEPT + 5):
        (project / "runs" / f"echo-2020{number:04}T.ipynb").write_text("{}")
    (project / "runs" / "other-20200101T.ipynb").write_text("{}")
    echo(project)
    kept = sorted(path.name for path in (project / "runs").glob("echo-*"))
    assert len(kept) == program.RUNS_KEPT
    assert first.name in kept
    assert (project / "runs" / "other-20200101T.ipynb").exists()


def test_help_lists_every_notebook_and_each_parameter_with_its_default() -> None:
    listing = subprocess.run([*PHARMDB, "--help"], capture_output=True, text=True, check=True).stdout
    for path in program.NOTEBOOKS.glob("*.ipynb"):
        assert f"{path.stem} " in listing
        help_ = subprocess.run([*PHARMDB, path.stem, "--help"], capture_output=True, text=True, check=True).stdout
        for parameter in parameters.parameters(json.loads(path.read_text(encoding="utf-8"))):
            assert f"--{parameter.name.replace('_', '-')}" in help_
            assert repr(parameter.default) in " ".join(help_.split())


def test_a_piped_standard_input_is_not_read(databases: Databases, tmp_path: Path) -> None:
    """`papermill x.ipynb` with a pipe takes the notebook for its output file; the command must not."""
    before = (program.NOTEBOOKS / "seed.ipynb").read_bytes()
    result = subprocess.run(
        [*PHARMDB, "seed"],
        input="{}",
        cwd=tmp_path,
        env=os.environ | {"PHARMDB_URL": databases.seeded("sqlite")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "0 rows created, 4 updated" in result.stdout
    assert (program.NOTEBOOKS / "seed.ipynb").read_bytes() == before


def test_the_error_of_a_verb_is_printed_in_its_four_parts(databases: Databases, tmp_path: Path) -> None:
    result = subprocess.run(
        [*PHARMDB, "inspect"],
        cwd=tmp_path,
        env=os.environ | {"PHARMDB_URL": databases.empty("sqlite")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    for part in ("expected:", "found:", "unchanged:", "next:      pharmdb reset"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_an_interrupted_run_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "long", ECHO, f"import os, signal; os.kill({os.getpid()}, signal.{signal.SIGINT.name}); input()")
    status = program.main(["long"])
    assert status in (1, 130)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("ok", "status"), [("True", 0), ("False", 1)])
def test_the_exit_status_is_what_the_outcome_says(project: Path, ok: str, status: int) -> None:
    outcome = f"import pandas as pd; pd.DataFrame([{{'ok': {ok}, 'changed': 'x'}}])"
    write(project, "verb", ECHO, outcome)
    assert program.main(["verb"]) == status


def test_commands_at_once_in_one_folder_have_kernels_of_their_own(project: Path) -> None:
    write(project, "echo", ECHO, "1")
    code = (
        "import sys; from pathlib import Path; from pharmdb import runner\n"
        "runner.NOTEBOOKS, runner.RUNS = Path('notebooks').resolve(), Path('runs').resolve()\n"
        "sys.exit(runner.main(['echo']))"
    )
    children = [subprocess.Popen([sys.executable, "-c", code], cwd=project) for _ in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert not list(project.rglob("*ipc*"))


def test_a_kernels_sockets_lie_where_nobody_else_can_look() -> None:
    one, other = LocalKernelManager(), LocalKernelManager()
    if one.transport == "ipc":
        assert one.ip != other.ip
        assert str(Path(one.ip).parent) == jupyter_runtime_dir()
