"""Ways back: order and retention without the clock, environments, owners, files, and going on without a backup."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as options
from hypothesis import strategies as st
from support import legacy, raw
from support.backups import backed_up, entry, go, unprivileged
from support.contents import everything
from support.databases import Databases
from support.raw import ask, run

import pharmdb
from pharmdb.backups import keeping, manifests, ownership, postgresql_dumps, restoring
from pharmdb.backups.manifests import Backup
from pharmdb.command import program
from pharmdb.database import targets
from pharmdb.errors import BackupError, PharmdbError, ProtectedError


@pytest.fixture(autouse=True)
def _few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are as many as ten, and sooner taken."""
    monkeypatch.setattr(manifests, "KEPT", 3)


@pytest.fixture
def worked(seeded: str) -> str:
    """The URL of a seeded database with a user of its own."""
    run(seeded, raw.insert("users"))
    return seeded


def fingerprint(url: str) -> str:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection)


def names(url: str) -> list[str]:
    return [entry.name for entry in manifests.of(pharmdb.target(url))]


# -- order and retention --------------------------------------------------------------------------------


class Clock:
    """Stands for datetime in the folder of backups."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *times: datetime) -> None:
        self.times = list(times)
        monkeypatch.setattr(keeping, "datetime", self)

    def now(self, zone: object) -> datetime:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


AHEAD, TODAY = datetime(2031, 1, 1, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)


def test_the_way_back_of_a_reset_is_there_though_the_clock_went_back(
    worked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, AHEAD)
    run(worked, "DELETE FROM progress_by_tag")
    for _ in range(manifests.KEPT):
        ahead = backed_up(worked)
    pharmdb.restore(worked, backup=ahead.id)
    pharmdb.seed(worked)
    clock.times = [TODAY]
    before = everything(worked)
    report = pharmdb.reset(worked)
    assert report.backup is not None
    assert names(worked)[0] == report.backup.name
    assert len(names(worked)) == manifests.KEPT
    # Unnamed, as well as by the name that the report prints.
    assert pharmdb.restore(worked).backup == report.backup
    assert everything(worked) == before
    pharmdb.reset(worked, backup=False)
    go(report.way_back)
    assert everything(worked) == before


def fake(database_id: str = "a") -> Backup:
    """A backup of a few bytes."""
    with keeping.partial("x_none.sqlite") as (time, path):
        path.write_bytes(b"x")
        made = entry(
            name=keeping.final_name(path),
            taken_at=time.isoformat(),
            database_id=database_id,
            place="/x",
            machine="here",
            target="sqlite:////x",
            dialect="sqlite",
            revision="none",
        )
        return keeping.publish(path, made)


@given(jumps=st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("ab")), max_size=15))
@options(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_clock_does_the_order_is_that_of_taking(
    jumps: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        patch.setenv("PHARMDB_BACKUPS", folder)
        clock = Clock(patch, TODAY)
        taken: dict[str, list[str]] = {"a": [], "b": []}
        for seconds, database in jumps:
            clock.times = [clock.times[0] + timedelta(seconds=seconds)]
            taken[database].insert(0, fake(database).name)
            known = manifests.known()
            for each, wanted in taken.items():
                assert [b.name for b in known if b.database_id == each] == wanted[: manifests.KEPT]
        ids = [b.id for b in manifests.known()]
        assert len(set(ids)) == len(ids)


def test_a_backup_in_use_is_not_driven_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first = fake()
    with keeping.in_use(first, targets.of_file("/x")):
        for _ in range(manifests.KEPT + 1):
            fake()
        assert first in manifests.known()
    fake()
    assert first not in manifests.known()
    with pytest.raises(BackupError), keeping.in_use(first, targets.of_file("/x")):
        pass


def test_backups_taken_during_a_restore_leave_it_what_it_restores(worked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, taken = fingerprint(worked), backed_up(worked)
    verify = restoring.verify

    def busily(chosen: Backup, target: targets.Target | None = None) -> None:
        verify(chosen, target)
        for n in range(manifests.KEPT):
            with keeping.partial("x_none.sqlite") as (_, path):
                path.write_bytes(bytes([n]))
                keeping.publish(path, replace(chosen, name=keeping.final_name(path)))
        assert len(names(worked)) > manifests.KEPT

    monkeypatch.setattr(restoring, "verify", busily)
    assert pharmdb.restore(worked, backup=taken.id, no_backup=True).backup == taken
    assert fingerprint(worked) == mark


# -- environments -----------------------------------------------------------------------------------------


def set_environment(url: str, name: str) -> None:
    run(url, f"UPDATE pharmdb_environment SET name = '{name}'")


def environment(url: str) -> str:
    ((name,),) = ask(url, "SELECT name FROM pharmdb_environment")
    return str(name)


def there(url: str) -> None:
    pass


def missing(url: str) -> None:
    raw.path(url).unlink()


def damaged(url: str) -> None:
    raw.path(url).write_bytes(b"garbage" * 999)


PATHS = [
    ("sqlite", there),
    ("sqlite", missing),
    ("sqlite", damaged),
    ("sqlite", raw.empty),
    ("postgresql", there),
    ("postgresql", raw.empty),
]


@pytest.mark.parametrize(("dialect", "state"), PATHS)
@pytest.mark.parametrize(("of", "into"), [("development", "production"), ("production", "development")])
def test_another_environments_backup_needs_a_confirmation_on_every_path(
    databases: Databases,
    dialect: str,
    state: Callable[[str], None],
    of: str,
    into: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = databases.seeded(dialect)
    set_environment(url, of)
    pharmdb.backup(url)
    set_environment(url, into)
    state(url)
    # What can't be asked is what PHARMDB_ENV says.
    if state is not there:
        monkeypatch.setenv("PHARMDB_ENV", into)
    path = None if dialect == "postgresql" else raw.path(url)
    before = everything(url) if path is None else path.exists() and path.read_bytes()
    with pytest.raises(ProtectedError) as refused:
        pharmdb.restore(url)
    assert (everything(url) if path is None else path.exists() and path.read_bytes()) == before
    pharmdb.restore(url, confirm=pharmdb.target(url).name)
    assert refused.value.command
    assert environment(url) == of


def test_the_way_back_from_production_brings_development_back(worked: str) -> None:
    set_environment(worked, "production")
    taken = backed_up(worked)
    set_environment(worked, "development")
    before = everything(worked)
    report = pharmdb.restore(worked, backup=taken.id, confirm=pharmdb.target(worked).name)
    assert environment(worked) == "production"
    go(report.way_back)
    assert everything(worked) == before


def test_a_lost_production_database_comes_back_as_production(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    set_environment(url, "production")
    pharmdb.backup(url)
    missing(url)
    pharmdb.restore(url)
    assert environment(url) == "production"


def test_between_development_and_test_the_targets_environment_stays(worked: str) -> None:
    set_environment(worked, "test")
    pharmdb.backup(worked)
    set_environment(worked, "development")
    pharmdb.restore(worked)
    assert environment(worked) == "development"


# -- owners and privileges --------------------------------------------------------------------------------

ACCESS = """
    SELECT relname::text, relowner::regrole::text, coalesce(relacl::text, '') FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v')
    UNION ALL SELECT proname, proowner::regrole::text, coalesce(proacl::text, '') FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT attrelid::regclass || '.' || attname, '', attacl::text FROM pg_attribute WHERE attacl IS NOT NULL
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def owned(databases: Databases) -> Iterator[tuple[str, str]]:
    """A database whose tables belong to a role of odd name, with privileges of all kinds; and that role, quoted."""
    url = databases.seeded("postgresql")
    number = pharmdb.target(url).name
    app, reader = f'"app ""; {number}"', f"reader_{number}"
    run(url, f"CREATE ROLE {app} LOGIN", f"CREATE ROLE {reader}")
    for table in raw.TABLES:
        run(url, f"ALTER TABLE {table} OWNER TO {app}")
    run(
        url,
        f"GRANT SELECT, INSERT ON attempts TO {reader} WITH GRANT OPTION",
        f"GRANT UPDATE (role) ON users TO {reader}",
        f"SET ROLE {reader}; GRANT SELECT ON attempts TO PUBLIC; RESET ROLE",
        "CREATE FUNCTION own() RETURNS text LANGUAGE plpgsql AS "
        "$$ BEGIN\nALTER TABLE users OWNER TO postgres;\nGRANT ALL ON users TO PUBLIC;\nRETURN ''';'; END $$",
        f"ALTER FUNCTION own() OWNER TO {app}; REVOKE ALL ON FUNCTION own() FROM PUBLIC",
    )
    yield url, app
    run(url, f"DROP OWNED BY {app}, {reader} CASCADE")


