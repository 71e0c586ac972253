"""From a URL to a transaction: what is refused before anything is opened, and what a failure says."""

from __future__ import annotations

import os
import pickle
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from support import raw
from support.databases import Databases

import pharmdb
from pharmdb import settings
from pharmdb.database import environments, locks, targets, transactions
from pharmdb.errors import LockedError, ParameterError, PharmdbError, ProtectedError, SeedError, UnavailableError, mask

SECRET = "s3cret"


def has_four_parts(error: pytest.ExceptionInfo[PharmdbError]) -> bool:
    text = str(error.value)
    parts = [text.index(f"{part}:") for part in ("expected", "found", "unchanged", "next")]
    return parts == sorted(parts) and all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )


# -- target -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".", "notebooks", "/"])
def test_a_relative_path_starts_at_the_project_wherever_the_process_does(
    monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(settings.SOURCE / folder)
    target = targets.target("sqlite:///data/some.db")
    assert target.path == Path(pharmdb.__file__).resolve().parents[1] / "data" / "some.db"
    assert str(target) == "sqlite:///data/some.db"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("/tmp/x.db", "/tmp/x.db"),
        ("/tmp/a folder/x y.db", "/tmp/a folder/x y.db"),
        ("/tmp/100%/ä#&;'.db", "/tmp/100%/ä#&;'.db"),
        ("/tmp/a%20b.db", "/tmp/a b.db"),
        ("/tmp/a%2520b.db", "/tmp/a%20b.db"),
    ],
)
def test_an_absolute_path_is_read_as_a_url_and_shown_so_that_it_can_be_typed_again(written: str, path: str) -> None:
    target = targets.target(f"sqlite:///{written}")
    assert target.path == Path(path)
    assert target.name == Path(path).name
    assert targets.target(str(target)).path == Path(path)


@pytest.mark.parametrize("name", ["two words.db", "100%.db", "ü.db", "a#b.db", "a&b=c.db", "it's.db"])
def test_a_file_with_an_odd_name_is_made_under_that_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a 50% folder"
    folder.mkdir()
    with transactions.changing_schema(targets.target(f"sqlite:///{folder / name}")) as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
    with transactions.reading(targets.target(f"sqlite:///{folder / name}")) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar_one() == 0
    assert {p.name.removesuffix("-wal").removesuffix("-shm") for p in folder.iterdir()} == {name}


