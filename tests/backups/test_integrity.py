"""A file is checked in parts, side by side: they find together what SQLite's whole check finds."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import raw
from support.backups import backed_up
from support.contents import everything
from support.databases import Databases

import pharmdb
from pharmdb.backups import manifests, sqlite_copies, sqlite_integrity
from pharmdb.backups.sqlite_integrity import SideBySide, check_sqlite
from pharmdb.errors import UnsoundSourceError

PAGE = 512
# Tables whose indexes are checked in parts, and every kind that is left to SQLite's own check.
SCHEMA = f"""
PRAGMA page_size = {PAGE};
CREATE TABLE plain (id INTEGER PRIMARY KEY, word TEXT COLLATE NOCASE, number INTEGER, _rowid_ TEXT NOT NULL);
CREATE INDEX plain_number ON plain (number DESC, word);
CREATE INDEX "plain ""word" ON plain (word COLLATE BINARY);
CREATE TABLE bare (word TEXT);
CREATE INDEX bare_word ON bare (word COLLATE RTRIM);
CREATE TABLE one (word TEXT UNIQUE, number INTEGER);
CREATE INDEX one_number ON one (number);
CREATE TABLE keyed (word TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE INDEX keyed_number ON keyed (number);
CREATE TABLE computed (number INTEGER, twice INTEGER AS (2 * number));
CREATE INDEX computed_twice ON computed (twice);
CREATE TABLE partly (number INTEGER, word TEXT);
CREATE INDEX partly_number ON partly (number) WHERE number > 100;
CREATE INDEX partly_lower ON partly (lower(word));
CREATE VIRTUAL TABLE found USING fts5 (word);
CREATE TABLE gone (word TEXT);
WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 300)
INSERT INTO plain SELECT n, nullif(substr('aAbB  ', n % 6, 1 + n % 2), ''), nullif(n % 7, 0), 'row ' || n FROM n;
INSERT INTO bare SELECT word FROM plain;
INSERT INTO one SELECT 'word ' || id, number FROM plain;
INSERT INTO keyed SELECT * FROM one;
INSERT INTO computed SELECT number FROM plain;
INSERT INTO partly SELECT id, word FROM plain;
INSERT INTO found SELECT 'aspirin ' || id FROM plain WHERE id < 50;
INSERT INTO gone SELECT zeroblob(900) FROM plain WHERE id < 20;
DROP TABLE gone;
"""
IN_PARTS = {"plain_number", 'plain "word', "bare_word"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "sound.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    return path.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def _in_parts() -> Iterator[None]:
    """Small files are checked like large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_integrity, "SMALL", 0)
        patch.setattr(sqlite_integrity, "MANY", 4)
        yield


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "checked.db"
    path.write_bytes(content)
    return path


