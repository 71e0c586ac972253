"""A canary for a password: after every verb, whether it succeeds or fails, it is found nowhere."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import pytest
from psycopg import sql
from support import killing
from support.databases import dsn
from support.postgres import Server

from pharmdb import settings
from pharmdb.backups import postgresql_dumps
from pharmdb.settings import SOURCE as ROOT

# Percent signs, an @ and a quote around it, so that it is met escaped and unescaped; the middle is the same in both.
CANARY = f"canary{secrets.token_hex(12)}"
PASSWORD = f"p@%'{CANARY}/:x"


@dataclass
class Run:
    """What one run of the command left: its words, its file, and every command line seen meanwhile."""

    arguments: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    file: str
    commands: set[str] = field(repr=False)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        connection.execute(sql.SQL("CREATE ROLE canary LOGIN PASSWORD {}").format(PASSWORD))
        connection.execute("CREATE DATABASE canary OWNER canary")
        (server.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.close()


class Project:
    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.calls = folder / "calls"
        with psycopg.connect(dsn(server.uri())) as connection:
            version = connection.info.server_version // 10_000
        for name in ("pg_dump", "pg_restore"):
            # What the client is called with, word by word; it runs too shortly to be seen for sure in the process list.
            wrapper = self.programs / name
            log = (
                f"printf '%s\\n' \"$0\" \"$@\" >> '{self.calls}'; tr '\\0' ' ' < /proc/$PPID/cmdline >> '{self.calls}'"
            )
            wrapper.write_text(f"#!/bin/sh\n{log}\nexec '{postgresql_dumps.client(name, version)}' \"$@\"\n")
            wrapper.chmod(0o755)
        self.backups = folder / "backups"
        self.logs = folder / "home"
        self.logs.mkdir()

    def url(self, password: str = PASSWORD, database: str = "canary") -> str:
        return f"postgresql://canary:{quote(password, safe='')}@/{database}?host={self.server.data}"

    def run(self, *arguments: str, url: str = "") -> Run:
        environment = os.environ | {
            "PHARMDB_URL": url or self.url(),
            "PHARMDB_BACKUPS": str(self.backups),
            "PHARMDB_LOCK_TIMEOUT": "20",
            "PHARMDB_NEW_PASSWORD": CANARY,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HOME": str(self.logs),
            "TMPDIR": str(self.logs),
        }
        commands: set[str] = set()
        with (self.folder / "out").open("w+") as out, (self.folder / "err").open("w+") as err:
            child = subprocess.Popen(
                [sys.executable, "-m", "pharmdb.command", *arguments],
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
            process = psutil.Process(child.pid)
            while child.poll() is None:
                for seen in (process, *children(process)):
                    try:
                        commands.add(" ".join(seen.cmdline()))
                    except psutil.Error:
                        continue
                try:
                    child.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
            out.seek(0)
            err.seek(0)
            stdout, stderr = out.read(), err.read()
        files = list(settings.runs().glob(f"{arguments[0]}-*-{child.pid}.ipynb"))
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        for file in files:
            file.unlink()
        return Run(arguments, child.returncode, stdout, stderr, text, commands)


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


@pytest.fixture(scope="module")
def project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(server, tmp_path_factory.mktemp("secrets"))


def assert_nowhere(project: Project, run: Run) -> None:
    places = {"stdout": run.stdout, "stderr": run.stderr, "run file": run.file, "ps": "\n".join(run.commands)}
    if project.calls.exists():
        places["clients"] = project.calls.read_text()
    for folder in (project.backups, project.logs):
        for path in folder.rglob("*") if folder.exists() else ():
            places[f"name of {path}"] = path.name
            if path.is_file():
                places[str(path)] = path.read_bytes().decode("latin-1")
    where = [place for place, text in places.items() if CANARY in text]
    assert where == [], f"{run.arguments}: the password stands in {where}"
    # It was looked for in what is there: the command line of the run itself, and its file.
    assert any("pharmdb.command" in command for command in run.commands), run


# Each takes seconds.
VERBS = (
    ("reset",),
    ("account", "--user-email=demo@pharmtrainer.test", "--action=set-password"),
    ("backup",),
    ("restore",),
    ("doctor",),
    ("seed",),
    ("inspect",),
    ("migrate", "--revision=-1"),
    ("migrate",),
)


def test_a_password_that_works_is_found_nowhere(project: Project) -> None:
    for arguments in VERBS if killing.THOROUGH else VERBS[:5]:
        run = project.run(*arguments)
        # The doctor fails where it finds something, as it should; it is not what is asked here.
        assert run.status == 0 or arguments == ("doctor",), f"{arguments}\n{run.stdout}\n{run.stderr}"
        assert run.file, arguments
        assert "canary" in run.file
        assert_nowhere(project, run)
    called = project.calls.read_text()
    assert "pg_dump\n--format=custom" in called
    assert "pg_restore\n--file=-" in called
    assert re.search(r"user=canary", called)
    assert len(list(project.backups.glob("*.json"))) >= 2


FAILURES: dict[str, Callable[[Project], tuple[tuple[str, ...], str]]] = {
    "a wrong password": lambda p: (("reset",), p.url(password=f"{PASSWORD}wrong")),
    "an @ that is not escaped": lambda p: (("seed",), f"postgresql://canary:x@{CANARY}/y?z@localhost/canary"),
    "an unknown account": lambda p: (("account", "--user-email=x@y.test", "--action=set-password"), p.url()),
    "no server": lambda p: (("backup",), f"postgresql://canary:{CANARY}@127.0.0.1:1/canary"),
    "an unknown revision": lambda p: (("migrate", "--revision=ffff"), p.url()),
    "a missing database": lambda p: (("inspect",), p.url(database="nowhere")),
    "an unknown backup": lambda p: (("restore", "--backup=19700101T000000.000000Z"), p.url()),
    "a port that is none": lambda p: (("seed",), f"postgresql://canary:{CANARY}@localhost:port/canary"),
    "another scheme": lambda p: (("doctor",), f"mysql://canary:{CANARY}@localhost/canary"),
    "a password in the query": lambda p: (("reset",), f"postgresql:///canary?host={p.folder}&password={CANARY}"),
}


def test_a_password_of_a_run_that_fails_is_found_nowhere(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    def fail(case: str) -> None:
        folder = tmp_path_factory.mktemp("failure")
        own = Project(project.server, folder)
        arguments, url = FAILURES[case](own)
        run = own.run(*arguments, url=url)
        assert run.status == 1, f"{case}: {run.stdout}\n{run.stderr}"
        assert "Error" in run.stderr, f"{case}: {run.stderr}"
        assert "Traceback" not in run.stderr, f"{case}: {run.stderr}"
        assert_nowhere(own, run)
        shutil.rmtree(folder)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fail, list(FAILURES) if killing.THOROUGH else list(FAILURES)[:5]))


def test_a_password_as_a_parameter_is_refused_before_it_is_written_down(project: Project) -> None:
    run = project.run("inspect", "--database-url", project.url())
    assert run.status == 2
    assert run.file == ""
    assert CANARY not in run.stdout + run.stderr
