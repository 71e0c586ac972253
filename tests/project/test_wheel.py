"""The wheel and the source archive hold all that the commands need, and work far from a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import legacy, project, raw
from support.project import ROOT

# Where a folder of the checkout lies in the wheel.
BUNDLED = {
    "pharmdb": "pharmdb",
    "notebooks": "pharmdb/bundled/notebooks",
    "migrations": "pharmdb/bundled/migrations",
    "data/seed": "pharmdb/bundled/data/seed",
    "data/catalogue": "pharmdb/bundled/data/catalogue",
}


def tracked(folder: str) -> set[str]:
    """The names of the tracked files below a folder."""
    return {path.relative_to(ROOT).as_posix() for path in project.tracked() if path.is_relative_to(ROOT / folder)}


def build(what: str, source: Path, folder: Path) -> Path:
    """Build with the hatchling of this environment; nothing is fetched."""
    code = f"import sys, hatchling.build; hatchling.build.build_{what}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, folder], cwd=source, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source archive, as an installer does that has no wheel."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as files:
        # Python 3.11.2, as Debian has it, knows no filter; the archive is our own.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        files.extractall(unpacked, **options)
    (source,) = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


def test_the_source_archive_holds_every_tracked_file(archive: Path) -> None:
    with tarfile.open(archive) as files:
        names = {name.split("/", 1)[1] for name in files.getnames()}
    assert names == tracked(".") | {"PKG-INFO"}


def test_the_wheel_holds_the_package_and_what_lies_beside_it_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        names = {name for name in files.namelist() if ".dist-info/" not in name}
    wanted = {to + name.removeprefix(place) for place, to in BUNDLED.items() for name in tracked(place)}
    assert names == wanted
    assert "pharmdb/py.typed" in names


def test_the_wheel_built_from_the_checkout_is_the_same(wheel: Path, tmp_path: Path) -> None:
    def contents(path: Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as files:
            return {name: files.read(name) for name in files.namelist()}

    assert contents(build("wheel", ROOT, tmp_path)) == contents(wheel)


def test_the_wheel_tells_what_it_is(installed: Path) -> None:
    (about,) = installed.glob("*.dist-info")
    metadata = (about / "METADATA").read_text(encoding="utf-8")
    for line in ("Requires-Python: >=3.11", "License-Expression: MIT", "Classifier: Typing :: Typed"):
        assert f"\n{line}\n" in metadata
    assert {line.split()[-1] for line in metadata.splitlines() if line.startswith("Provides-Extra: ")} == {
        "dev",
        "distributed",
        "lab",
        "studio",
    }
    assert metadata.endswith((ROOT / "README.md").read_text(encoding="utf-8"))
    assert (about / "licenses" / "LICENSE").exists()
    assert "pharmdb = " in (about / "entry_points.txt").read_text(encoding="utf-8")


def test_the_commands_of_the_wheel_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """What they make lies in the folder in which they are called; where the wheel lies, nothing changes."""
    folder = tmp_path / "an empty folder"
    folder.mkdir()
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PHARMDB_")}
    settings |= {"PYTHONPATH": str(installed), "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    before = {path: path.stat().st_mtime_ns for path in installed.rglob("*")}

    def run(*arguments: str) -> str:
        result = subprocess.run(
            # -P: the package is the one of the wheel, whatever lies in the folder.
            [sys.executable, "-P", "-m", "pharmdb.command", *arguments],
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    assert "pharmdb reset" in run("--help") or " reset " in run("--help")
    for command in ("reset", "doctor"):
        run(command)
    (folder / "prisma").mkdir()
    legacy.sample(folder).rename(folder / "prisma" / "dev.db")
    assert "rejected" in run("upgrade", "--source", "prisma/dev.db")
    assert "found" in run("inspect", "--user-email", "ben@example.test")
    with raw.session(f"sqlite:///{folder / 'data' / 'pharm.db'}") as session:
        assert session.execute("SELECT count(*) FROM attempts").fetchall() == [(6,)]
    assert (folder / "data" / "pharm.db").is_file()
    assert (folder / "runs").is_dir()
    assert {path: path.stat().st_mtime_ns for path in installed.rglob("*")} == before
