"""Backups: what was there comes back, whole; what is not sound never counts; what is replaced is kept."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support import raw
from support.backups import backed_up
from support.contents import everything
from support.databases import Databases
from support.raw import ask, run

import pharmdb
from pharmdb.backups import manifests, postgresql_dumps, restoring, sqlite_copies, sqlite_integrity, taking
from pharmdb.database import targets
from pharmdb.errors import BackupError, LockedError, PharmdbError, ProtectedError, UnavailableError
from pharmdb.schema import drift, revisions

OLD = "8f1c2a6d4b10"


@pytest.fixture
def filled(seeded: str) -> str:
    """The URL of a database with the seed and rows in every table."""
    with raw.session(seeded) as session:
        raw.fill(session)
    return seeded


def fingerprint(url: str) -> str:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection)


def revision(url: str) -> str | None:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return revisions.current_revision(connection)


def files() -> list[str]:
    return sorted(path.name for path in manifests.folder().iterdir()) if manifests.folder().exists() else []


def assert_four_parts(error: PharmdbError) -> None:
    assert all((error.expected, error.found, error.unchanged, error.command or error.note))


# -- there and back ---------------------------------------------------------------------------------


def test_reset_then_restore_ends_in_the_state_from_before(filled: str) -> None:
    mark, before = fingerprint(filled), everything(filled)
    report = pharmdb.reset(filled)
    assert fingerprint(filled) != mark
    assert report.backup is not None
    assert report.way_back.startswith(f"pharmdb restore --backup {report.backup.id} --database-url ")
    restored = pharmdb.restore(filled, backup=report.backup.id)
    assert fingerprint(filled) == mark
    assert restored.backup == report.backup
    assert everything(filled) == before
    with pharmdb.reading(pharmdb.target(filled)) as connection:
        assert drift.differences(connection) == []
    assert restored.outcome["next"].item().startswith("pharmdb inspect")


def test_the_newest_comes_back_where_none_is_named_and_a_named_one_where_it_is(filled: str) -> None:
    one, first = fingerprint(filled), backed_up(filled)
    run(filled, "DELETE FROM bookmarks")
    two, second = fingerprint(filled), backed_up(filled)
    assert second.name > first.name
    run(filled, "DELETE FROM attempts")
    assert pharmdb.restore(filled).backup == second
    assert fingerprint(filled) == two
    for name in (first.id, first.name):
        assert pharmdb.restore(filled, backup=name).backup == first
        assert fingerprint(filled) == one != two


def test_restore_keeps_what_it_replaces_and_the_restore_of_that_gives_it_back(filled: str) -> None:
    mark, taken = fingerprint(filled), backed_up(filled)
    run(filled, "DELETE FROM attempts")
    before = everything(filled)
    report = pharmdb.restore(filled, backup=taken.id)
    assert report.before is not None
    assert report.replaced.set_index("table")["rows"]["attempts"] == 0
    assert report.restored.set_index("table")["rows"]["attempts"] > 0
    assert fingerprint(filled) == mark
    pharmdb.restore(filled, backup=report.before.id)
    assert everything(filled) == before


def test_a_restore_that_is_said_twice_does_the_same_twice(filled: str) -> None:
    mark, taken = fingerprint(filled), backed_up(filled)
    run(filled, "DELETE FROM attempts")
    for _ in range(2):
        assert pharmdb.restore(filled).backup.id == taken.id
        assert fingerprint(filled) == mark


def test_the_same_name_elsewhere_is_another_database(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    elsewhere = f"sqlite:///{tmp_path / raw.path(url).name}"
    assert len(pharmdb.list_backups(url)) == 1
    assert len(pharmdb.list_backups(elsewhere)) == 0


def test_restore_onto_a_missing_file(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    before = everything(url)
    pharmdb.backup(url)
    raw.path(url).unlink()
    assert pharmdb.restore(url).before is None
    assert everything(url) == before
    assert ask(url, "PRAGMA journal_mode") == [("wal",)]
    # Once more, onto what is there now.
    assert pharmdb.restore(url).before is not None
    assert everything(url) == before


def test_restore_onto_a_file_in_another_journal_mode(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    before = everything(url)
    pharmdb.backup(url)
    run(url, "PRAGMA journal_mode = DELETE", "DELETE FROM progress_by_tag")
    assert pharmdb.restore(url).before is not None
    assert everything(url) == before


def test_restore_onto_an_empty_database_that_is_there(filled: str) -> None:
    before = everything(filled)
    pharmdb.backup(filled)
    raw.empty(filled)
    assert pharmdb.restore(filled).before is None
    assert everything(filled) == before


def test_a_damaged_file_is_set_aside_whole(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    before = everything(url)
    pharmdb.backup(url)
    path = raw.path(url)
    garbage = b"garbage" * 999
    path.write_bytes(garbage)
    assert pharmdb.restore(url).before is None
    assert everything(url) == before
    aside = list(path.parent.glob(f"{path.name}.damaged-*Z"))
    assert [a.read_bytes() for a in aside] == [garbage]


def test_a_folder_is_not_set_aside(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    raw.path(url).unlink()
    raw.path(url).mkdir()
    with pytest.raises(UnavailableError, match="is a folder"):
        pharmdb.restore(url)
    assert raw.path(url).is_dir()


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_a_locked_file_is_not_taken_for_a_damaged_one(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    path = raw.path(url)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute(f"PRAGMA journal_mode = {mode}")
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        before = path.read_bytes()
        with pytest.raises(LockedError):
            pharmdb.restore(url)
        assert path.read_bytes() == before
    assert not list(path.parent.glob(f"{path.name}.damaged-*"))


def test_a_backup_of_an_older_revision_leaves_the_schema_old(empty: str) -> None:
    pharmdb.migrate(empty, revision=OLD)
    with raw.session(empty) as session:
        raw.fill(session)
    before = everything(empty)
    taken = backed_up(empty)
    assert taken.revision == OLD
    pharmdb.migrate(empty)
    report = pharmdb.restore(empty, backup=taken.id)
    assert report.behind
    assert report.outcome["next"].item().startswith("pharmdb migrate")
    assert revision(empty) == OLD
    assert everything(empty) == before
    pharmdb.migrate(empty)
    assert revision(empty) == revisions.head()


def test_a_downgrade_takes_a_backup_first_and_it_brings_back_the_rows(filled: str) -> None:
    before = everything(filled)
    report = pharmdb.migrate(filled, revision="base")
    assert report.backup is not None
    assert revision(filled) is None
    pharmdb.restore(filled, backup=report.backup.id)
    assert everything(filled) == before


def test_without_a_backup_there_is_none(filled: str) -> None:
    assert pharmdb.reset(filled, backup=False).backup is None
    assert pharmdb.migrate(filled, revision="base", backup=False).backup is None
    assert files() == []


SQLITE_ODDITIES = (
    'CREATE TABLE "sele""ct; DROP TABLE users --" ("a b" TEXT, "ü%s" REAL, x BLOB)',
    """INSERT INTO "sele""ct; DROP TABLE users --" VALUES ('line\nbreak \\. β', 0.1, x'00ff10')""",
    """INSERT INTO "sele""ct; DROP TABLE users --" VALUES (CAST(x'fffe' AS TEXT), 1e308, zeroblob(9999))""",
    "CREATE TABLE keyed (k TEXT PRIMARY KEY, v INTEGER) WITHOUT ROWID",
    "INSERT INTO keyed VALUES ('b', 1), ('a', 9223372036854775807)",
    "CREATE VIRTUAL TABLE texts USING fts5 (body)",
    "INSERT INTO texts VALUES ('aspirin and warfarin')",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER)",
    "INSERT INTO counted (n) VALUES (1), (2), (3)",
    "DELETE FROM counted",
    "CREATE VIEW seen AS SELECT email FROM users",
    "CREATE TRIGGER grows AFTER INSERT ON keyed BEGIN UPDATE keyed SET v = 0 WHERE k = NEW.k; END",
    "CREATE INDEX partial ON keyed (v) WHERE v > 5",
    "PRAGMA user_version = 77",
)
POSTGRESQL_ODDITIES = (
    'CREATE TABLE "sele""ct; DROP TABLE users --" ("a b" text, "ü%s" double precision, x bytea)',
    """INSERT INTO "sele""ct; DROP TABLE users --" VALUES (E'line\nbreak \\\\. β\t', 0.1, '\\x00ff10')""",
    """INSERT INTO "sele""ct; DROP TABLE users --" VALUES (NULL, 1e308, '')""",
    'CREATE TABLE "COPY x FROM stdin;" (id int)',
    "CREATE TYPE mood AS ENUM ('so ''so''', 'ill', 'well')",
    "CREATE DOMAIN dose AS numeric CHECK (VALUE > 0)",
    "CREATE TABLE keyed (k text PRIMARY KEY, m mood, d dose, a int[], j jsonb)",
    "INSERT INTO keyed VALUES ('b', 'well', 1.50, '{1,NULL}', '{\"a\": 1.0}')",
    "CREATE TABLE counted (id serial PRIMARY KEY, n int)",
    "INSERT INTO counted (n) VALUES (1), (2), (3)",
    "DELETE FROM counted",
    "CREATE VIEW seen AS SELECT email FROM users",
    "CREATE MATERIALIZED VIEW frozen AS SELECT count(*) AS n FROM users",
    """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- 100 % of them
