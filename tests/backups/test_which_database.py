"""Which database a backup is of: copies, other homes, servers and schemas; what a restore does to the record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support import legacy, raw
from support.backups import backed_up, entry, go
from support.contents import everything
from support.databases import Databases
from support.raw import ask, run

import pharmdb
from pharmdb.backups import manifests
from pharmdb.backups.manifests import Backup
from pharmdb.database import identities, targets
from pharmdb.errors import BackupError, ProtectedError


def recorded(url: str) -> str:
    ((found,),) = ask(url, "SELECT database_id FROM pharmdb_environment")
    return str(found)


def emails(url: str) -> set[str]:
    return {email for (email,) in ask(url, "SELECT email FROM users")}


@pytest.fixture
def pair(databases: Databases, dialect: str) -> tuple[str, str]:
    """A database with a user of its own, and its copy, as cp or createdb --template makes it: both record one id."""
    one, copy = databases.seeded(dialect), databases.seeded(dialect)
    assert recorded(one) == recorded(copy) != ""
    run(one, raw.insert("users", email="'of.one@example.test'"))
    return one, copy


def test_a_copy_restores_its_originals_backup_only_with_a_confirmation(pair: tuple[str, str]) -> None:
    one, copy = pair
    taken = backed_up(one)
    assert len(pharmdb.list_backups(copy)) == 0
    before = everything(copy)
    with pytest.raises(BackupError) as none:
        pharmdb.restore(copy)
    # What the error proposes destroys nothing.
    assert none.value.command.startswith("pharmdb backup --list")
    name = pharmdb.target(copy).name
    for confirm in ("", "yes", pharmdb.target(one).name):
        with pytest.raises(ProtectedError) as refused:
            pharmdb.restore(copy, backup=taken.id, confirm=confirm)
    assert everything(copy) == before
    go(refused.value.command)
    assert "of.one@example.test" in emails(copy)
    # A wrong confirmation is never ignored, not even where none is needed.
    with pytest.raises(ProtectedError):
        pharmdb.restore(one, confirm=name)


def test_the_target_of_a_restore_keeps_its_own_id(pair: tuple[str, str]) -> None:
    one, copy = pair
    run(copy, "UPDATE pharmdb_environment SET database_id = 'its own'")
    taken = backed_up(one)
    report = pharmdb.restore(copy, backup=taken.id, confirm=pharmdb.target(copy).name)
    assert recorded(copy) == "its own"
    assert "of.one@example.test" in emails(copy)
    assert report.backup == taken
    go(report.way_back)
    assert "of.one@example.test" not in emails(copy)


def test_backups_of_a_copy_drive_out_none_of_the_original(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "KEPT", 1)
    first = backed_up(pair[0])
    taken = [backed_up(pair[1]) for _ in range(2)]
    assert [manifests.of(pharmdb.target(url)) for url in pair] == [[first], taken[1:]]


def test_two_homes_that_share_a_folder_of_backups(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = raw.path(databases.seeded("sqlite"))
    for home in ("a", "b"):
        (tmp_path / home / "data").mkdir(parents=True)
        shutil.copy(template, tmp_path / home / "data" / "pharm.db")
    url = "sqlite:///data/pharm.db"
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path / "a"))
    taken = backed_up(url)
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path / "b"))
    with pytest.raises(BackupError):
        pharmdb.restore(url)
    with pytest.raises(ProtectedError):
        pharmdb.restore(url, backup=taken.id)
    # A database that is missing or damaged has no id to ask for, and is another one all the same.
    here = tmp_path / "b" / "data" / "pharm.db"
    for damaged in (True, False):
        here.write_bytes(b"garbage" * 999) if damaged else here.unlink()
        with pytest.raises(BackupError):
            pharmdb.restore(url)
        with pytest.raises(ProtectedError):
            pharmdb.restore(url, backup=taken.id)
    pharmdb.restore(url, backup=taken.id, confirm="pharm.db")
    # What comes out of another one's backup is a database of its own.
    assert recorded(f"sqlite:///{here}") not in ("", recorded(f"sqlite:///{template}"))


def test_another_database_in_the_same_place_is_another_database(databases: Databases, dialect: str) -> None:
    url = databases.seeded(dialect)
    taken = backed_up(url)
    run(url, "UPDATE pharmdb_environment SET database_id = 'made anew'")
    assert len(pharmdb.list_backups(url)) == 0
    with pytest.raises(ProtectedError):
        pharmdb.restore(url, backup=taken.id)


def test_two_schemas_of_a_database_are_two_databases(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    other = f"{url}&options=-csearch_path%3Dother"
    run(url, "CREATE SCHEMA other")
    taken = backed_up(url)
    pharmdb.reset(other)
    assert len(pharmdb.list_backups(other)) == 0
    name = pharmdb.target(url).name
    # A dump names its schema: no confirmation brings it into another one.
    with pytest.raises(BackupError):
        pharmdb.restore(other, backup=taken.id, confirm=name)
    assert pharmdb.restore(url, backup=taken.id).backup == taken


MINE = identities.Identity("sqlite", "id", "here", "/data/pharm.db", "sqlite:///data/pharm.db", "here")
SERVER = identities.Identity("postgresql", "id", "77", "pharm/public", "postgresql://:5432/pharm", "here")


@pytest.mark.parametrize(
    ("mine", "changes", "belongs"),
    [
        (MINE, {}, True),
        (MINE, {"database_id": "another"}, False),
        (MINE, {"place": "/copy.db"}, False),
        # A container has another host name in each run, and the same database.
        (MINE, {"machine": "elsewhere", "host": "elsewhere"}, True),
        (MINE, {"machine": "elsewhere", "host": "elsewhere", "database_id": ""}, False),
        (MINE, {"database_id": ""}, True),
        (replace(MINE, database_id=""), {}, True),
        (replace(MINE, database_id=""), {"machine": "elsewhere"}, False),
        (SERVER, {}, True),
        (SERVER, {"database_id": "another"}, False),
        (SERVER, {"machine": "88"}, False),
        (SERVER, {"machine": "88", "database_id": ""}, False),
        (SERVER, {"place": "pharm/other"}, False),
        (SERVER, {"host": "elsewhere"}, True),
        # The server does not respond: listed is what was taken under this URL from here.
        (replace(SERVER, database_id="", machine="", place=""), {}, True),
        (replace(SERVER, database_id="", machine="", place=""), {"host": "elsewhere"}, False),
        (MINE, {"dialect": "postgresql"}, False),
    ],
)
def test_whose_a_backup_is(mine: identities.Identity, changes: dict[str, str], belongs: bool) -> None:
    whole = replace(MINE if mine.dialect == "sqlite" else SERVER)
    assert manifests.belongs(replace(entry_of(whole), **changes), mine) is belongs  # type: ignore[arg-type]


def entry_of(identity: identities.Identity) -> Backup:
    return entry(
        name="x",
        database_id=identity.database_id,
        machine=identity.machine,
        place=identity.place,
        target=identity.url,
        host=identity.host,
        dialect=identity.dialect,
    )


# -- what records no id ---------------------------------------------------------------------------------


def forget(url: str) -> None:
    """As older code made it."""
    run(url, "ALTER TABLE pharmdb_environment DROP COLUMN database_id")


WRITES: dict[str, Callable[[str], object]] = {
    "reset": pharmdb.reset,
    "migrate": pharmdb.migrate,
    "seed": pharmdb.seed,
    "cohort": partial(pharmdb.cohort, learners=1, days=1),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_database_without_an_id_gets_one_at_the_next_write(seeded: str, verb: str) -> None:
    forget(seeded)
    assert pharmdb.check(seeded).count("fail") == 0
    first = backed_up(seeded)
    assert first.database_id == ""
    WRITES[verb](seeded)
    mine = recorded(seeded)
    assert len(mine) == 36
    # Its backups from before are its own, and bring no other id.
    pharmdb.restore(seeded, backup=first.id)
    assert recorded(seeded) == mine


def test_what_a_seed_may_not_alter_it_leaves(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    role = f"seeder_{pharmdb.target(url).name}"
    run(url, f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    run(url, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    forget(url)
    pharmdb.seed(url.replace("postgres@", f"{role}@"))
    with pharmdb.reading(pharmdb.target(url)) as connection:
        assert identities.of(connection, pharmdb.target(url)).database_id == ""


@pytest.mark.parametrize("verb", ["reset", "migrate", "restore", "upgrade"])
def test_an_id_never_changes(seeded: str, verb: str, tmp_path: Path) -> None:
    before = recorded(seeded)
    if verb == "upgrade":
        old = legacy.make(f"sqlite:///{tmp_path / 'old.db'}", 4, legacy.clean("sqlite"))
        pharmdb.upgrade(old, seeded)
    else:
        pharmdb.backup(seeded)
        getattr(pharmdb, verb)(seeded)
    assert recorded(seeded) == before


def test_a_reset_keeps_the_environment(seeded: str) -> None:
    run(seeded, "UPDATE pharmdb_environment SET name = 'test'")
    pharmdb.reset(seeded)
    assert ask(seeded, "SELECT name FROM pharmdb_environment") == [("test",)]


def test_another_programs_database_comes_back_without_our_record(empty: str) -> None:
    run(empty, "CREATE TABLE theirs (n INTEGER)", "INSERT INTO theirs VALUES (1)")
    before = everything(empty)
    report = pharmdb.reset(empty, confirm=pharmdb.target(empty).name)
    go(report.way_back)
    assert everything(empty) == before


def old_manifest(taken: Backup, url: str) -> None:
    """The manifest as 1.0 wrote it."""
    path = Path(f"{taken.path}.json")
    entry = json.loads(path.read_text())
    for new in ("format", "sequence", "database_id", "machine", "place", "host"):
        del entry[new]
    path.write_text(json.dumps(entry | {"target": targets.target(url).identity}))


def test_a_backup_of_1_0_is_this_homes_own(
    databases: Databases, dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.seeded(dialect)
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    monkeypatch.setenv("PHARMDB_BACKUPS", "backups")
    taken = backed_up(url)
    old_manifest(taken, url)
    newer = backed_up(url)
    assert [b.name for b in manifests.of(pharmdb.target(url))] == [newer.name, taken.name]
    assert pharmdb.restore(url, backup=taken.id).backup.sha256 == taken.sha256
    # In a folder that several homes may share, its URL could be anybody's.
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PHARMDB_BACKUPS", str(tmp_path / "backups"))
    with pytest.raises(ProtectedError):
        pharmdb.restore(url, backup=taken.id)
