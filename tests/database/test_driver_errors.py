"""The drivers' errors go by their codes: no name or text of a user's statement changes what they are taken for."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import shutil
import socket
import socketserver
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, exc
from support import legacy, raw
from support.databases import DIALECTS, Databases
from support.postgres import Server

import pharmdb
from pharmdb.database import bulk, driver_errors, targets, transactions
from pharmdb.errors import (
    DamagedError,
    LockedError,
    LoginRefusedError,
    LostConnectionError,
    MissingFileError,
    NoPermissionError,
    NoRoomError,
    NoSuchDatabaseError,
    PharmdbError,
    ReadOnlyError,
    ServerDownError,
    TornSchemaError,
    UnavailableError,
)
from pharmdb.legacy import raw_rows

# Words by which errors were once told apart, and by which none may be.
WORDS = (
    *("locked", "busy", "full", "malformed", "not a database", "readonly", "read-only", "password", "database"),
    *("does not exist", "disk I/O error", "unable to open database file", "decode", "isoformat", "no such table"),
    *("no such column", "unknown function", "error in view", "cached plan", "permission denied"),
)


def fails(url: str, *statements: str) -> Exception:
    """What a transaction that writes ends with."""
    try:
        with transactions.writing(targets.target(url)) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    except (PharmdbError, exc.DBAPIError) as error:
        return error
    raise AssertionError(f"no error of {statements}")


# -- traps -------------------------------------------------------------------------------------------

TRAPS = {
    "sqlite": (
        "SELECT json_extract('x', '$.a')",
        "SELECT * FROM blocked_users",
        "SELECT users.readonly FROM users",
        "SELECT malformed('x')",
        "ATTACH '/nowhere/unable to open database file' AS other",
    ),
    "postgresql": (
        "SELECT CAST('malformed' AS json)",
        "SELECT * FROM blocked_users",
        "SELECT password_database_does_not_exist FROM users",
        "SELECT \"database does not exist\"('password')",
        "SELECT nowhere.full()",
        # Its hint is about full text indexing.
    ),
}
BOTH = (
    "CREATE TEMPORARY TABLE u (full_name text NOT NULL); INSERT INTO u VALUES (NULL)",
    "CREATE TEMPORARY TABLE u (n int, CONSTRAINT locked_readonly CHECK (n > 0)); INSERT INTO u VALUES (0)",
)


@pytest.mark.parametrize(
    ("dialect", "statement"), [(dialect, each) for dialect in DIALECTS for each in (*TRAPS[dialect], *BOTH)]
)
def test_a_statement_that_fails_by_itself_is_no_matter_of_the_database(migrated: str, statement: str) -> None:
    assert isinstance(fails(migrated, *statement.split("; ")), exc.DBAPIError)


SHAPES = {
    "table": "SELECT * FROM {name}",
    "column": "SELECT users.{name} FROM users",
    "function": "SELECT {name}(1)",
    "empty": "CREATE TEMPORARY TABLE t ({name} text NOT NULL); INSERT INTO t VALUES (NULL)",
    "rule": "CREATE TEMPORARY TABLE t (n int, CONSTRAINT {name} CHECK (n > 0)); INSERT INTO t VALUES (0)",
    "twice": "CREATE TEMPORARY TABLE t ({name} text UNIQUE); INSERT INTO t VALUES ({text}), ({text})",
    "text": "SELECT {text} FROM {name}",
    "reserved": "SELECT {text} {text} {text}",
}


@pytest.fixture(scope="module")
def standing(databases: Databases) -> dict[str, str]:
    """A database of each kind, at head, in which nothing is written."""
    return {dialect: databases.migrated(dialect) for dialect in DIALECTS}


_PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0%;", exclude_categories=["Cs"]), max_size=8)
NAMES = st.builds(lambda a, word, b: (a + word + b)[:15] or "x", _PLAIN, st.sampled_from(["", *WORDS]), _PLAIN)
TEXTS = st.builds("{}{}{}".format, _PLAIN, st.sampled_from(["", *WORDS]), _PLAIN)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES, text=TEXTS)
@example(name="blocked_users", text="database is locked")
@example(name="full_name", text="disk full")
@example(name="does not exist", text='password of database "x"')
def test_no_name_and_no_text_changes_the_type_of_an_error(
    standing: dict[str, str], dialect: str, shape: str, name: str, text: str
) -> None:
    def told(name: str, text: str) -> tuple[type, type | None]:
        quoted = '"' + name.replace('"', '""') + '"'
        statements = SHAPES[shape].format(name=quoted, text="'" + text.replace("'", "''") + "'").split("; ")
        error = fails(standing[dialect], *statements)
        return type(error), type(getattr(error, "orig", None))

    assert told(f"none {name}", text) == told("plain", "plain")


# -- what is known of SQLite --------------------------------------------------------------------------


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


SET_ASIDE = "mv {path} {path}.damaged && pharmdb reset --database-url {url}"
HARM: dict[str, tuple[Callable[[Path], object], type[PharmdbError], str]] = {
    "no file": (Path.unlink, MissingFileError, "pharmdb reset --database-url {url}"),
    "no folder": (
        lambda path: shutil.rmtree(path.parent),
        MissingFileError,
        "mkdir -p {folder} && pharmdb reset --database-url {url}",
    ),
    "a folder": (raw.folder_instead, UnavailableError, ""),
    "noise": (lambda path: path.write_bytes(b"noise" * 999), DamagedError, SET_ASIDE),
    "cut": (lambda path: os.truncate(path, 9000), DamagedError, SET_ASIDE),
    "a schema that can't be read": (
        lambda path: rewrite(path, "replace(sql, 'CREATE', 'CRATE')"),
        DamagedError,
        SET_ASIDE,
    ),
    "a schema that isn't UTF-8": (
        lambda path: rewrite(path, "'CREATE' || CAST(x'ffff' AS TEXT)"),
        DamagedError,
        SET_ASIDE,
    ),
}


def rewrite(path: Path, sql: str, name: str = "attempts") -> None:
    """Breaks the stored text of a table, as a damaged page does."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(f"UPDATE sqlite_master SET sql = {sql} WHERE name = ?", (name,))
    connection.close()


