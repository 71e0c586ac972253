"""kill -9 at random instants: afterwards the old state or the new one, complete, and the same command succeeds."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support import killing, raw
from support.contents import everything
from support.databases import dsn
from support.hashing import hash_once
from support.postgres import Server
from support.raw import run

import pharmdb
from pharmdb.backups import manifests, restoring
from pharmdb.schema import revisions

OLD = "8f1c2a6d4b10"


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> killing.Stable:
    made = killing.Stable({p: hash_once(p) for p in ("Password123!", "AdminPassword123!")})
    # The first child waits for the imports; a duration measured with it would be far too long.
    made.duration("reset", f"sqlite:///{tmp_path_factory.mktemp('warm') / 'warm.db'}", {"backup": False})
    return made


def old_revision(url: str) -> None:
    pharmdb.migrate(url, revision=OLD)
    with raw.session(url) as session:
        raw.fill(session)


def constrained_revision(url: str) -> None:
    pharmdb.migrate(url, revision="5a3d81e7f92c")
    with raw.session(url) as session:
        raw.fill(session)


def previous_revision(url: str) -> None:
    pharmdb.migrate(url, revision="2d7e9b05c3f4")
    with raw.session(url) as session:
        raw.fill(session)


def full(url: str) -> None:
    """The seed, rows in every table, and enough of them that no step is over in a moment."""
    pharmdb.reset(url, backup=False)
    with raw.session(url) as session:
        raw.fill(session)
        with raw.transaction(session):
            for n in range(500):
                session.execute(raw.insert("bookmarks", user_id=raw.ANN, entity_id=f"'many {n}'"))


def full_with_a_backup(url: str) -> None:
    full(url)
    pharmdb.backup(url)
    run(url, "DELETE FROM attempts", raw.insert("users", email="'later@example.test'"))


def migrated(url: str) -> None:
    pharmdb.migrate(url)


def marked(url: str) -> Any:
    """Revision and content, without what differs from run to run: times and hashes of the seed."""
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return revisions.current_revision(connection), pharmdb.fingerprint(connection, seed=True)


@dataclass(frozen=True)
class Case:
    verb: str
    make: Callable[[str], None]
    state: Callable[[str], Any]
    options: dict[str, Any] = field(default_factory=dict)
    # Whether the new state is another than the old one, and whether the same again is no error.
    changes: bool = True
    repeats: bool = True


CASES = {
    "reset": Case("reset", full, marked),
    "seed": Case("seed", migrated, marked),
    "migrate up": Case("migrate", old_revision, everything),
    "migrate up from the constraints": Case("migrate", constrained_revision, everything),
    "migrate up from the guide's indexes": Case("migrate", previous_revision, everything),
    "migrate down": Case("migrate", full, everything, {"revision": "base"}),
    "restore": Case("restore", full_with_a_backup, everything),
    "backup": Case("backup", full, everything, changes=False),
    "account": Case(
        "manage_account", full, everything, {"user_email": "ann@example.test", "action": "delete"}, repeats=False
    ),
}


class Scene:
    """A database in its old state with its backups, put up again before each kill."""

    def __init__(self, case: Case, dialect: str, server: Callable[[], Server], folder: Path) -> None:
        self.case, self.dialect, self.server, self.folder = case, dialect, server, folder
        self.name = f"kill_{case.verb}_{len(case.options)}_{folder.name}".replace("-", "_").lower()
        self.url = f"sqlite:///{folder / 'work.db'}" if dialect == "sqlite" else server().uri(self.name)
        if dialect == "postgresql":
            self._sql("CREATE DATABASE {}")
        case.make(self.url)
        self.options = dict(case.options)
        if case.verb == "restore":
            # Named, because a restore that was killed has left a newer one: of what it was about to replace.
            self.options["backup"] = manifests.of(pharmdb.target(self.url))[0].id
        if case.verb == "manage_account":
            self.options["confirm"] = "work.db" if dialect == "sqlite" else self.name
        self.backups, self.kept = manifests.folder(), folder / "kept"
        self.kept.mkdir()
        if self.backups.exists():
            shutil.copytree(self.backups, self.kept, dirs_exist_ok=True)
        if dialect == "sqlite":
            run(self.url, "PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copyfile(folder / "work.db", folder / "template.db")
        else:
            self._sql("ALTER DATABASE {} RENAME TO {}", f"{self.name}_template")

    def _sql(self, statement: str, *names: str) -> None:
        with psycopg.connect(dsn(self.server().uri()), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, (self.name, *names))))

    def put_up(self) -> None:
        self.wait()
        shutil.rmtree(self.backups, ignore_errors=True)
        shutil.copytree(self.kept, self.backups)
        self.backups.chmod(0o700)
        if self.dialect == "sqlite":
            for end in ("", "-wal", "-shm", "-journal"):
                (self.folder / f"work.db{end}").unlink(missing_ok=True)
            shutil.copyfile(self.folder / "template.db", self.folder / "work.db")
        else:
            self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            self._sql("CREATE DATABASE {} TEMPLATE {}", f"{self.name}_template")

    def wait(self) -> None:
        """Until the server has noticed that the killed client is gone."""
        if self.dialect == "sqlite" or self._exists():
            killing.wait(self.url)

    def _exists(self) -> bool:
        with psycopg.connect(dsn(self.server().uri()), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self.name,)).fetchone()
        return found is not None

    def clear(self) -> None:
        if self.dialect == "postgresql":
            self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)".replace("{}", f'"{self.name}_template"'))


def assert_sound(url: str, message: str) -> None:
    with raw.session(url) as session:
        left = [name for name in raw.tables(session) if name.startswith("_")]
    assert left == [], message
    if url.startswith("sqlite"):
        with raw.session(url) as session:
            assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)], message
            assert session.execute("PRAGMA foreign_key_check").fetchall() == [], message
    for entry in manifests.known():
        restoring.verify(entry)


@pytest.fixture
def scene(request: pytest.FixtureRequest, dialect: str, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(CASES[request.param], dialect, lambda: request.getfixturevalue("server"), tmp_path)
    yield made
    made.clear()


@pytest.mark.parametrize("scene", CASES, indirect=True)
def test_a_kill_leaves_the_old_state_or_the_new_one_and_the_next_run_succeeds(
    scene: Scene, stable: killing.Stable, request: pytest.FixtureRequest
) -> None:
    case, url, options = scene.case, scene.url, scene.options
    message = killing.said(request.node.name)
    numbers = killing.dice(request.node.name)
    verb = getattr(pharmdb, case.verb)
    scene.put_up()
    old = case.state(url)
    duration = stable.duration(case.verb, url, options)
    new = case.state(url)
    assert (new != old) == case.changes
    inside: list[float] = []
    seen = []
    for instant in killing.instants(numbers, duration, inside):
        scene.put_up()
        if stable.kill(case.verb, url, options, instant):
            inside.append(instant)
        scene.wait()
        where = f"killed after {instant:.4f} of {duration:.4f} s; {message}"
        found = case.state(url)
        assert found in (old, new), where
        seen.append(found == new)
        assert_sound(url, where)
        if case.repeats or found == old:
            verb(url, **options)
        assert case.state(url) == new, where
        assert_sound(url, where)
        listed = {name for entry in manifests.known() for name in (entry.name, f"{entry.name}.json")}
        assert set(os.listdir(scene.backups)) == listed, where
    assert inside, f"no kill fell inside the work of {duration:.4f} s; {message}"
    print(f"{len(inside)} of {len(seen)} kills inside {duration:.3f} s, {sum(seen)} saw the new state; {message}")


# -- the server's processes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def start_again(server: Server) -> None:
    """Its backends die after it; until the last is gone a new server refuses the data folder."""
    pidfile = server.data / "postmaster.pid"
    deadline = time.monotonic() + killing.PATIENCE
    while True:
        try:
            server.start()
            return
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline, pidfile.read_text()


def test_a_kill_of_the_postmaster_in_a_reset(own_server: Server, stable: killing.Stable) -> None:
    message = killing.said("postmaster")
    numbers = killing.dice("postmaster")
    url = own_server.uri()
    full(url)
    old = marked(url)
    duration = stable.duration("reset", url, {})
    new = marked(url)
    assert old != new
    inside = 0
    for _ in range(max(2, killing.ROUNDS // 5) + 10):
        if inside >= max(1, killing.ROUNDS // 5):
            break
        full(url)
        child, pipe = stable.start("reset", url, {})
        done = pipe.poll(numbers.uniform(0, duration))
        own_server.kill()
        assert pipe.poll(killing.PATIENCE)
        word = pipe.recv()
        child.join(killing.PATIENCE)
        # A typed error; or the work was over before the server was gone.
        known = ("LostConnectionError", "ServerDownError", "BackupError")
        assert word == "done" or word.startswith(known), f"{word}; {message}"
        inside += not done and word != "done"
        start_again(own_server)
        assert marked(url) in (old, new), message
        assert_sound(url, message)
        pharmdb.reset(url)
        assert marked(url) == new, message
    assert inside, message
