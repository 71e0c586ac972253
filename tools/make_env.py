"""Create the environment that `.venv` points to, from the pinned packages in requirements.lock.

`make` runs this with the Python that the environment is for. Each environment is built in its own folder in `.venvs/`,
and the link `.venv` is changed only when it is complete, so a failure or a kill before that leaves the present
environment as it was. Packages are installed with uv if it is available, otherwise with pip; both check every hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from uv_from_pip import pin, uv_settings

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LINK = ROOT / ".venv"
BUILDS = ROOT / ".venvs"


def main() -> None:
    """Create the environment unless it exists, and point `.venv` to it. Exits with a message if that fails."""
    try:
        BUILDS.mkdir(exist_ok=True)
        with (BUILDS / "lock").open("w") as lock:
            _wait_for(lock)
            environment = BUILDS / _key()
            if not (environment / "done").exists():
                _clean()
                _build(environment, lock.fileno())
            _use(environment)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"The environment could not be created: {_reason(error)}\n{_state()}")
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted.\n{_state()}")


def _key() -> str:
    """A name derived from what the environment depends on, so that merely touching a file needs no new environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    about = [project["project"], project["build-system"], project.get("tool", {}).get("hatch"), sys.base_prefix, ROOT]
    text = LOCK.read_text(encoding="utf-8") + repr(about)
    return f"py{sys.version_info[0]}.{sys.version_info[1]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _wait_for(lock: Any) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another make is creating the environment; waiting for it …", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _clean() -> None:
    """Remove the remains of interrupted runs, and old environments."""
    for path in BUILDS.iterdir():
        if path.is_dir() and path.resolve() != LINK.resolve():
            shutil.rmtree(path)


def _build(environment: Path, lock: int) -> None:
    python = environment / "bin" / "python"

    def run(*command: object, **settings: str) -> None:
        # The installer inherits the lock, and so still holds it if this process is killed.
        subprocess.run([str(part) for part in command], check=True, pass_fds=[lock], env=os.environ | settings)

    def install(*command: object, **settings: str) -> None:
        # Nothing is compiled in advance: most modules are never imported, and it takes longer than everything else.
        run(*command, "--require-hashes", "-r", LOCK, **settings)
        run(*command, "--no-deps", "--no-build-isolation", "-e", ROOT, **settings)

    def uv_from_lock() -> Path:
        alone = environment / "uv.txt"
        alone.write_text(pin("uv", LOCK.read_text(encoding="utf-8")), encoding="utf-8")
        run(python, "-I", "-m", "pip", "install", "-q", "--only-binary=uv", "--require-hashes", "-r", alone)
        return environment / "bin" / "uv"

    print(f"Creating the environment for Python {sys.version.split()[0]} …", flush=True)
    start = time.monotonic()
    uv = shutil.which("uv")
    run(sys.executable, "-m", "venv", *(["--without-pip"] if uv else []), environment)
    try:
        # uv installs no pip, but this Python may have one, with a configuration.
        pip = [sys.executable if uv else str(python), "-I", "-m", "pip", "config", "list"]
        listed = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
        settings = uv_settings(listed, dict(os.environ))
        install(uv or uv_from_lock(), "pip", "install", "-q", "--python", python, **settings)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"uv failed: {_reason(error)}\nTrying pip, which takes a minute or two …", flush=True)
        run(sys.executable, "-m", "venv", "--clear", environment)
        install(python, "-I", "-m", "pip", "install", "-q", "--no-compile")
    for script in (environment / "bin").glob("[aA]ctivate*"):
        # Activation scripts refer to the link, so that an activated shell also gets later environments.
        script.write_text(script.read_text("utf-8").replace(str(environment), str(LINK)), "utf-8")
    (environment / "done").write_text(str(ROOT), encoding="utf-8")
    print(f"The environment is complete, after {time.monotonic() - start:.0f} s.", flush=True)


def _use(environment: Path) -> None:
    os.utime(environment / "done")
    if LINK.is_dir() and not LINK.is_symlink():
        LINK.rename(BUILDS / f"replaced-{time.time_ns()}")
    link = BUILDS / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(environment.relative_to(ROOT))
    link.replace(LINK)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"{Path(error.cmd[0]).name} ended with exit status {error.returncode}; its output is above."
    return str(error)


def _state() -> str:
    if (LINK / "bin" / "python").exists():
        return (
            "The one in .venv is unchanged and still works, but does not match requirements.lock.\n"
            "Run the same command again, or use the old one, for example: .venv/bin/pharmdb reset"
        )
    return "There is none yet. Creating it needs a package index or a cache; run the same command again."


if __name__ == "__main__":
    main()