@pytest.mark.parametrize("what", HARM)
def test_a_file_that_can_not_be_used_has_its_type_and_command(databases: Databases, tmp_path: Path, what: str) -> None:
    harm, kind, command = HARM[what]
    (tmp_path / "it's here").mkdir()
    path = tmp_path / "it's here" / "x.db"
    path.write_bytes(raw.path(databases.migrated("sqlite")).read_bytes())
    harm(path)
    with pytest.raises(PharmdbError) as error, transactions.reading(targets.target(url_of(path))) as connection:
        connection.exec_driver_sql("SELECT * FROM attempts").all()
    assert type(error.value) is kind
    words = {"url": url_of(path), "path": str(path), "folder": str(path.parent)}
    assert error.value.command == command.format(**{name: shlex.quote(word) for name, word in words.items()})
    assert error.value.command or error.value.note


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_text_that_is_not_utf8_is_damage(seeded: str) -> None:
    raw.run(seeded, "UPDATE progress_by_tag SET tag = CAST(x'ff' AS TEXT) WHERE id = 1")
    with pytest.raises(DamagedError), transactions.reading(targets.target(seeded)) as connection:
        connection.exec_driver_sql("SELECT tag FROM progress_by_tag").all()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_database_that_may_not_grow_is_full(migrated: str) -> None:
    error = fails(migrated, "PRAGMA max_page_count = 1", "CREATE TABLE t (x)", "INSERT INTO t VALUES (zeroblob(99999))")
    assert type(error) is NoRoomError


# -- what is known of both ------------------------------------------------------------------------------


