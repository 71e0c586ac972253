"""PostgreSQL that does not answer, stops, cuts the connection or refuses: typed errors, and the old state."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, Connection
from support import raw
from support.backups import backed_up
from support.databases import dsn
from support.postgres import Server

import pharmdb
from pharmdb.backups import manifests, postgresql_rows, restoring
from pharmdb.database import targets, transactions
from pharmdb.errors import (
    BackupError,
    LockedError,
    LostConnectionError,
    NoSuchDatabaseError,
    PharmdbError,
    ReadOnlyError,
    UnavailableError,
)
from pharmdb.schema import dropping
from pharmdb.seeding import seeding

# What libpq, SQLAlchemy's URLs, Alembic's settings and pg_dump's arguments each take apart in their own way.
HOSTILE = """a'b"c %d@e:f/g\\h ?&=ü"""
# A restore looks for a backup first; the doctor tells in its report.
VERBS = ("inspect", "backup", "seed", "migrate", "reset")


def admin(server: Server, *statements: sql.SQL | sql.Composed | str) -> None:
    with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that wants passwords of everybody but its superuser."""
    server = Server()
    admin(
        server,
        "SET password_encryption = 'scram-sha-256'",
        sql.SQL("CREATE ROLE ann LOGIN PASSWORD {}").format("the right one"),
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(HOSTILE), HOSTILE),
        sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(HOSTILE), sql.Identifier(HOSTILE)),
        "CREATE ROLE weak LOGIN PASSWORD 'weak'",
        "CREATE DATABASE ann OWNER ann",
        "CREATE DATABASE weak",
    )
    (server.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    admin(server, "SELECT pg_reload_conf()")
    yield server
    server.close()


def url(server: Server, user: str, password: str, database: str) -> str:
    made = URL.create(
        "postgresql", username=user, password=password, database=database, query={"host": str(server.data)}
    )
    return made.render_as_string(hide_password=False)


def fails(verb: str, kind: type[PharmdbError] = UnavailableError) -> PharmdbError:
    """The error of a verb on the database of PHARMDB_URL: a password is no parameter."""
    with pytest.raises(kind) as error:
        getattr(pharmdb, verb)()
    assert all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )
    return error.value


def test_the_right_password_is_taken(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", url(guarded, "ann", "the right one", "ann"))
    pharmdb.reset()
    pharmdb.seed()
    assert pharmdb.restore(backup=backed_up().id).backup


@pytest.mark.parametrize("verb", VERBS)
def test_a_wrong_password(guarded: Server, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("PHARMDB_URL", url(guarded, "ann", "a wrong one", "ann"))
    error = fails(verb)
    assert "password authentication failed" in error.found
    assert "a wrong one" not in str(error)


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_database(guarded: Server, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("PHARMDB_URL", url(guarded, "ann", "the right one", "nowhere"))
    error = fails(verb)
    assert "does not exist" in error.found
    assert isinstance(error, NoSuchDatabaseError)
    assert [shlex.split(error.command)[n] for n in (0, -1)] == ["createdb", "nowhere"]


def test_a_role_without_the_right_to_create(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", url(guarded, "weak", "weak", "weak"))
    for verb in ("reset", "migrate"):
        error = fails(verb)
        assert "permission denied" in error.found
        assert "GRANT" in error.note
    with raw.session(guarded.uri("weak")) as session:
        assert raw.tables(session) == []


def test_a_role_that_may_only_read(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    admin(guarded, "DROP DATABASE IF EXISTS readable", "CREATE DATABASE readable")
    pharmdb.reset(guarded.uri("readable"))
    with raw.session(guarded.uri("readable")) as session:
        session.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak")
    before = raw.everything(guarded.uri("readable"))
    monkeypatch.setenv("PHARMDB_URL", url(guarded, "weak", "weak", "readable"))
    for verb in ("seed", "reset"):
        error = fails(verb, PharmdbError)
        assert "permission denied" in error.found or "must be owner" in error.found
    assert raw.everything(guarded.uri("readable")) == before
    assert len(pharmdb.inspect().user) == 1


def test_names_with_every_odd_character(guarded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", url(guarded, HOSTILE, HOSTILE, HOSTILE))
    assert pharmdb.target().name == HOSTILE
    pharmdb.migrate()
    pharmdb.seed()
    taken = backed_up()
    assert taken.database == HOSTILE
    assert taken.path.parent == manifests.folder()
    pharmdb.reset()
    assert pharmdb.restore(backup=taken.id).backup == taken
    assert len(pharmdb.inspect().user) == 1
    assert len(pharmdb.check().checks) > 5
    assert not [name for name in os.listdir(manifests.folder()) if "/" in name or " " in name]


# -- in the middle ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doomed() -> Iterator[Server]:
    server = Server()
    server.stop()
    server.settings += " -c max_prepared_transactions=2"
    server.start()
    yield server
    server.close()


@pytest.fixture
def busy(doomed: Server) -> str:
    """The URL of a database with rows, on a server that tests may stop."""
    admin(doomed, "DROP DATABASE IF EXISTS busy WITH (FORCE)", "CREATE DATABASE busy")
    pharmdb.reset(doomed.uri("busy"), backup=False)
    with raw.session(doomed.uri("busy")) as session:
        raw.fill(session)
        session.execute("DELETE FROM user_settings")
    return doomed.uri("busy")


def in_the_middle(monkeypatch: pytest.MonkeyPatch, verb: str, harm: Callable[[], None]) -> list[int]:
    """Does the harm between two steps of the verb, within its transaction; what comes back counts how often."""
    done: list[int] = []
    place: tuple[Any, str] = {
        "reset": (dropping, "drop_everything"),
        "seed": (seeding, "apply"),
        "restore": (dropping, "drop_everything"),
        "backup": (postgresql_rows, "stored_rows"),
    }[verb]
    step = getattr(*place)

    def harmed(*arguments: Any, **options: Any) -> Any:
        result = step(*arguments, **options)
        if not done:
            done.append(1)
            harm()
            connection = next(a for a in arguments if isinstance(a, Connection))
            connection.exec_driver_sql("SELECT 1")
        return result

    monkeypatch.setattr(*place, harmed)
    return done


def test_a_server_that_stops_in_the_middle_of_a_reset(
    doomed: Server, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = raw.everything(busy)
    done = in_the_middle(monkeypatch, "reset", doomed.stop)
    try:
        with pytest.raises(UnavailableError) as error:
            pharmdb.reset(busy, backup=False)
        # Nobody answers now, and that is said.
        with pytest.raises(UnavailableError) as stopped:
            pharmdb.reset(busy, backup=False)
    finally:
        doomed.start()
    assert done
    assert "start the server" in stopped.value.note
    assert error.value
    assert raw.everything(busy) == before
    pharmdb.reset(busy, backup=False)


@pytest.mark.parametrize("verb", VERBS)
def test_a_stopped_server(doomed: Server, busy: str, verb: str) -> None:
    doomed.stop()
    try:
        with pytest.raises(UnavailableError) as error:
            getattr(pharmdb, verb)(busy)
        assert "start the server" in error.value.note
        checks = pharmdb.check(busy).checks
        assert (checks["state"] == "fail").any()
    finally:
        doomed.start()


def test_a_kept_connection_comes_back_with_its_server(doomed: Server, busy: str) -> None:
    def users() -> int:
        with transaction() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one())

    with transactions.keeping(targets.target(busy)) as transaction:
        before = users()
        doomed.stop()
        try:
            for _ in range(2):
                with pytest.raises(UnavailableError):
                    users()
        finally:
            doomed.start()
        assert users() == before


def terminate(server: Server) -> Callable[[], None]:
    def harm() -> None:
        with psycopg.connect(dsn(server.uri()), autocommit=True) as connection:
            ended = connection.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = 'busy' AND application_name = 'pharmdb'"
            ).fetchall()
            assert ended
            assert all(gone for (gone,) in ended)

    return harm


@pytest.mark.parametrize("verb", ["reset", "seed", "restore", "backup"])
def test_a_connection_that_is_cut_in_the_middle(
    doomed: Server, busy: str, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    kept = []
    if verb == "restore":
        kept = [backed_up(busy)]
        with raw.session(busy) as session:
            session.execute("DELETE FROM attempts")
    before = raw.everything(busy)
    done = in_the_middle(monkeypatch, verb, terminate(doomed))
    with pytest.raises((UnavailableError, BackupError)) as error:
        getattr(pharmdb, verb)(busy)
    assert done
    assert all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )
    assert raw.everything(busy) == before
    assert not [name for name in os.listdir(manifests.folder()) if "partial" in name]
    for entry in manifests.known():
        restoring.verify(entry)
    assert all(entry in manifests.known() for entry in kept)
    getattr(pharmdb, verb)(busy)


def test_a_client_that_waits_for_a_lock_is_cut_as_well(doomed: Server, busy: str) -> None:
    """Not between two statements but within one: a reset that waits for a reader's lock."""
    before = raw.everything(busy)
    failed: list[BaseException] = []

    def reset() -> None:
        try:
            pharmdb.reset(busy, backup=False)
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    with psycopg.connect(dsn(busy), application_name="reader") as reader:
        reader.execute("SELECT count(*) FROM users")
        thread = threading.Thread(target=reset)
        thread.start()
        with psycopg.connect(dsn(doomed.uri()), autocommit=True) as watcher:
            while not watcher.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = 'busy' AND application_name = 'pharmdb' "
                "AND wait_event_type = 'Lock'"
            ).fetchone():
                assert thread.is_alive()
            terminate(doomed)()
        thread.join(60)
    assert [type(error) for error in failed] == [LostConnectionError], failed
    assert raw.everything(busy) == before


