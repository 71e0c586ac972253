"""The `pharmdb` command: made from the notebooks, strict with what it is given, true in its exit status."""

from __future__ import annotations

import ast
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from support.databases import Databases
from support.project import ROOT
from support.studying import study

from pharmdb import settings
from pharmdb.command import listing, program

PHARMDB = (sys.executable, "-m", "pharmdb.command")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, with braces and a space in its name, whose notebooks the runner finds; runs/ goes there too."""
    folder = tmp_path / "a {b} c"
    (folder / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(settings, "notebooks", lambda: folder / "notebooks")
    monkeypatch.setenv("PHARMDB_HOME", str(folder))
    return folder


OUTCOME = "import pandas as pd; pd.DataFrame([{'ok': True, 'changed': 'nothing'}])"


def write(project: Path, name: str, parameters: str, *cells: str) -> None:
    book = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    book.cells = [nbformat.v4.new_markdown_cell(f"# {name}: a title\n\nWhat it does.")]
    book.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(book, project / "notebooks" / f"{name}.ipynb")


def last_run(project: Path) -> dict[str, Any]:
    newest = max((project / "runs").glob("echo-*.ipynb"))
    content: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
    return content


ECHO = """
text: str = "x"  # any text
count: int = 1  # how many
flag: bool = True  # whether
ratio: float = 0.5  # how much
place: "path" = ""  # where
source: "path or url" = ""  # from where
list_: bool = False  # with a name of Python's
"""


def echo(project: Path, *options: str) -> Any:
    write(project, "echo", ECHO, "(text, count, flag, ratio)", "(place, source, list_)", OUTCOME)
    assert program.main(["echo", *options]) == 0
    return last_run(project)["cells"][-3]["outputs"][0]["data"]["text/plain"]


def places(project: Path, *options: str) -> Any:
    echo(project, *options)
    return ast.literal_eval("".join(last_run(project)["cells"][-2]["outputs"][0]["data"]["text/plain"]))


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
    write(project, "echo", parameters, f"({', '.join(names)})", OUTCOME)
    options = [f"--text-{number}={text}" for number, text in enumerate(HOSTILE)]
    assert program.main(["echo", *options]) == 0
    (output,) = last_run(project)["cells"][-2]["outputs"]
    assert ast.literal_eval("".join(output["data"]["text/plain"])) == tuple(HOSTILE)


def test_options_have_the_types_of_the_parameter_cell(project: Path) -> None:
    assert "".join(echo(project, "--count", "-7", "--no-flag", "--ratio", "2")) == "('x', -7, False, 2.0)"


def test_a_path_is_relative_to_the_callers_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    assert places(project) == ("", "", False)
    assert places(project, "--place", "a/b", "--source", "old.db", "--list") == (
        str(tmp_path / "a/b"),
        str(tmp_path / "old.db"),
        True,
    )
    assert places(project, "--place", "~/b", "--source", "file:old.db?mode=ro")[:2] == (
        "/home/ann/b",
        str(tmp_path / "old.db"),
    )
    url = "sqlite:///data/old.db"
    assert places(project, "--place", "/b", "--source", url)[:2] == ("/b", url)


def test_a_relative_source_in_the_environment_is_relative_to_the_callers_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHARMDB_SOURCE", "old.db")
    write(project, "echo", ECHO, "import os; os.environ['PHARMDB_SOURCE']", OUTCOME)
    assert program.main(["echo"]) == 0
    (output,) = last_run(project)["cells"][-2]["outputs"]
    assert ast.literal_eval("".join(output["data"]["text/plain"])) == str(tmp_path / "old.db")


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
        (["1 / 0", OUTCOME], "ZeroDivisionError: division by zero"),
        (["x y", OUTCOME], "SyntaxError: invalid syntax"),
        (["import sys; sys.exit(0)", OUTCOME], "stopped early, without an outcome"),
        (["import sys; sys.exit()"], "stopped early, without an outcome"),
        (["None"], "stopped early, without an outcome"),
        (["input('?');", OUTCOME], "EOFError"),
        ([OUTCOME, "None"], "stopped early, without an outcome"),
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
    assert "Run file: " in printed.err


@pytest.mark.parametrize(
    "last",
    [
        "'True'",
        "pd.DataFrame([{'changed': 'ok'}, {'changed': 'nothing'}])",
        "pd.DataFrame([{'changed  ok': 'nothing  False'}])",
        "pd.DataFrame([{'ok': True}, {'ok': True}])",
        "pd.DataFrame([{'ok': 'True'}])",
        "pd.DataFrame([{'ok': 1}])",
        "pd.DataFrame({'ok': []}).astype(bool)",
        "pd.DataFrame({'ok': pd.array([None], dtype='boolean')})",
    ],
)
def test_what_is_no_outcome_is_no_success(project: Path, last: str) -> None:
    write(project, "echo", ECHO, f"import pandas as pd; {last}")
    assert program.main(["echo"]) == 1
    assert "pharmdb" not in last_run(project)["metadata"]


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


def test_help_lists_every_command_and_each_parameter_with_its_default() -> None:
    listing_ = subprocess.run([*PHARMDB, "--help"], capture_output=True, text=True, check=True).stdout
    commands = list(listing.commands())
    assert len(commands) == 15
    for command in commands:
        assert f"{command.name} " in listing_
        assert command.title in " ".join(listing_.split())
        assert command.title.split()[0].islower(), "in the imperative, and no sentence"
        help_ = subprocess.run([*PHARMDB, command.name, "--help"], capture_output=True, text=True, check=True).stdout
        assert not set("`*>") & set(help_.replace("->", "").replace("[SHELL]", ""))
        assert "relative to the folder you are in" in " ".join(help_.split())
        for parameter in command.parameters:
            assert parameter.option in help_
            shown = {True: "yes", False: "no"}[parameter.default] if parameter.type == "bool" else parameter.default
            assert shown == "" or f"(default: {shown})" in " ".join(help_.split())


def test_version_and_completion() -> None:
    told = subprocess.run([*PHARMDB, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.startswith("pharmdb 1.")
    for shell in ("bash", "zsh", "tcsh"):
        command = [*PHARMDB, "--print-completion", shell]
        script = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "seed" in script
        assert "--user-email" in script or "user-email" in script
    assert (
        "_shtab_compgen_files"
        in subprocess.run([*PHARMDB, "--print-completion", "bash"], capture_output=True, text=True, check=True).stdout
    )


def test_an_outcome_is_data_in_the_run_file_and_on_standard_output(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project, "echo", ECHO, "import pandas as pd; pd.DataFrame([{'ok': False, 'rows': 3, 'next': '—'}])")
    assert program.main(["echo", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    (run,) = (project / "runs").iterdir()
    assert printed == {"ok": False, "rows": 3, "next": "—", "run": str(run)}
    assert last_run(project)["metadata"]["pharmdb"]["outcome"] == {"ok": False, "rows": 3, "next": "—"}


def test_an_error_is_data_too(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project, "echo", ECHO, "import pharmdb; pharmdb.seed('mysql://x/y')", OUTCOME)
    assert program.main(["echo", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)
    assert not error["ok"]
    assert error["error"]["type"] == "ParameterError"
    assert error["error"]["expected"].startswith("a URL like")
    assert "mysql" in error["error"]["found"]
    assert error["error"]["note"]
    for cell, kind in (("1 / 0", "ZeroDivisionError"), ("None", "Incomplete"), ("exit()", "SystemExit")):
        write(project, "echo", ECHO, cell)
        assert program.main(["echo", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["error"]["type"] == kind


def run(
    *arguments: str, cwd: Path, url: str, variables: dict[str, str | None] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PHARMDB_URL": url, "PHARMDB_HOME": str(cwd), "PYTHONPATH": str(ROOT)}
    for name, value in (variables or {}).items():
        environment.pop(name, None)
        environment |= {} if value is None else {name: value}
    return subprocess.run(
        [*PHARMDB, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options
    )


def test_a_piped_standard_input_is_not_read(databases: Databases, tmp_path: Path) -> None:
    before = (settings.notebooks() / "seed.ipynb").read_bytes()
    result = run("seed", cwd=tmp_path, url=databases.seeded("sqlite"), input="{}")
    assert result.returncode == 0, result.stderr
    assert "0 rows created, 4 updated" in result.stdout
    assert (settings.notebooks() / "seed.ipynb").read_bytes() == before


def test_tables_are_stored_as_a_kernel_stores_them_without_pandas(databases: Databases, tmp_path: Path) -> None:
    code = (
        "import sys; from pharmdb.command import program; sys.exit(program.main(['seed']) + ('pandas' in sys.modules))"
    )
    environment = os.environ | {"PHARMDB_URL": databases.seeded("sqlite"), "PHARMDB_HOME": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    (run_file,) = (tmp_path / "runs").iterdir()
    ours, kernels = (
        {
            cell["source"]: cell["outputs"][0]["data"]
            for cell in nbformat.read(file, as_version=4).cells
            if cell["source"].startswith("report.")
        }
        for file in (run_file, settings.notebooks() / "seed.ipynb")
    )
    assert "report.outcome" in ours
    assert ours == kernels


def test_the_error_of_a_command_is_printed_in_its_four_parts(databases: Databases, tmp_path: Path) -> None:
    result = run("inspect", cwd=tmp_path, url=databases.empty("sqlite"))
    assert result.returncode == 1
    for part in ("expected:", "found:", "unchanged:", "next:      pharmdb reset"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_nobody_to_inspect_is_no_success(databases: Databases, tmp_path: Path) -> None:
    result = run("inspect", "--user-email", "nobody@x", cwd=tmp_path, url=databases.seeded("sqlite"))
    assert result.returncode == 1
    assert "there is no user nobody@x" in result.stdout
    assert "Empty DataFrame" not in result.stdout


def test_backups_are_listed_without_making_one(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    assert run("backup", cwd=tmp_path, url=url).returncode == 0
    folder = settings.backups()
    before = sorted(folder.iterdir())
    result = run("backup", "--list", "--json", cwd=tmp_path, url=url)
    assert json.loads(result.stdout)["changed"] == "nothing"
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("home", [None, "/nonexistent/home", "/proc/self"])
def test_a_command_needs_nothing_in_the_home_folder(databases: Databases, tmp_path: Path, home: str | None) -> None:
    named = ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    variables = {"HOME": home} | dict.fromkeys(named, None)
    result = run("seed", cwd=tmp_path, url=databases.seeded("sqlite"), variables=variables)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_a_terminal_that_lacks_a_character_is_no_failure(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    study(url)
    result = run("inspect", cwd=tmp_path, url=url, variables={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert "\\u2192" in result.stdout


def test_a_reader_who_goes_early_is_no_failure(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    study(url)
    environment = os.environ | {"PHARMDB_URL": url, "PHARMDB_HOME": str(tmp_path)}
    with subprocess.Popen(
        [*PHARMDB, "inspect"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(60) == 0


WRITES = """
import sqlite3
connection = sqlite3.connect("kept.db", isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
try:
    connection.execute("INSERT INTO rows VALUES (2)")
    print("written", file=__import__("sys").__stdout__, flush=True)
    __import__("threading").Event().wait()
finally:
    connection.close()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_command_that_is_stopped_leaves_nothing_behind(project: Path, number: signal.Signals, status: int) -> None:
    write(project, "long", ECHO, WRITES, OUTCOME)
    with closing(sqlite3.connect(project / "kept.db")) as connection:
        connection.executescript("CREATE TABLE rows (n); INSERT INTO rows VALUES (1)")
    (project / "home").mkdir()
    code = "import sys, pathlib; from pharmdb import settings; settings.notebooks = lambda: pathlib.Path('notebooks')\n"
    environment = os.environ | dict.fromkeys(("HOME", "TMPDIR"), str(project / "home")) | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}from pharmdb.command import program; sys.exit(program.main(['long']))"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "written\n"
        assert psutil.Process(child.pid).children() == []
        child.send_signal(number)
        assert child.wait(60) == status
        said = child.stderr.read()
    assert ("interrupted; unfinished changes were rolled back" in said) == (number != signal.SIGKILL)
    assert "Traceback" not in said
    assert list((project / "home").iterdir()) == []
    with closing(sqlite3.connect(project / "kept.db")) as connection:
        assert connection.execute("SELECT n FROM rows").fetchall() == [(1,)]
    (run_file,) = (project / "runs").iterdir()
    assert json.loads(run_file.read_text())["metadata"]["papermill"]["parameters"]["text"] == "x"


def test_commands_at_once_in_one_folder(databases: Databases, tmp_path: Path) -> None:
    environment = os.environ | {"PHARMDB_URL": databases.seeded("sqlite"), "PHARMDB_HOME": str(tmp_path)}
    command = [*PHARMDB, "seed", "--json"]
    children = [
        subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    runs = [json.loads(child.communicate()[0])["run"] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(set(runs)) == 3