def test_a_lock_is_told_by_its_code(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.1")
    with transactions.writing(targets.target(migrated)) as connection:
        if migrated.startswith("postgresql"):
            connection.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        assert type(fails(migrated, "UPDATE users SET role = 'ADMIN'")) is LockedError


TORN = {
    "a table": "DROP TABLE bookmarks",
    "a column": "ALTER TABLE bookmarks RENAME COLUMN entity_id TO entity",
}


@pytest.mark.parametrize("what", TORN)
def test_a_schema_that_lacks_what_its_revision_has_is_torn(migrated: str, what: str) -> None:
    raw.run(migrated, TORN[what])
    error = fails(migrated, "SELECT entity_id FROM bookmarks")
    assert isinstance(error, TornSchemaError)
    assert error.command == targets.command(targets.target(migrated), "pharmdb doctor")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_rule_that_calls_a_function_that_there_is_not_is_a_torn_schema(migrated: str) -> None:
    rewrite(raw.path(migrated), "replace(sql, 'entity_type IN', 'nowhere(entity_type) IN')")
    insert = "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) VALUES (1, 'case', 'x', '{}', 1)"
    error = fails(migrated, insert)
    assert isinstance(error, TornSchemaError), error


def test_a_database_without_a_revision_lacks_nothing(empty: str) -> None:
    raw.run(empty, "CREATE TABLE own (n int)")
    assert isinstance(fails(empty, "SELECT * FROM bookmarks"), exc.DBAPIError)


def test_a_connection_for_reading_that_is_to_write_is_not_told_to_change_the_file(migrated: str) -> None:
    with pytest.raises(ReadOnlyError) as error, transactions.reading(targets.target(migrated)) as connection:
        connection.exec_driver_sql("UPDATE users SET role = 'ADMIN'")
    assert error.value.command == ""
    assert "transactions.writing" in error.value.note


# -- what is known of PostgreSQL ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    """A server that wants passwords, and knows joe."""
    own = Server()
    try:
        raw.run(own.uri(), "CREATE ROLE joe LOGIN PASSWORD 'right'", "CREATE ROLE sleeper NOLOGIN")
        raw.run(own.uri(), "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0", "CREATE ROLE barred LOGIN")
        rules = own.data / "pg_hba.conf"
        rules.write_text(f"local all joe scram-sha-256\nlocal all barred reject\n{rules.read_text()}")
        raw.run(own.uri(), "SELECT pg_reload_conf()")
        while logs_in(own.uri().replace("//postgres@", "//joe:wrong@")):
            pass
        yield own
    finally:
        own.close()


def logs_in(url: str) -> bool:
    with suppress(psycopg.OperationalError), raw.session(url):
        return True
    return False


def refusal(url: str, monkeypatch: pytest.MonkeyPatch) -> PharmdbError:
    monkeypatch.setenv("PHARMDB_URL", url)
    with pytest.raises(PharmdbError) as error, transactions.reading(targets.target()):
        pass
    return error.value


@pytest.mark.parametrize(
    ("who", "database", "kind"),
    [
        ("joe:right", "nowhere", NoSuchDatabaseError),
        ("postgres", "does not exist", NoSuchDatabaseError),
        ("joe:wrong", "postgres", LoginRefusedError),
        ("joe:wrong", "nowhere", LoginRefusedError),
        ("joe", "postgres", LoginRefusedError),
        ("nobody", "postgres", LoginRefusedError),
        ("sleeper", "postgres", LoginRefusedError),
        ("crowd", "postgres", LoginRefusedError),
        ("barred", "postgres", LoginRefusedError),
        ("password", "database", LoginRefusedError),
    ],
)
def test_a_connection_that_is_refused_has_its_type(
    strict: Server, monkeypatch: pytest.MonkeyPatch, who: str, database: str, kind: type[PharmdbError]
) -> None:
    error = refusal(strict.uri(database).replace("//postgres@", f"//{who}@"), monkeypatch)
    assert type(error) is kind
    if kind is NoSuchDatabaseError:
        assert shlex.split(error.command)[-1] == database
    else:
        assert ("password" in error.note) == who.startswith("joe")


class Plain(socketserver.StreamRequestHandler):
    """What a server without SSL says: no, and to whoever asks for none that there is no such role."""

    def handle(self) -> None:
        while len(begin := self.rfile.read(8)) == 8:
            length, code = struct.unpack("!ii", begin)
            # The requests for SSL and for GSSAPI.
            if code not in (80_877_103, 80_877_104):
                break
            self.wfile.write(b"N")
        else:
            return
        self.rfile.read(length - 8)
        fields = b"SFATAL\0C28000\0Mno such role\0\0"
        self.wfile.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)