def whole_check(path: Path) -> list[str]:
    """What SQLite says itself."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.text_factory = bytes
            lines = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # The second, if the message quotes damaged text.
        return [str(error)]
    return [line.decode(errors="replace") for line in lines if line != b"ok" and not line.startswith(b"NULL value in ")]


def test_a_sound_file_is_sound_in_all_parts(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound)
    with SideBySide() as side:
        pragmas, indexes = sqlite_integrity._plan(side, path)
    assert {index.name for index in indexes} == IN_PARTS
    assert {pragma.table for pragma in pragmas} >= {"", "one", "keyed", "computed", "partly", "found"}
    assert check_sqlite(path) == whole_check(path) == []


def test_a_schema_whose_text_is_damaged_is_damage(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound.replace(b"INDEX bare_word ON bare ", b"INDEX bare_word ON b\xebre "))
    assert "not UTF-8" in check_sqlite(path)[0]


@given(data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_parts_find_what_the_whole_check_finds(tmp_path: Path, sound: bytes, data: st.DataObject) -> None:
    content = bytearray(sound)
    pages = len(content) // PAGE
    page = data.draw(st.integers(1, pages - 1), "page")
    match data.draw(st.sampled_from(("flip", "zeros", "another page", "cut")), "harm"):
        case "flip":
            for place in data.draw(st.lists(st.integers(0, PAGE - 1), min_size=1, max_size=4), "bytes"):
                content[page * PAGE + place] ^= data.draw(st.integers(1, 255), "bits")
        case "zeros":
            content[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
        case "another page":
            other = data.draw(st.integers(1, pages - 1), "another")
            content[page * PAGE : (page + 1) * PAGE] = content[other * PAGE : (other + 1) * PAGE]
        case "cut":
            del content[page * PAGE :]
    path = written(tmp_path, bytes(content))
    expected = whole_check(path)
    found = check_sqlite(path)
    assert bool(found) >= bool(expected), expected


def hide(connection: sqlite3.Connection, index: str, work: str) -> None:
    """Does the work while SQLite believes that the index holds no rows."""
    connection.execute("PRAGMA writable_schema = ON")
    for change in ("sql || ' WHERE 0'", "replace(sql, ' WHERE 0', '')"):
        connection.execute(f"UPDATE sqlite_schema SET sql = {change} WHERE name = ?", (index,))
        connection.commit()
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        connection.execute(f"PRAGMA schema_version = {version + 1}")
        if "replace" not in change:
            connection.executescript(work)


@pytest.mark.parametrize("index", sorted(IN_PARTS))
@pytest.mark.parametrize(
    ("work", "found"),
    [
        ("INSERT INTO plain VALUES (301, 'new', 8, 'new'); INSERT INTO bare VALUES ('new')", "row 301 missing from"),
        ("DELETE FROM plain WHERE id = 7; DELETE FROM bare WHERE rowid = 7", "wrong # of entries in"),
        (
            "UPDATE plain SET word = 'z', number = 99 WHERE id = 300; UPDATE bare SET word = 'z' WHERE rowid = 300",
            "row 300",
        ),
    ],
)
def test_an_index_that_lacks_a_row_or_has_one_too_many(
    tmp_path: Path, sound: bytes, index: str, work: str, found: str
) -> None:
    path = written(tmp_path, sound)
    with closing(sqlite3.connect(path)) as connection:
        hide(connection, index, work)
    assert whole_check(path)
    lines = check_sqlite(path)
    assert any(found in line for line in lines)
    assert all(line.endswith(f"index {index}") for line in lines)


def page_of(path: Path, name: str) -> int:
    """The number of a page that belongs to this table or index alone, and that holds rows or entries."""
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (name,)).fetchall()
    return int(pages[-1][0])


@pytest.fixture(params=[True, False], ids=["in parts", "whole"])
def _each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(sqlite_integrity, "SMALL", 2**40)


def flip(path: Path, name: str, place: int) -> None:
    """Flips a bit in a page of this table or index, so far from its end."""
    page = page_of(path, name) - 1
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(page + 1) * size - place] ^= 4
    path.write_bytes(content)


def filled(databases: Databases) -> str:
    url = databases.seeded("sqlite")
    with raw.session(url) as session:
        raw.fill(session)
        session.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return url


@pytest.mark.usefixtures("_each_way")
@pytest.mark.parametrize(
    ("name", "place"), [("attempts", 40), ("ix_attempts_user_id_created_at", 12), ("ix_bookmarks_user_id", 2)]
)
def test_a_bit_of_the_copy_that_flipped(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    url = filled(databases)
    copy = sqlite_copies.copy_sqlite

    def flipping(snapshot: sqlite3.Connection, path: Path) -> None:
        copy(snapshot, path)
        flip(path, name, place)

    monkeypatch.setattr(sqlite_copies, "copy_sqlite", flipping)
    before = everything(url)
    verbs: tuple[Callable[[str], object], ...] = (pharmdb.backup, pharmdb.reset)
    for verb in verbs:
        with pytest.raises(UnsoundSourceError):
            verb(url)
    assert everything(url) == before
    assert not list(manifests.folder().iterdir())


@pytest.mark.usefixtures("_each_way")
def test_a_bit_of_an_index_that_flipped_in_the_database(databases: Databases) -> None:
    url = filled(databases)
    before, taken = everything(url), backed_up(url)
    flip(raw.path(url), "ix_attempts_user_id_created_at", 12)
    damaged = raw.path(url).read_bytes()
    for verb in (pharmdb.backup, pharmdb.reset):
        with pytest.raises(UnsoundSourceError, match="ix_attempts_user_id_created_at"):
            verb(url)
    assert manifests.known() == [taken]
    report = pharmdb.restore(url)
    assert Path(report.set_aside).read_bytes() == damaged
    assert everything(url) == before


def test_a_restore_checks_what_it_replaces_once(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backup is checked, and the one that it restores was when it was taken."""
    url = filled(databases)
    taken = backed_up(url)
    checked: list[Path] = []
    begin = sqlite_integrity.begin_checks

    def counted(side: SideBySide, path: Path) -> None:
        checked.append(path)
        begin(side, path)

    monkeypatch.setattr(sqlite_integrity, "begin_checks", counted)
    assert pharmdb.restore(url).backup == taken
    assert [path.suffix for path in checked] == [".partial"]
    # Without a backup, the database itself.
    pharmdb.restore(url, no_backup=True)
    assert checked[1:] == [raw.path(url)]


def test_an_interrupt_ends_all_checks_at_once(tmp_path: Path, sound: bytes) -> None:
    path = written(tmp_path, sound)
    workers, running = sqlite_integrity.WORKERS, list[bool]()
    all_run = threading.Event()

    def forever(side: SideBySide) -> list[str]:
        with side.opened(path) as connection:
            running.append(True)
            if len(running) == workers:
                all_run.set()
            connection.execute("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT sum(n) FROM n")
        return []

    def interrupted() -> None:
        with SideBySide() as side:
            for _ in range(2 * workers):
                side.check(partial(forever, side))
            assert all_run.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(running) == workers