# -- as it is run -----------------------------------------------------------------------------------


def test_a_prepared_transaction_is_named_as_the_holder_of_a_lock(
    doomed: Server, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.1")
    with psycopg.connect(dsn(busy)) as session:
        session.execute("DELETE FROM attempts")
        session.execute("PREPARE TRANSACTION 'ann''s'")
    try:
        with pytest.raises(LockedError) as error:
            pharmdb.reset(busy, backup=False)
        assert "prepared transaction ann's" in error.value.found
        assert "ROLLBACK PREPARED" in error.value.note
        (locks,) = [f for f in pharmdb.check(busy).findings if f.check == "locks"]
        assert locks.state == "warn"
        assert "ROLLBACK PREPARED" in locks.remedy
    finally:
        raw.run(busy, "ROLLBACK PREPARED 'ann''s'")
    pharmdb.reset(busy, backup=False)


def test_a_standby_is_read_and_never_written(doomed: Server, busy: str) -> None:
    signal = doomed.data / "standby.signal"
    doomed.stop()
    signal.touch()
    doomed.start()
    try:
        assert len(pharmdb.inspect(busy).user) == 1
        answers, *findings = pharmdb.check(busy).findings
        assert (answers.state, "standby" in answers.found) == ("warn", True)
        assert [f for f in findings if f.state == "fail"] == []
        for verb in ("seed", "migrate", "reset"):
            with pytest.raises(ReadOnlyError) as error:
                getattr(pharmdb, verb)(busy)
            assert "primary" in error.value.note
    finally:
        doomed.stop()
        signal.unlink()
        doomed.start()
