"""`make` and its environment, with real wheels and no network: what fails or is killed leaves the old one in use."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.project import ROOT

UV = Path(sys.executable).with_name("uv")
WORKING = f'#!/bin/sh\nexec "{UV}" "$@"\n'
FAILING = "#!/bin/sh\nexit 3\n"
# Says that it was started, and waits until somebody lets it go on. It fails then.
WAITING = '#!/bin/sh\necho started > "$HOME/started"\nread go < "$HOME/go"\nexit 3\n'
BACKEND = """
import os, shutil
def build_editable(folder, config_settings=None, metadata_directory=None):
    return os.path.basename(shutil.copy("pharmdb-1-py3-none-any.whl", folder))
"""
PYPROJECT = """
[project]
name = "pharmdb"
version = "1"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> str:
    """Write a wheel of these files into the folder; its lines for a lock file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    files |= {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            member = zipfile.ZipInfo(file)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, text)
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@dataclass
class Checkout:
    """A small project with our Makefile and tools, whose `pharmdb` prints the version of its one library."""

    folder: Path
    home: Path

    def lock(self, version: str, *, uv: str = FAILING, wrong: bool = False) -> None:
        """Pin this version of the library, and a uv that is this script."""
        text = wheel(self.home, "uv", "1", {"uv-1.data/scripts/uv": uv})
        text += wheel(self.home, "library", version, {"library.py": f"VERSION = {version!r}"})
        if wrong:
            text = text[:-65] + "0" * 64 + "\n"
        (self.folder / "requirements.lock").write_text(text, encoding="utf-8")

    def uv(self, script: str) -> None:
        """Put this script on the PATH as uv."""
        program = self.home / "bin" / "uv"
        program.write_text(script, encoding="utf-8")
        program.chmod(0o755)

    def start(self) -> subprocess.Popen[str]:
        """`make reset`, without a package index."""
        settings = {
            "PATH": f"{self.home}/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.home),
        }
        return subprocess.Popen(
            ["make", "--no-print-directory", "reset"],
            cwd=self.folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def reset(self) -> tuple[int, str]:
        """The exit status and the output of `make reset`."""
        process = self.start()
        output, _ = process.communicate()
        return process.returncode, output

    def answer(self) -> str:
        """What the installed program says, without make."""
        return subprocess.run([self.folder / ".venv/bin/pharmdb"], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path / "a checkout", tmp_path / "home")
    shutil.copytree(ROOT / "tools", made.folder / "tools")
    shutil.copy(ROOT / "Makefile", made.folder)
    (made.folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (made.folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    wheel(
        made.folder,
        "pharmdb",
        "1",
        {
            "program.py": "import library\ndef main():\n    print('library', library.VERSION)\n",
            "pharmdb-1.dist-info/entry_points.txt": "[console_scripts]\npharmdb = program:main\n",
        },
    )
    (made.home / "bin").mkdir(parents=True)
    (made.home / "bin" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    made.lock("1")
    made.uv(WORKING)
    return made


def builds(checkout: Checkout) -> list[str]:
    return sorted(path.name for path in (checkout.folder / ".venvs").iterdir() if path.is_dir())


def test_uv_from_the_lock_installs_and_a_file_that_was_only_touched_needs_no_new_environment(
    checkout: Checkout,
) -> None:
    (checkout.home / "bin" / "uv").unlink()
    checkout.lock("1", uv=WORKING)
    status, output = checkout.reset()
    assert (status, output.splitlines()[-1]) == (0, "library 1"), output
    assert "uv could not" not in output
    for path in checkout.home.glob("*.whl"):
        path.unlink()
    (checkout.folder / "requirements.lock").touch()
    assert checkout.reset() == (0, "library 1\n")
    (checkout.folder / "requirements.lock").touch()
    assert checkout.reset() == (0, "library 1\n")


def test_pip_installs_where_uv_fails_and_a_shell_that_is_activated_stays_up_to_date(checkout: Checkout) -> None:
    checkout.uv(FAILING)
    status, output = checkout.reset()
    assert (status, output.splitlines()[-1]) == (0, "library 1"), output
    assert "Trying pip" in output
    shell = '. .venv/bin/activate; command -v pharmdb; echo "$VIRTUAL_ENV"'
    said = subprocess.run(["sh", "-c", shell], cwd=checkout.folder, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [f"{checkout.folder}/.venv/bin/pharmdb", f"{checkout.folder}/.venv"]


@pytest.mark.parametrize("harm", ["no package", "wrong hash"])
def test_where_nothing_can_be_installed_the_old_environment_stays_and_make_says_so(
    checkout: Checkout, harm: str
) -> None:
    checkout.reset()
    checkout.lock("2", wrong=harm == "wrong hash")
    if harm == "no package":
        (checkout.home / "library-2-py3-none-any.whl").unlink()
    status, output = checkout.reset()
    assert status != 0
    assert "The one in .venv is unchanged and still works, but does not match requirements.lock." in output
    assert "library 1" not in output, "an outdated environment is not used without a word"
    assert checkout.answer() == "library 1\n"
    checkout.lock("2")
    assert checkout.reset()[1].splitlines()[-1] == "library 2"
    assert len(builds(checkout)) == 2, "the one before, for programs that run in it; nothing of the failed run"


def test_a_kill_in_the_middle_leaves_the_old_environment_and_the_next_run_waits_and_cleans(checkout: Checkout) -> None:
    checkout.reset()
    for name in ("started", "go"):
        os.mkfifo(checkout.home / name)
    checkout.lock("2")
    checkout.uv(WAITING)
    killed = checkout.start()
    assert (checkout.home / "started").read_text() == "started\n"
    (old, half) = sorted(builds(checkout), key=lambda name: (checkout.folder / ".venvs" / name / "done").exists())[::-1]
    assert os.readlink(checkout.folder / ".venv") == f".venvs/{old}"
    # make and the script die; the installer outlives them.
    for process in [psutil.Process(killed.pid), *psutil.Process(killed.pid).children(recursive=True)]:
        if str(checkout.home / "bin" / "uv") not in process.cmdline():
            process.kill()
    killed.wait()
    assert checkout.answer() == "library 1\n"

    checkout.lock("3")
    checkout.uv(WORKING)
    following = checkout.start()
    assert following.stdout is not None
    assert following.stdout.readline() == "Another make is creating the environment; waiting for it …\n"
    assert (checkout.folder / ".venvs" / half).exists(), "the installer may still write there"
    (checkout.home / "go").write_text("go\n")
    output, _ = following.communicate()
    assert output.splitlines()[-1] == "library 3", output
    assert half not in builds(checkout)


def test_two_at_once_make_one_environment(checkout: Checkout) -> None:
    both = [checkout.start(), checkout.start()]
    outputs = [process.communicate()[0] for process in both]
    assert [output.splitlines()[-1] for output in outputs] == ["library 1", "library 1"], outputs
    assert "".join(outputs).count("Creating the environment") == 1


def test_a_folder_in_place_of_the_link_is_replaced_and_a_moved_checkout_gets_its_own(checkout: Checkout) -> None:
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    assert checkout.reset()[1].splitlines()[-1] == "library 1"
    assert (checkout.folder / ".venv").is_symlink()
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved away"))
    status, output = checkout.reset()
    assert (status, output.splitlines()[-1]) == (0, "library 1")
    assert "Creating the environment" in output, "its programs name the folder in which they were"


def test_uv_is_told_what_pip_is_configured_to_and_what_is_said_to_uv_itself_comes_first() -> None:
    listed = (
        ":env:.find-links='/a /b'\nglobal.index-url='file:///one'\nglobal.find-links='/c'\n"
        "install.index-url='file:///two'\nglobal.timeout='60'\ndownload.index-url='file:///three'\n"
    )
    uv_settings = runpy.run_path(str(ROOT / "tools" / "uv_from_pip.py"))["uv_settings"]
    assert uv_settings(listed, {}) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "file:///two",
        "UV_FIND_LINKS": "/a,/b",
    }
    assert uv_settings(listed, {"UV_DEFAULT_INDEX": "file:///own"})["UV_DEFAULT_INDEX"] == "file:///own"
    assert uv_settings("", {})["UV_INDEX_STRATEGY"] == "unsafe-best-match"