def test_owners_and_privileges_come_back(owned: tuple[str, str]) -> None:
    url, _ = owned
    before, access = everything(url), ask(url, ACCESS)
    report = pharmdb.reset(url)
    assert ask(url, ACCESS) != access
    assert report.backup is not None
    restored = pharmdb.restore(url, backup=report.backup.id)
    assert ask(url, ACCESS) == access
    assert restored.not_given.empty
    assert everything(url) == before


def test_a_role_that_is_missing_is_reported_and_the_rest_comes_back(owned: tuple[str, str]) -> None:
    url, app = owned
    run(url, f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {app}")
    rows, taken = fingerprint(url), backed_up(url)
    # Everything of the role goes; the role itself can't be of any other database.
    pharmdb.reset(url, backup=False)
    run(url, f"DROP OWNED BY {app}; DROP ROLE {app}")
    report = pharmdb.restore(url, backup=taken.id)
    lost = report.not_given
    assert set(lost["role"]) == {app[1:-1].replace('""', '"')}
    assert len(lost) > len(raw.TABLES)
    assert fingerprint(url) == rows
    assert ask(url, "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'") == [("postgres",)]
    reader = f"reader_{pharmdb.target(url).name}"
    assert ask(url, f"SELECT has_table_privilege('{reader}', 'attempts', 'INSERT')") == [(True,)]
    run(url, f"CREATE ROLE {app}")


def test_a_role_that_owns_only_its_tables_can_restore_them(owned: tuple[str, str]) -> None:
    url, app = owned
    name = pharmdb.target(url).name
    run(url, f"GRANT CREATE, USAGE ON SCHEMA public TO {app}; ALTER DATABASE {name} OWNER TO {app}")
    run(url, f"DROP FUNCTION own(); ALTER TABLE pharmdb_environment OWNER TO {app}")
    run(url, f"ALTER TABLE pharmdb_revisions OWNER TO {app}; ALTER TABLE alembic_version OWNER TO {app}")
    mine = url.replace("postgres@", f"{_escaped(app)}@")
    before = everything(url)
    taken = backed_up(mine)
    # It may not grant in the name of another role, nor change what others get by default.
    report = pharmdb.restore(mine, backup=taken.id)
    assert everything(url) == before
    assert not report.not_given.empty
    assert ask(url, "SELECT count(DISTINCT tableowner) FROM pg_tables WHERE schemaname = 'public'") == [(1,)]
    run(url, f"ALTER DATABASE {name} OWNER TO postgres")


def _escaped(role: str) -> str:
    from urllib.parse import quote

    return quote(role[1:-1].replace('""', '"'), safe="")


def test_a_policy_for_a_missing_role_stops_the_restore_and_names_it(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    role = f"policy_{pharmdb.target(url).name}"
    run(url, f"CREATE ROLE {role}; CREATE POLICY own ON users TO {role} USING (true)")
    taken = backed_up(url)
    run(url, f"DROP POLICY own ON users; DROP ROLE {role}")
    before = everything(url)
    with pytest.raises(BackupError) as error:
        pharmdb.restore(url, backup=taken.id)
    assert role in error.value.found
    assert everything(url) == before


@given(st.lists(st.sampled_from(("a", "'", '"', ";", "$$", "$x$", "--", "\n", " ", "OWNER TO b", "ALTER TABLE"))))
@options(deadline=None, max_examples=200)
def test_nothing_of_a_script_gets_lost(pieces: list[str]) -> None:
    script = "".join(pieces)
    rest, held = ownership.split(script)
    assert sorted(rest + "".join(held)) == sorted(script)


# -- files --------------------------------------------------------------------------------------------------


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("private", [0o600, 0o640])
def test_a_damaged_file_is_replaced_behind_its_link_and_with_its_mode(
    databases: Databases, tmp_path: Path, private: int
) -> None:
    real = raw.path(databases.seeded("sqlite"))
    link = tmp_path / "link.db"
    link.symlink_to(real)
    url = f"sqlite:///{link}"
    # One database, whatever path leads to it.
    taken = backed_up(f"sqlite:///{real}")
    assert names(url) == [taken.name]
    real.write_bytes(b"garbage" * 999)
    real.chmod(private)
    report = pharmdb.restore(url)
    assert link.is_symlink()
    assert mode(real) == private
    assert Path(report.set_aside).read_bytes() == b"garbage" * 999
    # A second one does not take the place of the first.
    real.write_bytes(b"more" * 999)
    assert pharmdb.restore(url).set_aside != report.set_aside
    assert pharmdb.check(url).count("fail") == 0


@pytest.mark.parametrize("size", [1024, 65536])
@pytest.mark.parametrize("state", [there, missing, damaged, raw.empty])
def test_a_backup_with_another_page_size(databases: Databases, size: int, state: Callable[[str], None]) -> None:
    url = databases.seeded("sqlite")
    run(url, "CREATE TABLE bare (n)", "INSERT INTO bare VALUES (1), (2), (3)", "DELETE FROM bare WHERE n = 2")
    run(url, "PRAGMA journal_mode = DELETE", f"PRAGMA page_size = {size}; VACUUM")
    run(url, "DELETE FROM bare WHERE n = 1")
    before, numbers = everything(url), ask(url, "SELECT _rowid_, n FROM bare")
    taken = backed_up(url)
    other = databases.seeded("sqlite")
    raw.path(url).unlink()
    shutil.copy(raw.path(other), raw.path(url))
    state(url)
    pharmdb.restore(url, backup=taken.id)
    assert everything(url) == before
    assert ask(url, "SELECT _rowid_, n FROM bare") == numbers
    assert ask(url, "PRAGMA integrity_check") == [("ok",)]
    assert not list(manifests.folder().glob("*.partial*"))


@pytest.mark.parametrize("umask", [0, 0o022])
def test_what_is_made_is_its_owners_only(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("PHARMDB_HOME", str(home))
    monkeypatch.setenv("PHARMDB_URL", "sqlite:///data/pharm.db")
    monkeypatch.delenv("PHARMDB_BACKUPS")
    old = os.umask(umask)
    try:
        pharmdb.reset()
        pharmdb.backup()
        (home / "data" / "pharm.db").unlink()
        pharmdb.restore()
        assert program.main(["seed"]) == 0
    finally:
        os.umask(old)
    made = [path for path in home.rglob("*") if path.is_file()]
    assert {path.parent.name for path in made} == {"data", "backups", "runs"}
    assert {mode(path) for path in made} == {0o600}
    assert {mode(path) for path in home.rglob("*") if path.is_dir()} == {0o700}


def test_modes_that_somebody_set_stay(databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    monkeypatch.setenv("PHARMDB_BACKUPS", "backups")
    for name in ("data", "backups", "runs"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o750)
    path = tmp_path / "data" / "pharm.db"
    shutil.copy(raw.path(databases.seeded("sqlite")), path)
    path.chmod(0o664)
    monkeypatch.setenv("PHARMDB_URL", "sqlite:///data/pharm.db")
    pharmdb.backup()
    pharmdb.reset()
    pharmdb.restore()
    assert program.main(["backup", "--list"]) == 0
    assert {mode(tmp_path / name) for name in ("data", "backups", "runs")} == {0o750}
    assert mode(path) == 0o664


def test_a_manifest_of_newer_code_is_read_and_a_faulty_one_is_reported(worked: str) -> None:
    taken = backed_up(worked)
    manifest = Path(f"{taken.path}.json")
    entry = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(entry | {"format": 99, "unknown": ["x"]}))
    assert pharmdb.restore(worked, no_backup=True).backup == taken
    faults: list[Any] = [{**entry, "size": "big"}, {k: v for k, v in entry.items() if k != "sha256"}, [], None]
    for faulty in faults:
        manifest.write_text(json.dumps(faulty))
        with pytest.raises(BackupError) as error:
            pharmdb.restore(worked)
        assert manifest.name in error.value.found
        assert "reset" not in error.value.command


@contextmanager
def foreign(monkeypatch: pytest.MonkeyPatch, permissions: int) -> Iterator[Path]:
    """A folder of backups with these permissions, seen by a user who is not its owner (or is, without a root user)."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        folder = home / "backups"
        folder.mkdir()
        monkeypatch.setenv("PHARMDB_BACKUPS", str(folder))
        yield folder
        folder.chmod(0o755)


@pytest.fixture
def public(databases: Databases) -> Iterator[str]:
    """A database that every user can read and write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        path = Path(name) / "pharm.db"
        shutil.copy(raw.path(databases.seeded("sqlite")), path)
        path.chmod(0o666)
        yield f"sqlite:///{path}"


def test_a_folder_that_cannot_be_read_is_not_empty(public: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with foreign(monkeypatch, 0o700) as folder:
        pharmdb.backup(public)
        folder.chmod(0o700 if os.geteuid() == 0 else 0)
        with unprivileged():
            for verb in (pharmdb.restore, pharmdb.list_backups, pharmdb.backup, pharmdb.reset):
                with pytest.raises(BackupError) as error:
                    verb(public)
                assert "reset" not in error.value.command
            assert pharmdb.check(public).findings


def test_a_backup_that_cannot_be_read_says_so(public: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with foreign(monkeypatch, 0o755) as folder:
        taken = backed_up(public)
        for path in folder.iterdir():
            path.chmod(0o644)
        taken.path.chmod(0o600 if os.geteuid() == 0 else 0)
        with unprivileged(), pytest.raises(BackupError):
            pharmdb.restore(public)


def test_what_another_user_left_stops_no_backup(public: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():
        pytest.skip("needs two users")
    with foreign(monkeypatch, 0o1777) as folder:
        folder.chmod(0o1777)
        theirs = [backed_up(public) for _ in range(manifests.KEPT)]
        left = folder / "a_b_c.sqlite.999999999.partial"
        left.write_bytes(b"half")
        for path in folder.iterdir():
            path.chmod(0o644)
        with unprivileged():
            mine = backed_up(public)
        assert mine in manifests.known()
        assert theirs[0] in manifests.known()
        assert left.exists()


# -- without a backup ---------------------------------------------------------------------------------------


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Calling it fills the disk of the backups."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    return lambda: monkeypatch.setattr(keeping, "publish", full)


def command_of(verb: str, url: str, old: str) -> list[str]:
    name = shlex.quote(pharmdb.target(url).name)
    options = {
        "reset": [],
        "migrate": ["--revision", "base"],
        "upgrade": ["--source", old, "--confirm", name],
    }
    return [verb, *options[verb], "--database-url", url]


@pytest.mark.parametrize("verb", ["reset", "migrate", "upgrade"])
def test_what_an_error_advises_can_be_typed(
    worked: str, verb: str, no_room: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    old = str(legacy.sample(tmp_path))
    command = command_of(verb, worked, old)
    no_room()
    before = everything(worked)
    assert program.main([*command, "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert manifests.NO_BACKUP in error["note"]
    assert everything(worked) == before
    assert program.main([*command, "--no-backup", "--json"]) == 0
    assert everything(worked) != before


def test_a_restore_can_do_without_and_a_backup_cannot(
    worked: str, no_room: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    mark, taken = fingerprint(worked), backed_up(worked)
    run(worked, "DELETE FROM progress_by_tag")
    no_room()
    with pytest.raises(PharmdbError) as error:
        pharmdb.backup(worked)
    assert manifests.NO_BACKUP not in error.value.note
    with pytest.raises(PharmdbError) as error:
        pharmdb.restore(worked, backup=taken.id)
    assert manifests.NO_BACKUP in error.value.note
    assert program.main(["restore", "--backup", taken.id, "--no-backup", "--database-url", worked]) == 0
    assert fingerprint(worked) == mark
    assert len(names(worked)) == 1


# -- ways back that are printed -----------------------------------------------------------------------------


def test_each_way_back_that_a_report_prints_leads_back(
    worked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    old = str(legacy.sample(tmp_path))
    monkeypatch.setattr(manifests, "KEPT", 10)
    first = backed_up(worked)
    run(worked, "DELETE FROM progress_by_tag")
    before = everything(worked)
    name = pharmdb.target(worked).name
    verbs: dict[str, Callable[[], Any]] = {
        "reset": lambda: pharmdb.reset(worked),
        "migrate": lambda: pharmdb.migrate(worked, revision="base"),
        "restore": lambda: pharmdb.restore(worked, backup=first.id),
        "upgrade": lambda: pharmdb.upgrade(old, worked, confirm=name),
        "account": lambda: pharmdb.manage_account(worked, user_email="new@example.test", action="delete", confirm=name),
    }
    for verb in verbs.values():
        report = verb()
        assert everything(worked) != before
        go(report.way_back)
        assert everything(worked) == before


def test_a_damaged_backup_names_another_one_that_can_be_restored(worked: str) -> None:
    mark = fingerprint(worked)
    backed_up(worked)
    second = backed_up(worked)
    with second.path.open("ab") as file:
        file.write(b"\0")
    run(worked, "DELETE FROM progress_by_tag")
    with pytest.raises(BackupError) as error:
        pharmdb.restore(worked)
    go(error.value.command)
    assert fingerprint(worked) == mark


# -- PostgreSQL: backup beside reset beside restore ---------------------------------------------------------


def test_a_reset_waits_for_a_backup_and_not_for_a_time_out(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup's reader waits for pg_dump, which would wait for the reset's DROP, which would wait for the reader."""
    url = databases.seeded("postgresql")
    taken = backed_up(url)
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "20")
    dumping = postgresql_dumps.dumping
    failed: list[BaseException] = []

    def work(verb: Callable[[], object]) -> None:
        try:
            verb()
        except PharmdbError as error:
            failed.append(error)

    verbs = (lambda: pharmdb.reset(url, backup=False), lambda: pharmdb.restore(url, backup=taken.id, no_backup=True))
    threads = [threading.Thread(target=work, args=(verb,)) for verb in verbs]

    @contextmanager
    def meanwhile(*arguments: Any) -> Iterator[postgresql_dumps.Dump]:
        monkeypatch.setattr(postgresql_dumps, "dumping", dumping)
        for thread in threads:
            thread.start()
        wait_until_blocked(url, len(threads))
        with dumping(*arguments) as dump:
            yield dump

    monkeypatch.setattr(postgresql_dumps, "dumping", meanwhile)
    pharmdb.backup(url)
    for thread in threads:
        thread.join(60)
    assert failed == []


def wait_until_blocked(url: str, sessions: int) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pharmdb' AND wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    tick = threading.Event()
    with closing(psycopg.connect(raw.libpq(url), autocommit=True)) as connection:
        for _ in range(3000):
            if connection.execute(waiting).fetchone() == (sessions,):
                return
            tick.wait(0.01)
    raise AssertionError("nobody waits")