def test_without_a_parameter_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", "sqlite:////tmp/environment.db")
    assert str(targets.target()) == "sqlite:////tmp/environment.db"
    assert str(targets.target("sqlite:////tmp/parameter.db")) == "sqlite:////tmp/parameter.db"
    monkeypatch.delenv("PHARMDB_URL")
    assert str(targets.target()) == targets.DEFAULT_URL


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file:x.db",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///x.db?mode=ro",
        "sqlite:///what?.db",
        "sqlite://data/pharm.db",
        "sqlite://user:s3cret@/pharm.db",
        "mysql://user@host/db",
        f"mysql://user:{SECRET}@host/db",
        f"mysql+pymysql://user:{SECRET}@host/db",
        f"postgresql+asyncpg://user:{SECRET}@host/db",
        f"postgresql+psycopg2://user:{SECRET}@host/db",
        f"nonsense://user:{SECRET}@host/db",
        f"no url {SECRET}",
        f"user:{SECRET}@host/db",
        f"postgresql://user:{SECRET}@host:port/db",
        f"postgresql://user:p@{SECRET}@host/db",
        f"postgresql://user:p@{SECRET}/x@host/db",
        f"postgresql://user:p@{SECRET}?x@host/db",
        f"postgres://user:p@x/{SECRET}@host/db",
        f"postgresql://user:p?{SECRET}@host/db",
        f"postgresql://us/er:{SECRET}@host/db",
        f"postgresql://host?password=p@{SECRET}",
        f"postgresql://host/db?password=p&{SECRET}=x",
        f"sqlite://user:p@x/{SECRET}@host/db",
        f"sqlite:///us/er:{SECRET}@host?x",
        "postgresql://host/db?sslmod=require",
        "data/pharm.db",
        " ",
    ],
)
@pytest.mark.parametrize("source", ["parameter", "PHARMDB_URL"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_a_secret(
    monkeypatch: pytest.MonkeyPatch, url: str, source: str
) -> None:
    monkeypatch.setenv("PHARMDB_URL", url)
    with pytest.raises(ParameterError) as error:
        targets.target(url if source == "parameter" else "")
    assert has_four_parts(error)
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("value", [7, 1.5, Path("x.db"), ["sqlite:///x.db"]])
def test_a_url_of_another_type_is_refused(value: Any) -> None:
    with pytest.raises(ParameterError):
        targets.target(value)


PASSWORDS = [
    f"postgresql://user:{SECRET}@host/db",
    f"postgresql+psycopg://user:{SECRET}@host:5432/db",
    f"postgresql://host/db?user=user&password={SECRET}",
    f"postgres://user:{SECRET}/x@host/db",
    f"postgresql://host/db?scram_client_key={SECRET}",
    f"postgresql://host/db?sslpassword={SECRET}",
    f"postgresql://host/db?oauth_client_secret={SECRET}",
    f"postgresql://host/db?options=-c%20my.token={SECRET}",
    "postgresql://user:@host/db",
]


@pytest.mark.parametrize("url", PASSWORDS)
def test_a_parameter_with_a_password_is_refused_with_a_way_out(url: str) -> None:
    with pytest.raises(ParameterError, match="PHARMDB_URL") as error:
        targets.target(url)
    assert SECRET not in str(error.value)
    assert has_four_parts(error)


@pytest.mark.parametrize("url", PASSWORDS)
def test_a_password_in_the_environment_is_used_and_never_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PHARMDB_URL", url)
    target = targets.target()
    assert SECRET not in f"{target} {target!r} {target.name} {[target]}"


@pytest.mark.parametrize(
    ("url", "text", "name"),
    [
        ("postgresql://user@host/db", "postgresql://user@host/db", "db"),
        ("postgresql+psycopg://user@host:5433/db", "postgresql://user@host:5433/db", "db"),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=%2Frun%2Fpg", "db"),
        ("postgresql://?service=learners&dbname=db", "postgresql://?dbname=db&service=learners", "db"),
    ],
)
def test_both_spellings_of_postgresql_mean_psycopg(url: str, text: str, name: str) -> None:
    target = targets.target(url)
    assert (target.url.drivername, str(target), target.name) == ("postgresql+psycopg", text, name)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"postgresql://user:{SECRET}@host/db", "postgresql://user:***@host/db"),
        (f"postgresql+psycopg://user:{SECRET}@host/db x", "postgresql+psycopg://user:***@host/db x"),
        (f"POSTGRESQL://user:{SECRET}@host", "POSTGRESQL://user:***@host"),
        (f"postgresql://:{SECRET}@host", "postgresql://:***@host"),
        (f"postgresql://user:a/b:{SECRET}@host", "postgresql://user:***@host"),
        (f"postgresql://user:p@{SECRET}@host/db", "postgresql://user:***@host/db"),
        (f"host=h password={SECRET} user=u", "host=h password=*** user=u"),
        (f"host=h password = '{SECRET} {SECRET}' user=u", "host=h password = *** user=u"),
        (f"postgresql://host/db?password={SECRET}&user=u", "postgresql://host/db?password=***&user=u"),
        (f"postgresql://us/er:p@x/{SECRET}?y@host/db", "postgresql://us/er:***@host/db"),
        (f"postgresql://user:1/{SECRET}@host/db", "postgresql://user:***@host/db"),
        (f"'postgresql://user:p {SECRET} x@host/db'", "'postgresql://user:***@host/db'"),
        (f"host=h scram_client_key={SECRET} user=u", "host=h scram_client_key=*** user=u"),
        (
            f"primary_conninfo = 'user=u password=''a {SECRET}'' host=h'",
            "primary_conninfo = 'user=u password=*** host=h'",
        ),
        (f"password='a\\'{SECRET}' user=u", "password=*** user=u"),
        (f"prog --password {SECRET} --host h", "prog --password *** --host h"),
        (f"prog --api-token '{SECRET} x' h", "prog --api-token *** h"),
        (f"prog --db-password={SECRET} h", "prog --db-password=*** h"),
        (f"PGPASSWORD={SECRET} psql", "PGPASSWORD=*** psql"),
        (f"ALTER ROLE x PASSWORD $a$it's {SECRET}$a$ LOGIN", "ALTER ROLE x PASSWORD *** LOGIN"),
        (f"ALTER ROLE x PASSWORD E'a\\'{SECRET}' LOGIN", "ALTER ROLE x PASSWORD *** LOGIN"),
        (f"ALTER ROLE x PASSWORD '{SECRET}", "ALTER ROLE x PASSWORD ***"),
        (f'{{"api_key": "{SECRET}", "n": 1}}', '{"api_key": ***, "n": 1}'),
        (f"Authorization: Bearer {SECRET} x", "Authorization: Bearer *** x"),
        ("pg_dump --no-password --file=x", "pg_dump --no-password --file=x"),
        ("http://localhost:5432/ is not ann@example.test", "http://localhost:5432/ is not ann@example.test"),
        ("two: postgresql://a:x@h and postgresql://b:y@h", "two: postgresql://a:***@h and postgresql://b:***@h"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("sqlite:///data/pharm.db", "sqlite:///data/pharm.db"),
        ("ann@example.test: no password given", "ann@example.test: no password given"),
    ],
)
def test_mask_takes_out_the_password_and_nothing_else(text: str, masked: str) -> None:
    assert mask(text) == masked
    with pytest.raises(PharmdbError) as error:
        raise PharmdbError(expected=text, found=text, unchanged=text, command=text, note=text)
    assert SECRET not in str(error.value)
    assert SECRET not in repr(error.value)


