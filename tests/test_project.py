"""The project's own files: two commands, one set of pins, no host named, imports that cost little."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import pharmdb

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [Requirement(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).exists()]


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


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["ci"]["steps"][-1] == {"run": "bash .ci/run"}


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
