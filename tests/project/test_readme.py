"""Every `sh` and `python` block of the README, run in a copy of the project as a newcomer would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import legacy
from support.postgres import SUPERUSER, Server
from support.project import ROOT, tracked

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
RUN = [(kind, text) for kind, text in BLOCKS if kind in ("sh", "python")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, in a folder with a space in its name, with this environment as its .venv."""
    folder = tmp_path_factory.mktemp("read me") / "pharmdb"
    for path in tracked():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    (folder / ".venv").symlink_to(sys.prefix)
    # The chapter on upgrades begins with an old file.
    legacy.sample(folder)
    os.utime(folder / "requirements.lock", (0, 0))
    os.utime(folder / "pyproject.toml", (0, 0))
    return folder


@pytest.fixture(scope="module")
def environment(project: Path, server: Server) -> dict[str, str]:
    """The copy's pharmdb with this environment's packages, the test server for libpq, a known-good database."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PHARMDB_")}
    settings |= {
        "PYTHONPATH": str(project),
        "PATH": f"{server.binaries}:{settings['PATH']}",
        "PGHOST": str(server.data),
        "PGUSER": SUPERUSER,
    }
    subprocess.run(["make", "reset"], cwd=project, env=settings, check=True, capture_output=True)
    return settings


@pytest.mark.parametrize(("kind", "text"), RUN, ids=[text.strip().splitlines()[-1][:40] for _, text in RUN])
def test_a_block_of_the_readme_runs(project: Path, environment: dict[str, str], kind: str, text: str) -> None:
    command = ["bash", "-e", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
    result = subprocess.run(
        command,
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    shown = {"make reset": 1, "pharmdb upgrade": 2}
    for command_shown, place in shown.items():
        if command_shown in text:
            assert README.split("```text\n")[place].split("```")[0] in result.stdout


def test_what_is_not_run_needs_what_is_not_here() -> None:
    others = [text for kind, text in BLOCKS if kind not in ("sh", "python")]
    assert [re.search(r"conda|make test|ok  .*changed|source_checksum", text) is not None for text in others] == [
        True
    ] * len(others)


def test_every_file_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:pharmdb|migrations|tests|data|notebooks)/[\w/.]*)`|\]\(([\w/.]+)\)", README):
        path = name[0] or name[1]
        if path not in ("data/pharm.db", "data/backups"):  # a clean clone has neither
            assert (ROOT / path).exists(), path


def test_every_module_stands_on_the_map() -> None:
    for path in (ROOT / "pharmdb").glob("[a-z]*.py"):
        assert re.search(rf"[`/]{path.name}`", README), path.name


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake (?!makes)([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE) or target in ("test",), target