# -- what can't be opened ---------------------------------------------------------------------------


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def missing(path: Path) -> Path:
    return path


def missing_folder(path: Path) -> Path:
    return path / "nowhere" / "x.db"


def garbage(path: Path) -> Path:
    path.write_bytes(b"This is not a database. " * 100)
    return path


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (folder, "is a folder"),
        (missing, "no file"),
        (missing_folder, "does not exist"),
        (garbage, "not a database"),
    ],
)
@pytest.mark.parametrize("opening", [transactions.reading, transactions.writing])
def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path, make: Any, found: str, opening: Any) -> None:
    path = make(tmp_path / "x.db")
    before = sorted(tmp_path.rglob("*"))
    content = path.read_bytes() if path.is_file() else b""
    with pytest.raises(UnavailableError, match=found) as error, opening(targets.target(f"sqlite:///{path}")) as c:
        c.exec_driver_sql("SELECT count(*) FROM users")
    assert has_four_parts(error)
    assert sorted(tmp_path.rglob("*")) == before, "no file was made"
    assert not path.is_file() or path.read_bytes() == content


def read_all(url: str) -> None:
    with transactions.reading(targets.target(url)) as connection:
        for table in raw.TABLES:
            connection.exec_driver_sql(f"SELECT * FROM {table}").all()


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("size", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_unavailable(seeded: str, size: float) -> None:
    path = raw.path(seeded)
    os.truncate(path, int(path.stat().st_size * size))
    with pytest.raises(UnavailableError, match=r"malformed|not a database") as error:
        read_all(seeded)
    assert has_four_parts(error)


def test_a_missing_database_of_the_server_is_unavailable(databases: Any) -> None:
    url = databases.empty("postgresql").replace("/test_", "/no_test_")
    with pytest.raises(UnavailableError, match="does not exist") as error, transactions.reading(targets.target(url)):
        pass
    assert has_four_parts(error)
    assert shlex.split(error.value.command)[-1].startswith("no_test_")


@pytest.mark.parametrize("opening", [transactions.reading, transactions.writing, transactions.changing_schema])
def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, opening: Any) -> None:
    url = f"postgresql://user@/db?host={tmp_path}"
    with pytest.raises(UnavailableError, match="start the server") as error, opening(targets.target(url)):
        pass
    assert has_four_parts(error)


# -- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO users (email, password_hash) VALUES ('ann@example.test', 'x')",
        "UPDATE users SET role = 'ADMIN'",
        "DELETE FROM users",
        "CREATE TABLE extra (id INTEGER)",
        "DROP TABLE bookmarks",
    ],
)
def test_a_reading_connection_cannot_write(seeded: str, sql: str) -> None:
    before = raw.everything(seeded)
    with (
        pytest.raises(UnavailableError, match=r"read-?only"),
        transactions.reading(targets.target(seeded)) as connection,
    ):
        connection.exec_driver_sql(sql)
    assert raw.everything(seeded) == before


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_reading_connection_cannot_be_talked_into_writing(seeded: str) -> None:
    def switch_and_write() -> None:
        with transactions.reading(targets.target(seeded)) as connection:
            connection.exec_driver_sql("PRAGMA query_only = OFF")
            connection.exec_driver_sql("DELETE FROM bookmarks")

    with pytest.raises(UnavailableError, match=r"read-?only"):
        switch_and_write()


