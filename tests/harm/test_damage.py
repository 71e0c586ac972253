"""Files that are no database, or a damaged or another one: typed errors, no new files, nothing lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import killing, raw
from support.databases import Databases

import pharmdb
from pharmdb.backups import manifests
from pharmdb.errors import CheckFailedError, PharmdbError, ProtectedError, UnavailableError

READING = ("inspect", "check", "backup")
VERBS = (*READING, "seed", "migrate", "reset", "restore")


@pytest.fixture
def sound(databases: Databases, tmp_path: Path) -> bytes:
    """The bytes of a good database that no -wal belongs to."""
    url = databases.seeded("sqlite")
    with raw.session(url) as session:
        raw.fill(session)
        session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        session.execute("PRAGMA journal_mode = DELETE")
    return raw.path(url).read_bytes()


def files(folder: Path) -> dict[str, bytes]:
    """What lies there. SQLite's own -wal and -shm beside a file that is opened for reading say nothing."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(("-wal", "-shm", "-journal")):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def call(verb: str, url: str) -> PharmdbError | None:
    """The typed error of a verb, or None where it succeeded; anything else is raised."""
    try:
        report = getattr(pharmdb, verb)(url)
    except PharmdbError as error:
        return complete(error)
    if verb == "check":
        # The doctor's report is its result; reading it must not fail either.
        assert len(report.checks) > 0
        try:
            _ = report.outcome
        except CheckFailedError as error:
            return complete(error)
    return None


def complete(error: PharmdbError) -> PharmdbError:
    assert all((error.expected, error.found, error.unchanged, error.command or error.note))
    return error


def put(path: Path, content: bytes) -> None:
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{path}{end}").unlink(missing_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("verb", [*READING, "seed", "migrate", "reset"])
@pytest.mark.parametrize("what", ["text", "a header and noise", "noise", "another header"])
def test_garbage_is_told_and_untouched(tmp_path: Path, what: str, verb: str) -> None:
    numbers = killing.dice("garbage", what)
    content = {
        "text": b"email,password\n" * 99,
        "a header and noise": b"SQLite format 3\0" + numbers.randbytes(9000),
        "noise": numbers.randbytes(9000),
        "another header": b"\x7fELF" + bytes(9000),
    }[what]
    path = tmp_path / "garbage.db"
    put(path, content)
    error = call(verb, f"sqlite:///{path}")
    assert error is not None, killing.said("garbage", what)
    assert files(tmp_path) == {"garbage.db": content}
    assert not manifests.known()


def attempt(verb: str, path: Path, content: bytes, message: str) -> None:
    """The verb fails with a typed error and changes nothing, or succeeds and leaves a sound database."""
    folder = path.parent
    put(path, content)
    url = f"sqlite:///{path}"
    error = call(verb, url)
    found = files(folder)
    if verb in READING:
        assert found == {path.name: content}, message
    elif error is not None:
        # A change of the journal's mode is not one of the content: the pages from the second on are the same.
        assert found.keys() == {path.name}, message
        assert found[path.name][100:] == content[100:], message
    elif verb == "reset":
        with raw.session(url) as session:
            assert session.execute("PRAGMA integrity_check").fetchall() == [("ok",)], message
    elif verb == "restore":
        assert call("inspect", url) is None, message
        # A file that could be read no more is set aside, whole.
        aside = [c for name, c in found.items() if ".damaged-" in name]
        assert all(c == content for c in aside), message
    for name in found:
        if ".damaged-" in name:
            (folder / name).unlink()


@pytest.fixture
def with_a_backup(tmp_path: Path, sound: bytes) -> Path:
    """A path below which only the database lies, and a backup of it."""
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "work.db"
    put(path, sound)
    pharmdb.backup(f"sqlite:///{path}")
    return path


