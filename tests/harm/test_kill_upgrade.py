"""kill -9 at random instants of an upgrade: the target as before or complete, the source untouched."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support import killing, legacy, raw
from support.databases import Databases, dsn, name_of
from support.hashing import hash_once
from support.legacy import row

import pharmdb
from pharmdb.backups import manifests, restoring
from pharmdb.schema import revisions

ATTEMPTS = 20_000 if killing.THOROUGH else 3_000


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> killing.Stable:
    made = killing.Stable({p: hash_once(p) for p in ("Password123!", "AdminPassword123!")})
    folder = tmp_path_factory.mktemp("warm")
    source = legacy.make(f"sqlite:///{folder / 'dev.db'}", 4, legacy.clean("sqlite"))
    # The first child waits for the imports; a duration measured with it would be far too long.
    made.duration("upgrade", source, {"database_url": f"sqlite:///{folder / 'warm.db'}"})
    return made


@dataclass(frozen=True)
class Case:
    source: str
    target: str
    # "nothing", "known-good" or "work": what the target holds before.
    before: str


CASES = [
    Case("sqlite", "sqlite", "nothing"),
    Case("sqlite", "postgresql", "known-good"),
    Case("postgresql", "sqlite", "work"),
    Case("postgresql", "postgresql", "work"),
]


class Scene:
    """A source, and a target that is put up again before each kill."""

    def __init__(self, case: Case, databases: Databases, server: Callable[[], Any], folder: Path) -> None:
        self.case, self.folder, self.server = case, folder, server
        rows = legacy.dirty(case.source)
        rows += [row("attempts", 100_000 + n, answers=legacy.twice(f'{{"n": {n}}}')) for n in range(ATTEMPTS)]
        self.source = databases.empty(case.source)
        if case.source == "sqlite":
            (folder / "old").mkdir()
            self.source = f"sqlite:///{folder / 'old' / 'dev.db'}"
        legacy.make(self.source, 3, rows)
        template = databases.empty(case.target) if case.before == "nothing" else databases.seeded(case.target)
        if case.before == "work":
            with raw.session(template) as session:
                raw.fill(session)
        self.template = template
        self.name = f"killed_{case.source}_{case.before}".replace("-", "_")
        self.url = f"sqlite:///{folder / 'new.db'}" if case.target == "sqlite" else server().uri(self.name)
        confirm: dict[str, Any] = {"confirm": pharmdb.target(self.url).name} if case.before == "work" else {}
        self.options: dict[str, Any] = {"database_url": self.url, **confirm}
        self.untouched = self.source_state()

    def source_state(self) -> Any:
        if self.case.source == "sqlite":
            return {p.name: hashlib.sha256(p.read_bytes()).digest() for p in (self.folder / "old").iterdir()}
        with psycopg.connect(dsn(self.source)) as connection:
            names = [f'"{name}"' for name in (*legacy.OLD.values(), "_prisma_migrations")]
            return {n: sorted(connection.execute(f"SELECT t::text FROM {n} t").fetchall()) for n in names}

    def _sql(self, statement: str, *names: str) -> None:
        with psycopg.connect(dsn(self.server().uri()), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def put_up(self) -> None:
        shutil.rmtree(manifests.folder(), ignore_errors=True)
        if self.case.target == "sqlite":
            for end in ("", "-wal", "-shm", "-journal"):
                (self.folder / f"new.db{end}").unlink(missing_ok=True)
            if raw.path(self.template).exists():
                shutil.copyfile(raw.path(self.template), self.folder / "new.db")
            return
        self._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)
        self._sql("CREATE DATABASE {} TEMPLATE {}", self.name, name_of(self.template))

    def state(self) -> Any:
        """All that the target holds, without what differs from run to run: times and hashes of the seed."""
        if self.case.target == "sqlite" and not raw.path(self.url).exists():
            return None
        with raw.session(self.url) as session:
            names = raw.tables(session)
            if not names:
                return None
            rejects = []
            if "upgrade_rejects" in names:
                found = session.execute("SELECT source_table, source_id, reason FROM upgrade_rejects").fetchall()
                rejects = sorted(found)
            rows = [session.execute(f"SELECT id, {owner} FROM {table} ORDER BY 1").fetchall() for table, owner in OWNED]
            schema = raw.schema(session)
        with pharmdb.reading(pharmdb.target(self.url)) as connection:
            mark = pharmdb.fingerprint(connection, seed=True)
            return names, revisions.current_revision(connection), mark, rejects, rows, schema

    def assert_sound(self, message: str) -> None:
        with raw.session(self.url) as session:
            assert [name for name in raw.tables(session) if name.startswith("_")] == [], message
            if self.case.target == "sqlite":
                assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)], message
                assert session.execute("PRAGMA foreign_key_check").fetchall() == [], message
        for entry in manifests.known():
            restoring.verify(entry)
        listed = {name for entry in manifests.known() for name in (entry.name, f"{entry.name}.json")}
        assert set(os.listdir(manifests.folder())) == listed, message


OWNED = (("users", "email"), ("attempts", "user_id"), ("bookmarks", "user_id"), ("dataset_overrides", "name"))


@pytest.fixture
def scene(request: pytest.FixtureRequest, databases: Databases, tmp_path: Path) -> Iterator[Scene]:
    made = Scene(request.param, databases, lambda: request.getfixturevalue("server"), tmp_path)
    yield made
    if made.case.target == "postgresql":
        made._sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", made.name)


@pytest.mark.parametrize("scene", CASES, ids=lambda c: f"{c.source} to {c.target} with {c.before}", indirect=True)
def test_a_kill_leaves_the_target_as_before_or_complete_and_the_next_run_completes(
    scene: Scene, stable: killing.Stable, request: pytest.FixtureRequest
) -> None:
    message = killing.said(request.node.name)
    numbers = killing.dice(request.node.name)
    scene.put_up()
    old = scene.state()
    duration = stable.duration("upgrade", scene.source, scene.options)
    new = scene.state()
    assert new != old
    assert len(new[3]) > 30
    inside: list[float] = []
    seen = []
    for instant in killing.instants(numbers, duration, inside):
        scene.put_up()
        if stable.kill("upgrade", scene.source, scene.options, instant):
            inside.append(instant)
        killing.wait(scene.url)
        where = f"killed after {instant:.4f} of {duration:.4f} s; {message}"
        found = scene.state()
        assert found in (old, new), where
        assert scene.source_state() == scene.untouched, where
        seen.append(found == new)
        report = pharmdb.upgrade(scene.source, **scene.options)
        assert report.nothing_left == (found == new), where
        assert scene.state() == new, where
        assert scene.source_state() == scene.untouched, where
        scene.assert_sound(where)
    assert inside, f"no kill fell inside the work of {duration:.4f} s; {message}"
    print(f"{len(inside)} of {len(seen)} kills inside {duration:.3f} s, {sum(seen)} saw the new state; {message}")


# An attempt is not inserted before somebody gives this lock back.
_HELD = 4711
_WAIT = f"""
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_advisory_xact_lock_shared({_HELD}); RETURN NEW; END';
CREATE TRIGGER wait BEFORE INSERT ON attempts FOR EACH ROW WHEN (NEW.id = 100500) EXECUTE FUNCTION wait()
"""
_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
_LOCKED = """
SELECT count(*) FROM pg_locks WHERE relation = 'attempts'::regclass AND mode = 'AccessExclusiveLock' AND granted
"""


@pytest.mark.parametrize("scene", CASES[1:2], ids=["sqlite to postgresql"], indirect=True)
def test_a_kill_after_the_keys_were_dropped_leaves_them(scene: Scene, stable: killing.Stable) -> None:
    scene.put_up()
    raw.run(scene.url, _WAIT)
    old, tick = scene.state(), threading.Event()
    with raw.session(scene.url) as session:
        session.execute(f"SELECT pg_advisory_lock({_HELD})")
        child, _ = stable.start("upgrade", scene.source, scene.options)
        while session.execute(_WAITING).fetchone() == (0,):
            assert child.is_alive()
            tick.wait(0.01)
        assert session.execute(_LOCKED).fetchone() == (1,)
        os.kill(child.pid, signal.SIGKILL)
        child.join(killing.PATIENCE)
    killing.wait(scene.url)
    assert scene.state() == old
    scene.assert_sound("killed in the midst of the load")
    pharmdb.upgrade(scene.source, **scene.options)
    new = scene.state()
    assert new[4] != old[4]
    # Nothing of the schema is missing; the upgrade has made tables of its own.
    assert set(old[-1]) < set(new[-1])
