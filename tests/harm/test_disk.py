"""The disk fills up: the old state stays, the error is clear, and no half backup is left behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from support import raw
from support.backups import backed_up
from support.databases import Databases
from support.large_seeds import large

import pharmdb
from pharmdb.backups import manifests, restoring
from pharmdb.database import bulk
from pharmdb.errors import BackupError, NoRoomError, NoRoomForBackupError, PharmdbError


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip() if mounted else 'no mount'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Takes all room of a disk but some bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        file.write(b"x" * (free - leave))
        assert os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize <= leave + 4096
    return ballast


def fails(verb: Callable[[], Any], url: str, kind: type[PharmdbError] | tuple[type[PharmdbError], ...]) -> PharmdbError:
    before = raw.everything(url)
    with pytest.raises(kind) as error:
        verb()
    assert all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )
    assert "full" in error.value.found.lower() or "no space" in error.value.found.lower(), error.value.found
    assert raw.everything(url) == before
    if url.startswith("sqlite"):
        with raw.session(url) as session:
            assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return error.value


def wide(url: str, rows: int = 500) -> None:
    with raw.session(url) as session:
        raw.fill(session)
        with raw.transaction(session):
            for n in range(rows):
                session.execute(raw.insert("attempts", user_id=raw.ANN, entity_id=f"'{n} {'wide ' * 20}'"))


def test_a_full_disk_below_the_database(databases: Databases, disk: Path) -> None:
    made = databases.seeded("sqlite")
    url = f"sqlite:///{disk / 'small.db'}"
    shutil.copyfile(raw.path(made), raw.path(url))
    with raw.session(url) as session:
        raw.fill(session)
        session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ballast = fill(disk, leave=40_000)
    error = fails(lambda: pharmdb.reset(url), url, NoRoomError)
    assert str(disk) in error.note
    ballast.unlink()
    # What it says heals it.
    pharmdb.reset(url)


def test_a_full_disk_below_the_backups(seeded: str, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_BACKUPS", str(disk / "backups"))
    good = backed_up(seeded)
    files = sorted(os.listdir(manifests.folder()))
    wide(seeded)
    for leave in (0, 8192):
        ballast = fill(disk, leave=leave)
        for verb, optional in (
            (lambda: pharmdb.backup(seeded), False),
            (lambda: pharmdb.reset(seeded), True),
            (lambda: pharmdb.restore(seeded), True),
            (lambda: pharmdb.migrate(seeded, revision="base"), True),
        ):
            error = fails(verb, seeded, NoRoomForBackupError)
            assert (manifests.NO_BACKUP in error.note) is optional
            assert sorted(os.listdir(manifests.folder())) == files
        ballast.unlink()
    assert manifests.known() == [good]
    restoring.verify(good)
    assert pharmdb.restore(seeded, backup=good.id).backup == good


def test_the_device_that_is_always_full(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a full disk, where none can be mounted: every write of the backup's last part fails."""
    wide(seeded, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    for verb in (pharmdb.backup, pharmdb.reset):
        fails(partial(verb, seeded), seeded, BackupError)
        assert os.listdir(manifests.folder()) == []


@pytest.fixture
def page_limit() -> Iterator[list[int]]:
    """Connections of SQLAlchemy get at most so many pages; none with an empty list."""
    limit: list[int] = []
    hit: list[int] = []

    def connect(connection: Any, record: Any) -> None:
        if limit and isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {limit[0]}")
            hit.append(1)

    event.listen(Engine, "connect", connect)
    yield limit
    event.remove(Engine, "connect", connect)
    assert hit


@pytest.mark.parametrize("verb", ["seed", "reset", "migrate"])
def test_a_database_that_may_not_grow(databases: Databases, page_limit: list[int], verb: str) -> None:
    url = databases.migrated("sqlite") if verb == "seed" else databases.empty("sqlite")
    if verb != "seed":
        with raw.session(url) as session:
            session.execute("PRAGMA journal_mode = WAL")
    with raw.session(url) as session:
        pages = session.execute("PRAGMA page_count").fetchone()[0]
    if verb == "seed":
        fill_pages(url, pages)
    page_limit.append(pages if verb == "seed" else 20)
    error = fails(lambda: getattr(pharmdb, verb)(url), url, NoRoomError)
    assert "database or disk is full" in error.found
    page_limit[0] = 10**6
    getattr(pharmdb, verb)(url)


def fill_pages(url: str, pages: int) -> None:
    """Adds users until the next one would need a page more than the file has."""
    with raw.session(url) as session:
        session.execute(f"PRAGMA max_page_count = {pages}")
        for n in range(10_000):
            email = f"'more{n}{'x' * 60}@example.test'"
            try:
                session.execute(raw.insert("users", email=email, password_hash=f"'{'x' * 100}'"))
            except sqlite3.OperationalError:
                return
    raise AssertionError("the limit was never reached")


def test_a_database_that_may_not_grow_under_a_large_seed(
    databases: Databases, page_limit: list[int], tmp_path: Path
) -> None:
    url, seed_dir = databases.migrated("sqlite"), large(tmp_path, 5000)
    with raw.session(url) as session:
        pages = session.execute("PRAGMA page_count").fetchone()[0]
    page_limit.append(pages + 50)
    error = fails(lambda: pharmdb.seed(url, seed_dir=seed_dir), url, NoRoomError)
    assert str(raw.path(url).parent) in error.note
    page_limit[0] = 10**6
    pharmdb.seed(url, seed_dir=seed_dir)


def test_a_full_folder_for_temporary_files(migrated: str, disk: Path, tmp_path: Path) -> None:
    """SQLite looks for this folder when it is loaded; so it is another process that does."""
    seed_dir = large(tmp_path / "seed", 60_000)
    before = raw.everything(migrated)
    code = "import sys, pharmdb; pharmdb.seed(sys.argv[1], seed_dir=sys.argv[2])"
    command = [sys.executable, "-c", code, migrated, seed_dir]
    environment = os.environ | {"SQLITE_TMPDIR": str(disk)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "NoRoomError" in done.stderr, done.stderr
    assert f"{disk}: database or disk is full" in done.stderr
    assert raw.everything(migrated) == before


def test_no_room_for_the_rows_between_file_and_table(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(bulk, "insert", full)
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    url, seed_dir = databases.migrated("sqlite"), large(tmp_path / "seed", 2000)
    error = fails(lambda: pharmdb.seed(url, seed_dir=seed_dir), url, NoRoomError)
    assert str(tmp_path) in error.note