@pytest.mark.parametrize("verb", VERBS)
def test_a_truncated_file(with_a_backup: Path, sound: bytes, verb: str) -> None:
    numbers = killing.dice("truncated", verb)
    lengths = [1, 16, 99, 100, 4095, 4096, len(sound) // 2, len(sound) - 1]
    lengths = lengths[: 3 + killing.ROUNDS] + [numbers.randrange(1, len(sound)) for _ in range(killing.ROUNDS)]
    for length in lengths:
        attempt(verb, with_a_backup, sound[:length], f"{length} bytes; {killing.said('truncated', verb)}")


@pytest.mark.parametrize("verb", VERBS)
def test_flipped_bits(with_a_backup: Path, sound: bytes, verb: str) -> None:
    numbers = killing.dice("flipped", verb)
    for _ in range(2 + killing.ROUNDS):
        content = bytearray(sound)
        places = [numbers.randrange(len(content)) for _ in range(numbers.choice((1, 5, 50)))]
        for place in places:
            content[place] ^= 1 << numbers.randrange(8)
        attempt(verb, with_a_backup, bytes(content), f"bytes {places}; {killing.said('flipped', verb)}")


@pytest.mark.parametrize("verb", VERBS)
def test_a_zero_byte_file(with_a_backup: Path, verb: str) -> None:
    put(with_a_backup, b"")
    url = f"sqlite:///{with_a_backup}"
    error = call(verb, url)
    if verb in READING:
        assert error is not None
        assert files(with_a_backup.parent) == {"work.db": b""}
    else:
        # An empty file is an empty database: made whole by all but the seed, which wants a schema.
        assert (error is None) == (verb != "seed")
    if verb in ("reset", "restore"):
        assert call("inspect", url) is None


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_in_the_files_place(tmp_path: Path, verb: str) -> None:
    folder = tmp_path / "folder.db"
    folder.mkdir()
    (folder / "inside").write_text("kept")
    assert call(verb, f"sqlite:///{folder}") is not None
    assert files(tmp_path) == {"folder.db/inside": b"kept"}


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_folder(tmp_path: Path, verb: str) -> None:
    error = call(verb, f"sqlite:///{tmp_path / 'missing' / 'x.db'}")
    assert error is not None
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("verb", [*READING, "seed", "restore"])
def test_a_typo_in_the_path_makes_no_database(with_a_backup: Path, sound: bytes, verb: str) -> None:
    error = call(verb, f"sqlite:///{with_a_backup.with_name('wrok.db')}")
    assert error is not None
    assert os.listdir(with_a_backup.parent) == ["work.db"]
    assert with_a_backup.read_bytes() == sound


@pytest.fixture
def readonly(tmp_path: Path, sound: bytes) -> Iterator[Callable[[], Path]]:
    """Makes a file below a mount that nobody can write to, root neither; without mounts a folder without permission."""
    folder = tmp_path / "mount"
    folder.mkdir()
    mount = shutil.which("mount")
    undo: list[Any] = []

    def make() -> Path:
        path = folder / "readonly.db"
        if (
            mount
            and not subprocess.run(
                [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
            ).returncode
        ):
            undo.append(lambda: subprocess.run(["umount", "--lazy", str(folder)], check=True))
            put(path, sound)
            subprocess.run([mount, "-o", "remount,ro", str(folder)], check=True)
        elif os.geteuid():
            put(path, sound)
            path.chmod(0o400)
            folder.chmod(0o500)
            undo.append(lambda: folder.chmod(0o700))
        else:
            pytest.skip("root writes through every permission, and nothing can be mounted here")
        return path

    yield make
    for step in undo:
        step()


def test_a_read_only_file_can_be_read_and_everything_else_is_refused(
    readonly: Callable[[], Path], sound: bytes
) -> None:
    path = readonly()
    url = f"sqlite:///{path}"
    with pytest.raises(sqlite3.OperationalError, match="readonly"), raw.session(url) as session:
        session.execute("DELETE FROM attempts")
    assert call("inspect", url) is None
    assert call("backup", url) is None
    for verb in ("seed", "migrate", "reset", "restore"):
        error = call(verb, url)
        assert isinstance(error, UnavailableError), verb
        assert "read-only" in error.found or "no permission" in error.found, verb
    assert os.listdir(path.parent) == ["readonly.db"]
    assert path.read_bytes() == sound


def test_another_programs_file_is_never_dropped_without_confirm(tmp_path: Path) -> None:
    path = tmp_path / "cookies.sqlite"
    url = f"sqlite:///{path}"
    with raw.session(url) as session:
        session.execute("PRAGMA user_version = 9")
        session.execute("CREATE TABLE moz_cookies (id INTEGER PRIMARY KEY, name TEXT)")
        session.execute("INSERT INTO moz_cookies (name) VALUES ('a'), ('b')")
    content = path.read_bytes()
    for verb in ("inspect", "check", "seed", "migrate", "reset"):
        assert call(verb, url) is not None, verb
        assert files(tmp_path) == {"cookies.sqlite": content}, verb
    with pytest.raises(ProtectedError, match="moz_cookies"):
        pharmdb.reset(url)
    taken = pharmdb.reset(url, confirm="cookies.sqlite").backup
    assert taken is not None
    assert taken.tables == {"moz_cookies": 2}
    pharmdb.restore(url, backup=taken.id)
    with raw.session(url) as session:
        assert session.execute("SELECT name FROM moz_cookies").fetchall() == [("a",), ("b",)]