/* No lines of the dump's own, though they look so:
SET lock_timeout = 5;
CREATE SCHEMA later;
COPY public.users (id) FROM stdin;
*/
  NEW.d := 2;
  RETURN NEW;
END $$""",
    "CREATE TRIGGER grows BEFORE INSERT ON keyed FOR EACH ROW EXECUTE FUNCTION touch()",
    "CREATE TABLE parted (n int) PARTITION BY RANGE (n)",
    "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)",
    "INSERT INTO parted VALUES (1), (2)",
)


def test_what_is_not_ours_survives_as_well(filled: str) -> None:
    sqlite = filled.startswith("sqlite")
    run(filled, *(SQLITE_ODDITIES if sqlite else POSTGRESQL_ODDITIES))
    before = everything(filled)
    report = pharmdb.reset(filled)
    assert everything(filled) != before
    assert report.backup is not None
    pharmdb.restore(filled, backup=report.backup.id)
    assert everything(filled) == before
    # The next number goes on where it was, though the rows are gone; triggers and virtual tables work.
    assert ask(filled, "INSERT INTO counted (n) VALUES (4) RETURNING id") == [(4,)]
    if sqlite:
        assert ask(filled, "SELECT body FROM texts WHERE texts MATCH 'warfarin'") == [("aspirin and warfarin",)]
        assert ask(filled, "PRAGMA user_version") == [(77,)]
        assert ask(filled, "PRAGMA integrity_check") == [("ok",)]
        run(filled, "INSERT INTO keyed VALUES ('c', 9)")
        assert ask(filled, "SELECT v FROM keyed WHERE k = 'c'") == [(0,)]
    else:
        assert ask(filled, "INSERT INTO keyed (k) VALUES ('c') RETURNING d::text") == [("2",)]
        assert ask(filled, "SELECT n FROM frozen")[0][0] > 0


# -- the files --------------------------------------------------------------------------------------


def test_only_the_owner_can_read_them(filled: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PHARMDB_BACKUPS", str(tmp_path / "new" / "folder"))
    old = os.umask(0)
    try:
        taken = backed_up(filled)
    finally:
        os.umask(old)
    assert taken.path.parent == tmp_path / "new" / "folder"
    assert taken.path.parent.stat().st_mode & 0o777 == 0o700
    assert len(files()) == 2
    for name in files():
        assert (manifests.folder() / name).stat().st_mode & 0o777 == 0o600


def test_the_name_tells_time_database_and_revision(filled: str) -> None:
    names = [backed_up(filled).name for _ in range(3)]
    assert names == sorted(names)
    time, name, rest = names[0].split("_")
    assert len(time) == len("20260101T000000.000000Z")
    assert time.endswith("Z")
    assert name == pharmdb.target(filled).name.replace("_", "%5F")
    assert rest == revisions.head() + (".sqlite" if filled.startswith("sqlite") else ".pgdump")


def test_the_table_lists_them_newest_first(filled: str) -> None:
    first = backed_up(filled)
    run(filled, "DELETE FROM attempts")
    report = pharmdb.backup(filled)
    second = report.backup
    assert second is not None
    table = pharmdb.list_backups(filled)
    assert table.equals(report.backups)
    assert list(table["backup"]) == [second.id, first.id]
    assert list(table["rows"]) == [second.rows, first.rows]
    assert table["rows"][0] < table["rows"][1]
    files_sha256 = [hashlib.sha256(backup.path.read_bytes()).hexdigest() for backup in (second, first)]
    assert list(table["sha256"]) == [digits[:12] for digits in files_sha256]
    assert report.outcome["sha256"].item() == files_sha256[0][:12]
    assert (table["size_mib"] > 0).all()
    assert report.tables.set_index("table")["rows"]["attempts"] == 0


def test_the_newest_ten_of_each_database_are_kept(databases: Databases) -> None:
    url, other = databases.seeded("sqlite"), databases.seeded("sqlite")
    others = backed_up(other)
    taken = [backed_up(url) for _ in range(13)]
    assert manifests.of(pharmdb.target(url)) == taken[:2:-1]
    assert manifests.of(pharmdb.target(other)) == [others]
    assert len(files()) == 2 * 11
    # A restore of the oldest backs up first, and does not lose the one that it restores.
    assert pharmdb.restore(url, backup=taken[3].id).backup == taken[3]
    assert taken[3] in manifests.known()


def test_there_is_nothing_to_back_up_in_an_empty_database(databases: Databases) -> None:
    with pytest.raises(BackupError, match="no table"):
        pharmdb.backup(databases.empty("postgresql"))
    with pytest.raises(UnavailableError, match="no file"):
        pharmdb.backup(url := databases.empty("sqlite"))
    assert not raw.path(url).exists()
    assert files() == []


def test_what_a_killed_process_left_is_cleared_away_by_the_next(filled: str) -> None:
    taken = backed_up(filled)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = manifests.folder()
    # In the middle of the copy, and between the file's name and its manifest's.
    for name in (f"a_b_c.sqlite.{dead.pid}.partial", f"a_b_c.sqlite.{dead.pid}.partial-journal"):
        (folder / name).write_bytes(b"half")
    (folder / "d_e_f.sqlite").write_bytes(b"without a manifest")
    (folder / f"d_e_f.sqlite.{dead.pid}.partial.json").write_text("{}")
    alive = folder / f"g_h_i.sqlite.{os.getppid()}.partial"
    alive.write_bytes(b"somebody is writing this")
    assert manifests.known() == [taken]
    newer = backed_up(filled)
    assert files() == sorted([alive.name] + [n + end for n in (taken.name, newer.name) for end in ("", ".json")])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', "null"])
def test_a_manifest_that_is_none_is_passed_over(databases: Databases, text: str) -> None:
    url = databases.seeded("sqlite")
    taken = backed_up(url)
    (manifests.folder() / "99991231T000000.000000Z_x_y.sqlite.json").write_text(text)
    assert manifests.known() == [taken]


@pytest.mark.parametrize(
    "forged",
    [
        {"tables": {"users": "8"}},
        {"tables": {"users": -1}},
        {"tables": {"users": None}},
        {"size": 10**400},
        {"taken_at": "never"},
        {"taken_at": "2026-03-01"},
        "[" * 200_000,
    ],
    ids=["text", "negative", "null", "huge", "time", "day", "deep"],
)
def test_a_forged_manifest_hides_no_other_backup(databases: Databases, forged: dict[str, Any] | str) -> None:
    url = databases.seeded("sqlite")
    taken, other = backed_up(url), backed_up(url)
    manifest = Path(f"{other.path}.json")
    text = forged if isinstance(forged, str) else json.dumps(json.loads(manifest.read_text()) | forged)
    manifest.write_text(text)
    assert manifests.scan() == ([taken], [manifest.name])
    assert pharmdb.list_backups(url)["backup"].tolist() == [taken.id]
    assert not pharmdb.check(url).outcome.empty
    assert pharmdb.restore(url, no_backup=True).backup == taken


# -- verified, or not a backup ----------------------------------------------------------------------


def refuses(verb: Callable[[], object], url: str, kind: type[PharmdbError], found: str) -> None:
    """The verb raises a typed error; database and backups are what they were."""
    before, kept = everything(url), files()
    with pytest.raises(kind, match=found) as error:
        verb()
    assert_four_parts(error.value)
    assert everything(url) == before
    assert files() == kept


def test_a_copy_that_differs_is_no_backup_and_nothing_is_destroyed(
    filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pharmdb.backup(filled)
    if filled.startswith("sqlite"):
        copy = sqlite_copies.copy_sqlite

        def lossy(source: sqlite3.Connection, target: Path) -> None:
            copy(source, target)
            with closing(sqlite3.connect(target)) as connection:
                connection.execute("DELETE FROM bookmarks WHERE id = (SELECT min(id) FROM bookmarks)")
                connection.commit()

        monkeypatch.setattr(sqlite_copies, "copy_sqlite", lossy)
    else:
        dumping = postgresql_dumps.dumping

        @contextmanager
        def lossy_dump(connection: Any, target: targets.Target, file: Path) -> Iterator[postgresql_dumps.Dump]:
            with dumping(connection, target, file) as dump:
                yield dump
            run(filled, "CREATE TABLE later (n int)")
            with pharmdb.reading(target) as other, dumping(other, target, file) as another:
                pass
            vars(dump).update(vars(another))
            run(filled, "DROP TABLE later")

        monkeypatch.setattr(postgresql_dumps, "dumping", lossy_dump)
    refuses(lambda: pharmdb.backup(filled), filled, BackupError, "differs|with other rows")
    if filled.startswith("sqlite"):
        refuses(lambda: pharmdb.reset(filled), filled, BackupError, "differs|with other rows")
        refuses(lambda: pharmdb.restore(filled), filled, BackupError, "differs|with other rows")
        refuses(lambda: pharmdb.migrate(filled, revision="base"), filled, BackupError, "differs|with other rows")


def test_a_copy_that_is_not_sound_is_no_backup(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    url = databases.seeded("sqlite")
    copy = sqlite_copies.copy_sqlite

    def damaging(source: sqlite3.Connection, target: Path) -> None:
        copy(source, target)
        size = target.stat().st_size
        with target.open("r+b") as file:
            file.truncate(size - 4096)

    monkeypatch.setattr(sqlite_copies, "copy_sqlite", damaging)
    for verb in (pharmdb.backup, pharmdb.reset):
        refuses(partial(verb, url), url, PharmdbError, ".")
    assert files() == []


@pytest.mark.parametrize("place", ["cut", "first", "middle", "last"])
def test_a_dump_that_is_cut_or_changed_on_disk_is_no_backup(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    url = databases.seeded("postgresql")
    dumping = postgresql_dumps.dumping

    @contextmanager
    def harming(connection: Any, target: targets.Target, file: Path) -> Iterator[postgresql_dumps.Dump]:
        with dumping(connection, target, file) as dump:
            yield dump
        content = bytearray(file.read_bytes())
        if place == "cut":
            del content[-2000:]
        else:
            content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
        file.write_bytes(content)

    monkeypatch.setattr(postgresql_dumps, "dumping", harming)
    for verb in (pharmdb.backup, pharmdb.reset):
        refuses(partial(verb, url), url, BackupError, "differs from what was dumped")
    assert files() == []


@pytest.mark.parametrize("place", ["first", "middle", "last", "cut", "longer"])
def test_a_backup_that_was_changed_is_refused(filled: str, place: str) -> None:
    taken = backed_up(filled)
    content = bytearray(taken.path.read_bytes())
    if place == "cut":
        content = content[:-1]
    elif place == "longer":
        content += b"\0"
    else:
        content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    taken.path.write_bytes(content)
    refuses(lambda: pharmdb.restore(filled), filled, BackupError, "has changed since")
    with pytest.raises(BackupError):
        restoring.verify(taken)


def replaced_after_its_check(url: str, monkeypatch: pytest.MonkeyPatch) -> manifests.Backup:
    """A backup whose file another one, which is as sound, replaces after each check."""
    taken = backed_up(url)
    run(url, "DELETE FROM attempts")
    other, verify = backed_up(url), restoring.verify

    def replaced(chosen: manifests.Backup, target: targets.Target | None = None) -> None:
        verify(chosen, target)
        new = taken.path.with_suffix(".new")
        new.write_bytes(other.path.read_bytes())
        new.rename(taken.path)

    monkeypatch.setattr(restoring, "verify", replaced)
    return taken


def test_a_backup_that_is_replaced_after_its_check_is_refused(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = replaced_after_its_check(filled, monkeypatch)
    refuses(lambda: pharmdb.restore(filled, backup=taken.id, no_backup=True), filled, BackupError, "was replaced")


def test_a_backup_with_a_journal_beside_it_is_refused(databases: Databases) -> None:
    """SQLite would take it for the rest of an interrupted transaction."""
    url = databases.seeded("sqlite")
    other, taken = backed_up(url), backed_up(url)
    # The magic number of a journal, and a header.
    Path(f"{taken.path}-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(2000))
    with pytest.raises(BackupError, match="a journal of another") as error:
        pharmdb.restore(url)
    assert other.id in error.value.command
    assert pharmdb.restore(url, backup=other.id, no_backup=True).backup == other


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\1" * 9000], ids=["missing", "damaged"])
def test_it_does_not_take_the_place_of_a_missing_or_damaged_file(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    url = databases.seeded("sqlite")
    taken, path = replaced_after_its_check(url, monkeypatch), targets.target(url).path
    path.write_bytes(content) if content else path.unlink()
    with pytest.raises(BackupError, match="was replaced"):
        pharmdb.restore(url, backup=taken.id)
    assert (path.read_bytes() if path.exists() else b"") == content


@pytest.mark.parametrize(
    "name",
    ["20200101T000000.000000Z", "../../etc/passwd", "..", "/etc/passwd", "'; DROP TABLE users; --", "a\nb", "{0}"],
)
def test_a_name_that_is_no_backup_is_refused(filled: str, name: str) -> None:
    pharmdb.backup(filled)
    refuses(lambda: pharmdb.restore(filled, backup=name), filled, BackupError, "in ")


def test_a_manifest_cannot_lead_out_of_the_folder(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    taken = backed_up(url)
    manifest = Path(f"{taken.path}.json")
    entry = json.loads(manifest.read_text())
    for name in (f"../{manifests.folder().name}/{taken.name}", str(taken.path)):
        manifest.write_text(json.dumps(entry | {"name": name}))
        assert (manifests.folder() / name).exists()
        refuses(lambda: pharmdb.restore(url), url, BackupError, "none")


def test_without_a_backup_restore_says_so(filled: str) -> None:
    refuses(lambda: pharmdb.restore(filled), filled, BackupError, "none")


def test_another_environments_backup_does_not_reach_production(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = backed_up(filled)
    assert taken.environment == "development"
    monkeypatch.setenv("PHARMDB_ENV", "production")
    refuses(lambda: pharmdb.restore(filled), filled, ProtectedError, "of development")
    monkeypatch.delenv("PHARMDB_ENV")
    run(filled, "UPDATE pharmdb_environment SET name = 'production'")
    refuses(lambda: pharmdb.restore(filled), filled, ProtectedError, "of development")
    assert backed_up(filled).environment == "production"
    assert pharmdb.restore(filled).backup.environment == "production"


# -- the clients of PostgreSQL ----------------------------------------------------------------------


def without_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql_dumps, "find_spec", lambda name: None)


def with_an_older_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgresql_dumps, "_client_version", lambda program: 11)


@pytest.mark.parametrize("lack", [without_client, with_an_older_client])
def test_a_missing_client_is_told_before_anything_is_touched(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lack: Any
) -> None:
    url = databases.seeded("postgresql")
    pharmdb.backup(url)
    lack(monkeypatch, tmp_path)
    for verb in (
        lambda: pharmdb.backup(url),
        lambda: pharmdb.reset(url),
        lambda: pharmdb.migrate(url, revision="-1"),
        lambda: pharmdb.restore(url),
        lambda: pharmdb.restore(url, no_backup=True),
    ):
        refuses(verb, url, UnavailableError, "none on the PATH" if lack is without_client else "version 11")
    assert pharmdb.reset(url, backup=False).backup is None
    assert pharmdb.migrate(url, revision="-1", backup=False).backup is None


def test_a_newer_client_than_the_one_on_the_path_is_found(databases: Databases, tmp_path: Path) -> None:
    url = databases.seeded("postgresql")
    with pharmdb.reading(pharmdb.target(url)) as connection:
        version = postgresql_dumps.server_version(connection)
    assert postgresql_dumps._client_version(postgresql_dumps.client("pg_dump", version)) >= version
    assert postgresql_dumps._client_version(str(tmp_path / "none")) == 0


# -- while others write -----------------------------------------------------------------------------

PAIRS = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for n in range(10**9):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO a VALUES (?)", (n,))
    connection.execute("INSERT INTO b VALUES (?)", (n,))
    connection.execute("COMMIT")
    if n == 0:
        print("begun", flush=True)
"""


