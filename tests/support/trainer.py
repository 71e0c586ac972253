"""The trainer in Node: its own TypeScript and Prisma Client from npm, on what `pharmdb prisma` writes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from copy import copy
from pathlib import Path
from typing import Any, NoReturn

import pytest

import pharmdb
from support.project import ROOT

SOURCES = ROOT / "tests" / "application"
# The client needs no engine of its own, and the command line has one as WebAssembly. Unless these name something, it
# downloads native ones before it does anything.
NO_DOWNLOADS = {
    "PRISMA_SCHEMA_ENGINE_BINARY": "/bin/sh",
    "PRISMA_QUERY_ENGINE_LIBRARY": "/bin/sh",
    "PRISMA_HIDE_UPDATE_MESSAGE": "1",
    "CHECKPOINT_DISABLE": "1",
    "NO_COLOR": "1",
}
# Compiling SQLite with all optimizations takes minutes.
UNOPTIMIZED = {"CFLAGS": "-O0", "CXXFLAGS": "-O0", "JOBS": "2"}


def unavailable(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: object, cwd: Path, **environment: str) -> str:
    """What the command prints. Raises CalledProcessError, with everything that it said as a note."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | NO_DOWNLOADS | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        error = subprocess.CalledProcessError(result.returncode, words)
        error.add_note(f"{result.stdout}\n{result.stderr}")
        raise error
    return result.stdout


def node() -> tuple[str, Path]:
    """The version of Node, and the folder where it is installed."""
    if not shutil.which("node") or not shutil.which("npm"):
        unavailable("no Node.js with npm here (20 or newer): the trainer's own code is not run")
    version, executable = json.loads(
        run("node", "-p", "JSON.stringify([process.versions.node, process.execPath])", cwd=SOURCES)
    )
    if int(version.split(".")[0]) < 20:
        unavailable(f"Node.js {version} is too old (20 or newer): the trainer's own code is not run")
    return version, Path(executable).parents[1]


def modules(prisma: int) -> Path:
    """The node_modules of the lock for this version of Prisma; installed once for all runs of the tests."""
    version, prefix = node()
    source = SOURCES / f"prisma{prisma}"
    key = hashlib.sha256(version.encode())
    for name in ("package.json", "package-lock.json"):
        key.update((source / name).read_bytes())
    cache = Path(tempfile.gettempdir()) / f"pharmdb-npm-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    # Code of another user must not be run from a folder that everybody can write into.
    assert cache.stat().st_uid == os.getuid()
    folder = cache / f"prisma{prisma}-{key.hexdigest()[:16]}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
            try:
                run("npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", cwd=folder)
            except subprocess.CalledProcessError as error:
                unavailable("npm can't install Prisma Client:\n" + "\n".join(error.__notes__))
            _build(folder, cache, prefix)
            (folder / "done").touch()
    return folder / "node_modules"


def _build(folder: Path, cache: Path, prefix: Path) -> None:
    """Compiles better-sqlite3, against the headers that came with Node where they did."""
    package = folder / "node_modules" / "better-sqlite3"
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    for other in cache.glob("*/done"):
        twin = other.parent / "node_modules" / "better-sqlite3"
        if json.loads((twin / "package.json").read_text(encoding="utf-8"))["version"] == version:
            shutil.copytree(twin / "build", package / "build")
            return
    headers = [f"--nodedir={prefix}"] if (prefix / "include" / "node" / "node.h").exists() else []
    run("npm", "run", "build", "--", *headers, cwd=folder, **UNOPTIMIZED)


class Trainer:
    """The trainer's folder: schema.prisma, lib/prisma.ts and .env as pharmdb gives them, the client generated."""

    def __init__(self, folder: Path, prisma: int, url: str) -> None:
        self.folder = folder
        self.prisma = prisma
        shutil.copytree(SOURCES / "trainer", folder)
        shutil.copy(SOURCES / f"prisma{prisma}" / "package.json", folder)
        link(modules(prisma), folder / "node_modules")
        report = pharmdb.prisma_schema(url, output=str(folder), prisma_version=prisma)
        (folder / "lib").mkdir()
        (folder / "lib" / "prisma.ts").write_text(report.client, encoding="utf-8")
        run("node_modules/.bin/prisma", "generate", "--schema=schema.prisma", cwd=folder, DATABASE_URL="file:unused")
        # The types are the same on both databases.
        run(
            "node_modules/.bin/tsc",
            "--project",
            ".",
            "--noCheck" if url.startswith("postgresql") else "--strict",
            cwd=folder,
        )
        self.programs = "dist"

    def run(self, program: str, url: str, argument: Any = None) -> Any:
        """What a program of the trainer prints on the database of this URL: JSON."""
        environment = pharmdb.prisma_schema(url, prisma_version=self.prisma).environment
        (self.folder / ".env").write_text(environment, encoding="utf-8")
        arguments = [] if argument is None else [json.dumps(argument)]
        return json.loads(run("node", "--env-file=.env", f"{self.programs}/{program}.js", *arguments, cwd=self.folder))

    def without(self, line: str) -> Trainer:
        """The same trainer without this line of lib/prisma.ts."""
        other = copy(self)
        other.programs = "dist-without"
        shutil.copytree(self.folder / self.programs, self.folder / other.programs)
        module = self.folder / other.programs / "lib" / "prisma.js"
        text = module.read_text(encoding="utf-8")
        assert line in text
        module.write_text(text.replace(line, ""), encoding="utf-8")
        return other


def link(modules: Path, folder: Path) -> None:
    """The packages by reference, except Prisma Client: what is generated for it is looked for beside it."""
    folder.mkdir()
    (folder / "@prisma").mkdir()
    for package in modules.iterdir():
        if package.name != "@prisma":
            (folder / package.name).symlink_to(package)
    for package in (modules / "@prisma").iterdir():
        if package.name == "client":
            shutil.copytree(package, folder / "@prisma" / "client", symlinks=True)
        else:
            (folder / "@prisma" / package.name).symlink_to(package)
