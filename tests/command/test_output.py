"""A command's own output: wherever its run file and its text can't be written, what was done is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import raw
from support.databases import Databases
from support.faults import INSERT_ATTEMPTS
from support.project import ROOT
from support.typing_in import Shell

from pharmdb import settings
from pharmdb.command import output, program


@pytest.fixture
def url(databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A known-good database of PHARMDB_URL, with a home of its own."""
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    url = databases.seeded("sqlite")
    monkeypatch.setenv("PHARMDB_URL", url)
    raw.run(url, "UPDATE user_settings SET language = 'de'")
    return url


def full(home: Path, patch: pytest.MonkeyPatch) -> None:
    opened = settings.open_private

    def open_private(path: Path, flags: int) -> int:
        if path.parent.name == "runs":
            raise OSError(28, "No space left on device", str(path))
        return opened(path, flags)

    patch.setattr(settings, "open_private", open_private)


RUNS: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "full": full,
    "a file": lambda home, patch: (home / "runs").write_text("mine"),
    "a dangling link": lambda home, patch: (home / "runs").symlink_to("nowhere/x"),
    # Nobody makes a folder there, not even root.
    "read-only": lambda home, patch: patch.setenv("PHARMDB_HOME", "/proc"),
}


@pytest.mark.parametrize("what", RUNS)
def test_a_reset_without_a_run_file_says_what_it_did_and_how_to_get_back(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        RUNS[what](tmp_path, patch)
        assert program.main(["reset"]) == 0
        printed = capsys.readouterr()
        assert "pharmdb reset: no run file: " in printed.err
        assert "Traceback" not in printed.err
        assert program.main(["seed", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["run"] == ""
    (way_back,) = (line.strip("' ") for line in printed.out.splitlines() if "pharmdb restore --backup" in line)
    assert Shell(monkeypatch, tmp_path).type(way_back) == 0
    assert set(raw.ask(url, "SELECT language FROM user_settings")) == {("de",)}


def test_a_reset_whose_output_fails_says_it_all_the_same(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as device:
        monkeypatch.setattr(sys, "stdout", device)
        assert program.main(["reset"]) == 1
        told = capsys.readouterr().err
        assert "pharmdb restore --backup" in told
        assert "No space left" in told
        assert "Traceback" not in told


def test_help_on_a_full_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as device:
        monkeypatch.setattr(sys, "stdout", device)
        assert program.main(["--help"]) == 1
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_that_is_closed(url: str, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert program.main(["seed", *options]) == 0
    assert program.main(["inspect", "--user-email", "nobody@example.org", *options]) == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_json_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    output.prepare()
    value = {"next": "ü → 🩺 \x1b", "half": "\udcff"}
    assert output.say(output.as_json(value))
    assert json.loads(buffer.getvalue().decode(encoding)) == value


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_folder_that_was_deleted(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    before = Path.cwd()
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    try:
        assert program.main(["inspect", *options]) == 1
    finally:
        os.chdir(before)
    printed = capsys.readouterr()
    assert "pharmdb: ParameterError" in printed.err
    if options:
        assert json.loads(printed.out)["error"]["command"] == "cd"
    assert program.main(["seed"]) == 0


LIBRARIES = ("IPython", "alembic", "bcrypt", "json", "matplotlib", "numpy", "pandas", "sqlalchemy", "tqdm", "traitlets")


@pytest.mark.parametrize("start", ["module", "script"])
def test_files_of_the_callers_folder_that_are_named_like_libraries(url: str, tmp_path: Path, start: str) -> None:
    for name in LIBRARIES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    raw.run(url, INSERT_ATTEMPTS.replace("101", "100"))
    # Of an installed program Python puts its own folder first.
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "pharmdb"
    script.write_text("import sys\nfrom pharmdb.command.program import main\nsys.exit(main())\n")
    started = {"module": ["-m", "pharmdb.command"], "script": [str(script)]}[start]
    done = subprocess.run(
        [sys.executable, *started, "inspect", "--json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"]
