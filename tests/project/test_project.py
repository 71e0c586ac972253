"""The project's own files: two commands, one set of pins, no host named, imports that cost little."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from support.durations import LONGEST
from support.project import ROOT, tracked

import pharmdb

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ASKED = [Requirement(r) for r in sum(EXTRAS.values(), PROJECT["dependencies"])]
REQUIREMENTS = [r for r in ASKED if r.name != PROJECT["name"]]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.name)
def test_the_lock_pins_what_the_project_asks_for(requirement: Requirement) -> None:
    assert Version(PINS[requirement.name]) in requirement.specifier


def test_the_lock_has_a_hash_for_every_pin_and_names_no_host() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) > 100
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert not re.search(r"https?://|index-url|find-links", LOCK)


def test_the_tests_run_on_the_versions_of_the_lock() -> None:
    assert {r.name: version(r.name) for r in REQUIREMENTS} == {r.name: PINS[r.name] for r in REQUIREMENTS}


def test_passlib_comes_from_its_maintained_release_alone() -> None:
    assert "libpass" in PINS
    assert "passlib" not in PINS


def test_conda_makes_the_same_environment_from_the_same_pins() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, pinned = conda["dependencies"]
    assert python == f"python{PROJECT['requires-python']}"
    assert pip == "pip"
    assert pinned == {"pip": ["-r requirements.lock"]}, "every version stands in the lock, and only there"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in listed.splitlines()] == phony.split()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        # The index is a page to start from, and no command.
        assert (path.stem in phony.split()) == (path.stem != "index")


def test_the_extra_for_developers_has_every_other_extra() -> None:
    (own,) = [r for r in ASKED if r.name == PROJECT["name"]]
    assert own.extras == set(EXTRAS) - {"dev"}


def test_a_plain_install_has_neither_jupyterlab_nor_voila() -> None:
    plain = {Requirement(r).name for r in PROJECT["dependencies"]}
    assert {"papermill", "ipykernel", "ipython"} <= plain
    assert not {"jupyterlab", "voila"} & plain


def test_ci_runs_the_readmes_commands_and_every_python_that_the_project_supports() -> None:
    for command in ("make reset", "make test"):
        assert command in (ROOT / "README.md").read_text(encoding="utf-8")
        assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["lint"]["steps"][-1] == {"run": "make lint"}
    assert jobs["test"]["steps"][-1] == {"run": "bash .ci/run"}
    supported = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if re.fullmatch(r".*:: Python :: 3\.\d+", c)]
    assert jobs["test"]["strategy"]["matrix"]["python-version"] == supported
    assert PROJECT["requires-python"] == f">={supported[0]}"


def test_ci_takes_from_its_caller_where_packages_come_from_and_nothing_else(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.test"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path / "project", check=True, capture_output=True)

    (tmp_path / "project" / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / "project" / ".ci")
    (tmp_path / "project" / "Makefile").write_text("reset lint test:\n\t@pwd; umask; env | sort\n", encoding="utf-8")
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    (tmp_path / "caller" / ".config" / "pip").mkdir(parents=True)
    for name in (".npmrc", ".config/pip/pip.conf"):
        (tmp_path / "caller" / name).touch()
    taken = {"PIP_DEFAULT_TIMEOUT": "90", "UV_OFFLINE": "1", "https_proxy": "", "SSL_CERT_FILE": "/a folder/ca.crt"}
    left = {"PHARMDB_URL": "sqlite:///x.db", "PYTHONPATH": "/x", "JUPYTER_PATH": "/x", "XDG_RUNTIME_DIR": "/x"}
    caller = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "caller"), "TMPDIR": str(tmp_path), **taken, **left}
    said = subprocess.run(
        ["bash", str(tmp_path / "project" / ".ci" / "run")], env=caller, capture_output=True, text=True, check=True
    )
    folder, mask, *lines = said.stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert " " in folder
    assert mask == "0022"
    assert taken.items() <= found.items()
    assert not left.keys() & found.keys()
    assert found["HOME"] != caller["HOME"]
    assert found["PIP_CONFIG_FILE"] == str(tmp_path / "caller/.config/pip/pip.conf")
    assert found["NPM_CONFIG_USERCONFIG"] == str(tmp_path / "caller/.npmrc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["caller", "project"], "it leaves nothing behind"


def test_pre_commit_runs_the_linters_of_make_lint_from_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local", "nothing is fetched"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in repository["hooks"]:
        assert hook["entry"].removesuffix(" --force-exclude").replace(".venv/bin", "$(BIN)") in makefile


def test_a_notebook_that_is_broken_formatted_by_hand_or_shows_a_learner_is_told(tmp_path: Path) -> None:
    stored = (ROOT / "notebooks" / "seed.ipynb").read_text(encoding="utf-8")
    wrong = {
        "by-hand": stored.replace('\n "', '\n  "'),
        "no-json": "{",
        "no-cells": stored.replace('"cells"', '"cels"'),
        "learner": stored.replace("demo@pharmtrainer.test", "ann@university.edu"),
    }
    assert wrong["learner"] != stored
    for name, text in {"good": stored, **wrong}.items():
        (tmp_path / f"{name}.ipynb").write_text(text, encoding="utf-8")
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    said = subprocess.run(
        [sys.executable, ROOT / "tools/check_notebooks.py", *names], capture_output=True, text=True, check=False
    )
    assert said.returncode == 1
    assert {Path(line.split(":")[0]).stem for line in said.stderr.splitlines()} == set(wrong)
    assert "university" not in said.stderr, "the log may be public"


def test_no_tracked_file_is_large_or_names_a_folder_of_this_machine() -> None:
    for path in tracked():
        assert path.stat().st_size < 1_500_000, path
        if path.suffix in (".py", ".md", ".toml", ".yml", ".ipynb", ".cfg", ".csv"):
            text = path.read_text(encoding="utf-8")
            assert str(ROOT) not in text, path
            assert str(Path.home()) + "/" not in text or str(Path.home()) == "/", path


def test_import_pharmdb_imports_nothing_heavy() -> None:
    code = "import sys, pharmdb; print({'sqlalchemy', 'pandas', 'alembic', 'passlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("verb", ["reset", "seed", "migrate"])
def test_a_verb_imports_only_what_it_needs(verb: str) -> None:
    code = f"import sys, pharmdb; pharmdb.{verb}; print({{'pandas', 'matplotlib', 'papermill'}} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("name", pharmdb.__all__)
def test_every_public_name_has_a_docstring(name: str) -> None:
    assert (getattr(pharmdb, name).__doc__ or "").strip()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rest'"):
        pharmdb.rest  # noqa: B018


def test_the_modules_that_are_begun_first_are_there() -> None:
    assert [name for name in LONGEST if not (ROOT / "tests" / name).exists()] == []