def test_a_backup_while_another_process_writes_is_one_snapshot(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    run(url, "CREATE TABLE a (n INTEGER)", "CREATE TABLE b (n INTEGER)")
    with subprocess.Popen([sys.executable, "-c", PAIRS, str(raw.path(url))], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == b"begun\n"
            taken = [backed_up(url) for _ in range(4)]
            assert writer.poll() is None
        finally:
            writer.kill()
    counts = [b.tables["a"] for b in taken]
    assert counts == [b.tables["b"] for b in taken]
    # It did write meanwhile.
    assert counts == sorted(set(counts))
    for b in taken:
        with closing(sqlite3.connect(b.path)) as copy:
            assert copy.execute("SELECT count(*), max(n) FROM a").fetchone() == (b.tables["a"], b.tables["a"] - 1)
            assert copy.execute("SELECT count(*) FROM (SELECT n FROM a EXCEPT SELECT n FROM b)").fetchone() == (0,)


@contextmanager
def writer(url: str) -> Iterator[Callable[[], int]]:
    """A thread that inserts attempts all the time; what it yields stops it and says how many were acknowledged."""
    stop, begun = threading.Event(), threading.Event()
    acknowledged = 0

    def write() -> None:
        nonlocal acknowledged
        statement = raw.insert("attempts", user_id="(SELECT min(id) FROM users)", entity_id="'by the writer'")
        with raw.session(url) as session:
            while not stop.is_set():
                try:
                    session.execute(statement)
                except (sqlite3.OperationalError, sqlite3.IntegrityError, psycopg.Error):
                    continue
                acknowledged += 1
                if acknowledged == 20:
                    begun.set()

    thread = threading.Thread(target=write)
    thread.start()

    def finish() -> int:
        stop.set()
        thread.join(60)
        return acknowledged

    try:
        assert begun.wait(60)
        yield finish
    finally:
        finish()


def written(url: str) -> int:
    return int(ask(url, "SELECT count(*) FROM attempts WHERE entity_id = 'by the writer'")[0][0])


def test_no_write_slips_between_the_backup_of_a_reset_and_the_reset(seeded: str) -> None:
    before = ask(seeded, "SELECT count(*) FROM attempts")[0][0]
    with writer(seeded) as finish:
        taken = pharmdb.reset(seeded).backup
        acknowledged = finish()
    assert taken is not None
    assert taken.tables["attempts"] - before >= 20
    assert taken.tables["attempts"] - before + written(seeded) == acknowledged


def test_no_write_slips_between_the_backup_of_a_restore_and_the_restore(seeded: str) -> None:
    before = ask(seeded, "SELECT count(*) FROM attempts")[0][0]
    first = backed_up(seeded)
    with writer(seeded) as finish:
        try:
            kept = pharmdb.restore(seeded, backup=first.id).before
        except LockedError:
            # On SQLite a restless writer is told, and nothing was restored.
            kept = None
        acknowledged = finish()
    saved = kept.tables["attempts"] - before if kept else 0
    assert saved + written(seeded) == acknowledged >= 20


class Late:
    """Somebody who writes right after each of the next backups, or after so many of them at most."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch, most: int = 99) -> None:
        self.backups = 0
        take = taking.take

        def then_write(*arguments: Any, **options: Any) -> Any:
            taken = take(*arguments, **options)
            self.backups += 1
            if self.backups <= most:
                run(url, raw.insert("users", email=f"'late{self.backups}@example.test'"))
            return taken

        monkeypatch.setattr(taking, "take", then_write)


def test_a_write_between_backup_and_restore_is_seen_and_the_backup_taken_again(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("sqlite")
    mark, first = fingerprint(url), backed_up(url)
    late = Late(url, monkeypatch, most=1)
    report = pharmdb.restore(url, backup=first.id)
    assert late.backups == 2
    assert fingerprint(url) == mark
    assert report.before is not None
    assert report.before.tables["users"] == first.tables["users"] + 1
    monkeypatch.undo()


def test_somebody_who_writes_after_every_backup_stops_the_restore(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("sqlite")
    first = backed_up(url)
    late = Late(url, monkeypatch)
    with pytest.raises(LockedError) as error:
        pharmdb.restore(url, backup=first.id)
    assert_four_parts(error.value)
    assert ask(url, "SELECT count(*) FROM users WHERE email LIKE 'late%'") == [(late.backups,)]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("UPDATE plain SET note = NULL WHERE id = 2", ["plain"]),
        ("UPDATE plain SET note = '1' WHERE id = 1", ["plain"]),
        ("UPDATE plain SET note = 'a' || char(0) || 'c' WHERE id = 3", ["plain"]),
        ("INSERT INTO plain VALUES (9, 'more')", ["plain"]),
        ("DELETE FROM plain WHERE id = 1", ["plain"]),
        ("UPDATE keyed SET n = 2", ["keyed"]),
        ("DELETE FROM keyed; UPDATE plain SET note = 'z'", ["keyed", "plain"]),
        ("CREATE INDEX added ON plain (note)", ["its schema"]),
        ("SELECT 1", []),
    ],
)
def test_each_difference_between_a_copy_and_its_source_is_seen(tmp_path: Path, harm: str, found: list[str]) -> None:
    source, copy = tmp_path / "source.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(
            "CREATE TABLE plain (id INTEGER PRIMARY KEY, note);"
            "CREATE TABLE keyed (word TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID;"
            "INSERT INTO plain VALUES (1, 1), (2, ''), (3, 'a' || char(0) || 'b'); INSERT INTO keyed VALUES ('x', 1);"
        )
    copy.touch()
    with sqlite_copies.snapshot_sqlite(source, copy) as snapshot:
        sqlite_copies.copy_sqlite(snapshot, copy)
        with closing(sqlite3.connect(copy)) as connection:
            connection.executescript(harm)
        seen = sqlite_integrity.compare_sqlite(snapshot)
        assert sqlite_integrity.count_sqlite(snapshot) == {"keyed": 1, "plain": 3}
    assert [line.split(" in ")[-1].split(": ")[-1] for line in seen] == found


def test_a_damaged_file_of_production_takes_no_other_environments_backup(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded("sqlite")
    pharmdb.backup(url)
    run(url, "UPDATE pharmdb_environment SET name = 'production'")
    damaged = raw.path(url).read_bytes()
    page = damaged.rindex(b"arrhythmias") // 4096 * 4096
    raw.path(url).write_bytes(damaged[:page] + b"\1" * 4096 + damaged[page + 4096 :])
    assert sqlite_integrity.check_sqlite(raw.path(url))
    refuses_bytes(url)
    raw.path(url).write_bytes(b"garbage" * 1000)
    monkeypatch.setenv("PHARMDB_ENV", "production")
    refuses_bytes(url)
    monkeypatch.delenv("PHARMDB_ENV")
    pharmdb.restore(url)
    assert pharmdb.check(url).count("fail") == 0


def refuses_bytes(url: str) -> None:
    before = raw.path(url).read_bytes()
    with pytest.raises(ProtectedError):
        pharmdb.restore(url)
    assert raw.path(url).read_bytes() == before


def test_every_report_names_the_database_in_its_next_command(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reports() -> list[str]:
        first = [pharmdb.seed(seeded).outcome, pharmdb.backup(seeded).outcome]
        reset = pharmdb.reset(seeded)
        then = [pharmdb.restore(seeded).outcome, pharmdb.migrate(seeded).outcome]
        last = [pharmdb.inspect(seeded).outcome, pharmdb.check(seeded).outcome]
        outcomes = [*first, reset.outcome, *then, *last]
        return [str(outcome["next"].iloc[0]) for outcome in outcomes] + [reset.way_back]

    for text in reports():
        assert text.endswith(f"--database-url {shlex.quote(str(targets.target(seeded)))}")
    monkeypatch.setenv("PHARMDB_URL", seeded)
    assert not any("--database-url" in text for text in reports())