def test_a_writing_connection_enforces_owners(migrated: str) -> None:
    sql = "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (-1, 'drug', 'x')"
    with (
        pytest.raises(Exception, match=r"(?i)foreign key"),
        transactions.writing(targets.target(migrated)) as connection,
    ):
        connection.exec_driver_sql(sql)
    assert raw.everything(migrated)[1]["bookmarks"] == []


def test_an_error_rolls_a_writing_transaction_back(seeded: str) -> None:
    before = raw.everything(seeded)

    def write_and_fail() -> None:
        with transactions.writing(targets.target(seeded)) as connection:
            connection.exec_driver_sql("DELETE FROM users")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        write_and_fail()
    assert raw.everything(seeded) == before


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_schema_change_that_leaves_an_orphan_is_rolled_back(seeded: str) -> None:
    before = raw.everything(seeded)
    with (
        pytest.raises(PharmdbError, match="user_settings row") as error,
        transactions.changing_schema(targets.target(seeded)) as connection,
    ):
        connection.exec_driver_sql("DELETE FROM users")
    assert has_four_parts(error)
    assert raw.everything(seeded) == before


# -- locks ------------------------------------------------------------------------------------------

LOCKS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE"}


def test_a_lock_that_another_holds_is_waited_for_and_then_named(
    seeded: str, dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    before = raw.everything(seeded)
    for verb in (pharmdb.seed, pharmdb.reset):
        with raw.session(seeded) as other:
            other.execute(LOCKS[dialect])
            started = time.monotonic()
            with pytest.raises(LockedError, match=r"within 0\.2 s") as error:
                verb(seeded)
            assert time.monotonic() - started < 10
            assert has_four_parts(error)
    assert raw.everything(seeded) == before
    pharmdb.seed(seeded)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_schema_changes_and_seeds_wait_for_each_other(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    with raw.session(seeded) as other:
        other.execute(f"BEGIN; SELECT pg_advisory_xact_lock({locks.ADVISORY_LOCK})")
        for verb in (pharmdb.seed, pharmdb.migrate):
            with pytest.raises(LockedError):
                verb(seeded)


def count_users(connection: Any) -> int:
    return int(connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one())


@pytest.fixture
def grown(seeded: str) -> str:
    """One user more than a reset leaves."""
    with raw.session(seeded) as session:
        session.execute(raw.insert("users"))
    return seeded


def test_a_reader_keeps_its_snapshot_through_a_seed_and_another_users_writes(grown: str) -> None:
    target = targets.target(grown)
    with transactions.reading(target) as reader:
        before = count_users(reader)
        with transactions.writing(target) as writer:
            writer.exec_driver_sql("DELETE FROM users")
        pharmdb.seed(grown)
        assert count_users(reader) == before
    with transactions.reading(target) as reader:
        assert count_users(reader) == before - 1


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_reader_keeps_its_snapshot_through_a_reset_and_then_sees_the_new_state(grown: str) -> None:
    target = targets.target(grown)
    with transactions.reading(target) as reader:
        before = count_users(reader)
        pharmdb.reset(grown)
        assert count_users(reader) == before
    with transactions.reading(target) as reader:
        assert count_users(reader) == before - 1


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_reset_on_postgresql_waits_for_a_reader_who_keeps_its_snapshot(
    grown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    target = targets.target(grown)
    with transactions.reading(target) as reader:
        before = count_users(reader)
        with pytest.raises(LockedError):
            pharmdb.reset(grown)
        assert count_users(reader) == before
    pharmdb.reset(grown)
    with transactions.reading(target) as reader:
        assert count_users(reader) == before - 1


# -- the environment --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("configured", "remembered", "expected"),
    [
        ("", "", "development"),
        ("test", "", "test"),
        ("production", "", "production"),
        ("development", "development", "development"),
        ("test", "test", "test"),
        ("development", "production", "production"),
        ("test", "production", "production"),
        ("production", "development", "production"),
        ("production", "test", "production"),
        ("production", "production", "production"),
    ],
)
def test_the_stricter_of_the_setting_and_the_stamp_counts_and_is_remembered(
    empty: str, monkeypatch: pytest.MonkeyPatch, configured: str, remembered: str, expected: str
) -> None:
    target = targets.target(empty)
    if remembered:
        monkeypatch.setenv("PHARMDB_ENV", remembered)
        with transactions.changing_schema(target) as connection:
            environments.stamp_environment(connection)
    monkeypatch.setenv("PHARMDB_ENV", configured)
    with transactions.changing_schema(target) as connection:
        assert environments.environment(connection) == expected
        environments.stamp_environment(connection)
    with raw.session(empty) as session:
        assert session.execute("SELECT id, name FROM pharmdb_environment").fetchall() == [(1, expected)]
    monkeypatch.delenv("PHARMDB_ENV")
    with transactions.changing_schema(target) as connection:
        assert environments.environment(connection) == expected
        if expected == "production":
            with pytest.raises(ProtectedError, match="the database itself says production"):
                environments.refuse_production(connection, "do this")
        else:
            environments.refuse_production(connection, "do this")


def test_migrating_never_makes_a_production_database_anything_else(migrated: str, monkeypatch: Any) -> None:
    for name in ("production", "development", "test", "production"):
        monkeypatch.setenv("PHARMDB_ENV", name)
        pharmdb.migrate(migrated)
    with raw.session(migrated) as session:
        assert session.execute("SELECT name FROM pharmdb_environment").fetchall() == [("production",)]


@pytest.mark.parametrize("sql", ["VALUES (2, 'test')", "VALUES (1, 'test')", "VALUES (1, 'staging')"])
def test_the_stamp_is_one_row_with_a_known_name(migrated: str, sql: str) -> None:
    with raw.session(migrated) as session, pytest.raises(raw.REFUSED):
        session.execute(f"INSERT INTO pharmdb_environment (id, name) {sql}")


@pytest.mark.parametrize("value", ["prod", "Production", "PRODUCTION", " production", "production\n", "0"])
def test_an_unknown_environment_is_refused_by_every_verb(
    migrated: str, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("PHARMDB_ENV", value)
    before = raw.everything(migrated)
    for verb in (pharmdb.migrate, pharmdb.seed, pharmdb.reset):
        with pytest.raises(ParameterError, match="PHARMDB_ENV") as error:
            verb(migrated)
        assert has_four_parts(error)
    assert raw.everything(migrated) == before


@pytest.mark.parametrize("value", ["abc", "0", "-1", "nan", "inf", "1e9", "5s"])
def test_a_lock_timeout_that_is_no_time_is_refused(migrated: str, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", value)
    with pytest.raises(ParameterError, match="PHARMDB_LOCK_TIMEOUT") as error:
        pharmdb.migrate(migrated)
    assert has_four_parts(error)


def test_many_transactions_over_one_connection_each_commit_or_roll_back(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.keeping(target) as transaction:
        with transaction() as connection:
            connection.exec_driver_sql("UPDATE users SET role = 'ADMIN'")
            driver = connection.connection.dbapi_connection
        with pytest.raises(ZeroDivisionError), transaction() as connection:
            print(1 / (connection.exec_driver_sql("DELETE FROM users").rowcount - 2))
        with transaction() as connection:
            assert connection.connection.dbapi_connection is driver
            assert set(connection.exec_driver_sql("SELECT role FROM users").scalars()) == {"ADMIN"}
    with transactions.reading(target) as connection:
        assert set(connection.exec_driver_sql("SELECT role FROM users").scalars()) == {"ADMIN"}


def test_a_kept_connection_follows_a_file_that_takes_the_place_of_its_own(databases: Databases) -> None:
    url, other = databases.seeded("sqlite"), databases.seeded("sqlite")
    path = raw.path(url)
    with transactions.keeping(targets.target(url)) as transaction:
        with transaction() as connection:
            connection.exec_driver_sql("DELETE FROM progress_by_tag")
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").rename(path.with_name(f"aside.db{end}"))
        for _ in range(2):
            with pytest.raises(UnavailableError, match="no file"), transaction():
                pass
        raw.path(other).rename(path)
        with transaction() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM progress_by_tag").scalar_one() == 4
            connection.exec_driver_sql("DELETE FROM bookmarks")


def test_a_kept_connection_tells_a_broken_rule_and_goes_on(seeded: str) -> None:
    with transactions.keeping(targets.target(seeded)) as transaction:
        with pytest.raises(IntegrityError), transaction() as connection:
            connection.exec_driver_sql("UPDATE users SET role = 'NOBODY'")
        with transaction() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one() == 2


@pytest.mark.parametrize("kind", [LockedError, SeedError])
def test_an_error_comes_back_whole_from_another_process(kind: type[PharmdbError]) -> None:
    error = (
        SeedError([("users.csv", 2, "email", "x", "not an e-mail address")], directory="seeds")
        if kind is SeedError
        else kind(expected="a lock", found="password=secret", command="true", note="wait")
    )
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