def test_a_server_without_ssl_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        # In a process of its own: libpq's ping doesn't let other threads run.
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
        process.start()
        error = refusal(f"postgresql://ann@127.0.0.1:{server.server_address[1]}/x?sslmode=require", monkeypatch)
        process.kill()
        process.join()
    assert type(error) is LoginRefusedError
    assert "sslmode" in error.note


def test_the_command_for_a_missing_database_makes_it(strict: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = strict.uri("a new one")
    monkeypatch.setenv("PATH", f"{strict.binaries}:{os.environ['PATH']}")
    assert os.system(refusal(url, monkeypatch).command) == 0
    with transactions.reading(targets.target(url)) as connection:
        assert connection.exec_driver_sql("SELECT current_database()").scalar_one() == "a new one"


@pytest.mark.parametrize("database", ["x", "password", "does not exist"])
def test_no_server_is_told_whatever_the_database_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for place in (f"password@127.0.0.1:{port}/{database}", f"ann@/{database}?host={tmp_path}", "ann@nohost.invalid/x"):
        assert type(refusal(f"postgresql://{place}", monkeypatch)) is ServerDownError


def test_a_connection_that_is_cut_is_lost_and_the_server_is_there(databases: Databases) -> None:
    url = databases.migrated("postgresql")
    error = fails(url, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert type(error) is LostConnectionError


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_right_that_is_missing(migrated: str) -> None:
    assert type(fails(migrated, "SET LOCAL ROLE pg_monitor", "SELECT * FROM users")) is NoPermissionError


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_plan_that_no_longer_fits(migrated: str) -> None:
    statements = ("PREPARE p AS SELECT * FROM bookmarks", "EXECUTE p", "ALTER TABLE bookmarks ADD x int", "EXECUTE p")
    assert type(fails(migrated, *statements)) is UnavailableError


# -- whose error it is -----------------------------------------------------------------------------------


@pytest.fixture
def page_limit() -> Iterator[list[int]]:
    """Connections of SQLAlchemy get at most so many pages; none with an empty list."""
    limit: list[int] = []

    def connect(connection: Any, record: Any) -> None:
        if limit and isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {limit[0]}")

    event.listen(Engine, "connect", connect)
    yield limit
    event.remove(Engine, "connect", connect)


def test_a_target_without_room_is_not_told_as_the_source(
    databases: Databases, tmp_path: Path, page_limit: list[int]
) -> None:
    source, url = legacy.sample(tmp_path), databases.empty("sqlite")
    page_limit.append(20)
    with pytest.raises(NoRoomError) as error:
        pharmdb.upgrade(str(source), url)
    assert raw.path(url).name in error.value.expected
    assert source.name not in str(error.value)
    assert str(raw.path(url).parent) in error.value.note


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_BUSY])
def test_an_error_while_the_target_is_written_is_the_targets(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(*_: object) -> None:
        error = sqlite3.DatabaseError("it happened")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(bulk, "insert", fail)
    source, url = legacy.sample(tmp_path), databases.empty("sqlite")
    with pytest.raises(PharmdbError) as error:
        pharmdb.upgrade(str(source), url)
    assert raw.path(url).name in error.value.expected
    assert source.name not in str(error.value)
    assert ".dump" not in error.value.command


def test_an_error_of_the_source_while_the_target_is_written_is_the_sources(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        error = sqlite3.DatabaseError("it happened")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    monkeypatch.setattr(raw_rows.Source, "name", fail)
    source, url = legacy.sample(tmp_path), databases.empty("sqlite")
    with pytest.raises(DamagedError) as error:
        pharmdb.upgrade(str(source), url)
    assert str(source) in error.value.command
    assert ".dump" in error.value.command
    assert error.value.unchanged == "the source and the target"


def test_an_error_that_one_database_does_not_know_is_not_taken_for_the_next_ones(
    databases: Databases, tmp_path: Path
) -> None:
    inner = targets.target(databases.migrated("sqlite"))
    missing = targets.of_file(tmp_path / "none.db")
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    with (
        pytest.raises(sqlite3.OperationalError),
        driver_errors.explaining(missing),
        driver_errors.explaining(inner),
    ):
        raise error
    with pytest.raises(MissingFileError), driver_errors.explaining(missing):
        raise_anew()


def raise_anew() -> None:
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    raise error
