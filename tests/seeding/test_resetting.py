"""Reset: from any state of ours to the known-good one, in one transaction; from nobody else's without a word."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event
from support import raw
from support.databases import DIALECTS, Databases
from support.raw import ask, run
from support.seeds import KNOWN_GOOD

import pharmdb
from pharmdb import settings
from pharmdb.database import environments, servers, targets, transactions
from pharmdb.errors import DamagedError, LockedError, ProtectedError, SeedError, UnavailableError
from pharmdb.models import MODELS
from pharmdb.schema import drift, dropping, revisions
from pharmdb.seeding import passwords, seeding

OURS = {model.__tablename__ for model in MODELS} | {"alembic_version", "pharmdb_environment", "pharmdb_revisions"}


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def name_of(url: str) -> str:
    return targets.target(url).name


def assert_known_good(url: str) -> None:
    """The fingerprint, nothing but our tables, no drift, no orphan, and passwords that verify."""
    with pharmdb.reading(pharmdb.target(url)) as connection:
        assert pharmdb.fingerprint(connection, seed=True) == KNOWN_GOOD
        assert drift.differences(connection) == []
        assert {name for _, name, _ in dropping.objects(connection)} == OURS
        assert revisions.current_revision(connection) == revisions.head()
        transactions.check_foreign_keys(connection)
    hashes = dict(ask(url, "SELECT email, password_hash FROM users"))
    assert passwords.verify_password("Password123!", hashes["demo@pharmtrainer.test"])
    assert passwords.verify_password("AdminPassword123!", hashes["admin@pharmtrainer.test"])
    if is_sqlite(url):
        assert ask(url, "PRAGMA integrity_check") == [("ok",)]


# -- from any state of ours -----------------------------------------------------------------------------

State = Callable[[str], None]

PRISMA_COLUMNS = {
    "User": "email TEXT NOT NULL, {q}passwordHash{q} TEXT NOT NULL, {q}createdAt{q} {time} NOT NULL",
    "UserSettings": "{owner}, language TEXT NOT NULL, {q}createdAt{q} {time} NOT NULL, {q}updatedAt{q} {time} NOT NULL",
    "Bookmark": "{owner}, {q}entityType{q} TEXT NOT NULL, {q}entityId{q} TEXT NOT NULL, "
    "{q}createdAt{q} {time} NOT NULL",
    "Attempt": "{owner}, {q}entityType{q} {entity} NOT NULL, {q}entityId{q} TEXT NOT NULL, answers JSONB NOT NULL, "
    "score REAL NOT NULL, feedback JSONB, {q}createdAt{q} {time} NOT NULL",
    "ProgressByTag": "{owner}, module TEXT NOT NULL, {q}courseBlock{q} TEXT NOT NULL, tag TEXT NOT NULL, "
    "{q}correctCount{q} INTEGER NOT NULL, {q}wrongCount{q} INTEGER NOT NULL, {q}lastAttemptAt{q} {time} NOT NULL",
    "SpacedRepetitionItem": "{owner}, {q}entityType{q} TEXT NOT NULL, {q}entityId{q} TEXT NOT NULL, "
    "{q}easeFactor{q} REAL NOT NULL, {q}intervalDays{q} INTEGER NOT NULL, {q}nextReviewAt{q} {time} NOT NULL, "
    "{q}lastReviewedAt{q} {time}",
    "DatasetOverride": "name TEXT NOT NULL, description TEXT NOT NULL, {q}jsonText{q} TEXT NOT NULL, "
    "{q}isActive{q} BOOLEAN NOT NULL, {q}createdById{q} INTEGER NOT NULL, {q}createdAt{q} {time} NOT NULL, "
    "{q}updatedAt{q} {time} NOT NULL",
}


def prisma(url: str, *, last: int = 7, role: bool = True, ledger: bool = True) -> None:
    """The old system's schema: its first `last` tables, with a user and an attempt in them."""
    sqlite = is_sqlite(url)
    entity = "TEXT" if sqlite else '"AttemptEntityType"'
    marks = {
        "q": '"',
        "time": "DATETIME" if sqlite else "TIMESTAMP(3)",
        "entity": entity,
        "owner": '"userId" INTEGER NOT NULL REFERENCES "User" (id) ON DELETE RESTRICT',
    }
    id_ = "id INTEGER PRIMARY KEY AUTOINCREMENT" if sqlite else "id SERIAL PRIMARY KEY"
    if not sqlite:
        run(url, "CREATE TYPE \"Role\" AS ENUM ('USER', 'ADMIN')")
        run(url, "CREATE TYPE \"AttemptEntityType\" AS ENUM ('question', 'case', 'calc')")
    for name, columns in list(PRISMA_COLUMNS.items())[:last]:
        run(url, f'CREATE TABLE "{name}" ({id_}, {columns.format(**marks)})')
    if role:
        kind = "TEXT" if sqlite else '"Role"'
        run(url, f"ALTER TABLE \"User\" ADD COLUMN role {kind} NOT NULL DEFAULT 'USER'")
    run(
        url,
        'CREATE UNIQUE INDEX "User_email_key" ON "User" (email)',
        'INSERT INTO "User" (id, email, "passwordHash", "createdAt") '
        "VALUES (7, 'Old@Example.org', '$2a$10$x', '2026-01-27 12:00:00')",
        'INSERT INTO "Attempt" ("userId", "entityType", "entityId", answers, score, "createdAt") '
        "VALUES (7, 'case', '1', '\"[1]\"', 50, '2026-01-27 12:00:00')",
    )
    if ledger:
        run(
            url,
            "CREATE TABLE _prisma_migrations (id TEXT PRIMARY KEY, checksum TEXT NOT NULL, finished_at TIMESTAMP, "
            "migration_name TEXT NOT NULL, logs TEXT, rolled_back_at TIMESTAMP, started_at TIMESTAMP, "
            "applied_steps_count INTEGER NOT NULL DEFAULT 0)",
            "INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('1', 'x', '20260127123216_init')",
        )


def older(revision: str) -> State:
    def make(url: str) -> None:
        pharmdb.migrate(url, revision=revision)
        with raw.session(url) as session:
            raw.fill(session)
            if revision == "+1":
                # What later revisions would move to upgrade_rejects.
                session.execute(raw.insert("attempts", score="999", user_id=raw.ANN))

    return make


def rejected(url: str) -> None:
    older("+1")(url)
    pharmdb.migrate(url)
    assert ask(url, "SELECT count(*) FROM upgrade_rejects") == [(1,)]


def full(url: str) -> None:
    pharmdb.reset(url)
    with raw.session(url) as session:
        raw.fill(session)


def known_good(url: str) -> None:
    pharmdb.reset(url)


def at_base(url: str) -> None:
    full(url)
    pharmdb.migrate(url, revision="base")


def prisma_beside_ours(url: str) -> None:
    full(url)
    prisma(url)


def damaged(*statements: str) -> State:
    """A full database that somebody has worked on with these statements."""

    def make(url: str) -> None:
        full(url)
        run(url, *statements)

    return make


def drop_all_but(*kept: str) -> State:
    def make(url: str) -> None:
        full(url)
        cascade = "" if is_sqlite(url) else " CASCADE"
        with raw.session(url) as session:
            if is_sqlite(url):
                session.execute("PRAGMA foreign_keys = OFF")
            for table in raw.tables(session):
                if table not in kept:
                    session.execute(f"DROP TABLE {table}{cascade}")

    return make


def touched(url: str) -> None:
    if is_sqlite(url):
        raw.path(url).touch()


ODD_NAMES = [
    "two words",
    'quo"ted',
    "quo'ted",
    "per%cent",
    "%s",
    "%(name)s",
    ":colon",
    "?",
    "`tick`",
    "[bracket]",
    "semi;colon",
    "x'; DROP TABLE users; --",
    "select",
    "UPPER",
    "tabulka_žluť_🐎",
    "back\\slash",
    "line\nend",
    " ",
]


def odd_names(url: str) -> None:
    full(url)
    for number, name in enumerate(ODD_NAMES):
        quoted = '"' + name.replace('"', '""') + '"'
        run(
            url,
            f"CREATE TABLE {quoted} ({quoted} INTEGER)",
            f"INSERT INTO {quoted} VALUES ({number})",
            f'CREATE VIEW "v{quoted[1:]} AS SELECT * FROM {quoted}',
        )


STATES: dict[str, State] = {
    "nothing": lambda url: None,
    "an empty database": touched,
    "known-good": known_good,
    "at head with rows": full,
    "the first revision": older("+1"),
    "the second revision": older("+2"),
    "back at base": at_base,
    "with rejected rows": rejected,
    "two of our tables": drop_all_but("users", "attempts"),
    "one of our tables": drop_all_but("dataset_overrides"),
    "the environment only": drop_all_but("pharmdb_environment"),
    "Alembic's table only": drop_all_but("alembic_version"),
    "an unknown revision": damaged("UPDATE alembic_version SET version_num = 'ffffffffffff'"),
    "two revisions": damaged("INSERT INTO alembic_version VALUES ('8f1c2a6d4b10')"),
    "no revision": damaged("DELETE FROM alembic_version"),
    "a column too many": damaged("ALTER TABLE users ADD COLUMN extra TEXT"),
    "an index less": damaged("DROP INDEX ix_attempts_user_id_created_at"),
    "a table of Alembic's batches": damaged("CREATE TABLE _alembic_tmp_users (id INTEGER)"),
    "Prisma": prisma,
    "Prisma's first stage": lambda url: prisma(url, last=6, role=False),
    "Prisma without its ledger": lambda url: prisma(url, ledger=False),
    "Prisma, and ours beside it": prisma_beside_ours,
    "extra tables and views": damaged(
        "CREATE TABLE extra (id INTEGER PRIMARY KEY, user_id BIGINT REFERENCES users (id))",
        "INSERT INTO extra VALUES (1, (SELECT min(id) FROM users))",
        "CREATE VIEW scores AS SELECT user_id, score FROM attempts",
        "CREATE VIEW best AS SELECT user_id, max(score) AS best FROM scores GROUP BY user_id",
        "CREATE INDEX ix_extra ON extra (user_id)",
    ),
    "a table that users refers to": damaged(
        "CREATE TABLE teams (id INTEGER PRIMARY KEY)",
        "ALTER TABLE users ADD COLUMN team_id INTEGER REFERENCES teams (id)",
    ),
    "odd names": odd_names,
}


@pytest.mark.parametrize("state", STATES)
def test_any_state_ends_known_good(empty: str, state: str) -> None:
    STATES[state](empty)
    # A dump of each state takes long; test_backups has backups of such states on both databases.
    report = pharmdb.reset(empty, backup=empty.startswith("sqlite"))
    assert report.fingerprint == KNOWN_GOOD
    assert report.revision == revisions.head()
    assert report.outcome["ok"].tolist() == [True]
    assert_known_good(empty)


SQLITE_STATES: dict[str, tuple[str, ...]] = {
    "full-text search": (
        "CREATE VIRTUAL TABLE notes USING fts5(body)",
        "INSERT INTO notes VALUES ('beta blockers')",
    ),
    "R-tree": (
        "CREATE VIRTUAL TABLE boxes USING rtree(id, low, high)",
        "INSERT INTO boxes VALUES (1, 0, 1)",
        "VACUUM",  # its own tables come before it now
    ),
    "AUTOINCREMENT": (
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "INSERT INTO counted VALUES (4711)",
    ),
    "triggers": (
        "CREATE VIEW names AS SELECT email FROM users",
        "CREATE TRIGGER no_delete BEFORE DELETE ON users BEGIN SELECT raise(ABORT, 'kept'); END",
        "CREATE TRIGGER through INSTEAD OF DELETE ON names BEGIN SELECT raise(ABORT, 'kept'); END",
    ),
    "statistics": ("ANALYZE",),
    "a view of what is gone": ("CREATE TABLE gone (a)", "CREATE VIEW ghost AS SELECT a FROM gone", "DROP TABLE gone"),
    "a table without rowid, and generated columns": (
        "CREATE TABLE odd (a TEXT PRIMARY KEY, b AS (a || a) STORED) WITHOUT ROWID",
        "INSERT INTO odd (a) VALUES ('x')",
    ),
    "an expression index": ("CREATE INDEX ix_lower ON users (lower(email)) WHERE role = 'USER'",),
    "the old journal": ("PRAGMA journal_mode = DELETE",),
    "a changed version": ("PRAGMA user_version = 7", "PRAGMA application_id = 42"),
    "orphans": (
        "PRAGMA foreign_keys = OFF",
        "DELETE FROM users",
    ),
}


@pytest.mark.parametrize("state", SQLITE_STATES)
def test_any_state_of_sqlite_ends_known_good(databases: Databases, state: str) -> None:
    url = databases.seeded("sqlite")
    with raw.session(url) as session:
        raw.fill(session)
    run(url, *SQLITE_STATES[state])
    assert pharmdb.reset(url).fingerprint == KNOWN_GOOD
    assert_known_good(url)
    assert ask(url, "SELECT count(*) FROM sqlite_master WHERE type IN ('view', 'trigger')") == [(0,)]


POSTGRESQL_STATES: dict[str, tuple[str, ...]] = {
    "materialized views": (
        "CREATE MATERIALIZED VIEW totals AS SELECT user_id, count(*) AS n FROM attempts GROUP BY user_id",
        "CREATE UNIQUE INDEX ON totals (user_id)",
        "CREATE VIEW top AS SELECT * FROM totals ORDER BY n DESC",
    ),
    "sequences": ("CREATE SEQUENCE tickets START 7", "CREATE TABLE held (id BIGINT DEFAULT nextval('tickets'))"),
    "identity columns": ("CREATE TABLE held (id BIGINT GENERATED ALWAYS AS IDENTITY)",),
    "functions and triggers": (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'kept'; END$$",
        "CREATE TRIGGER no_delete BEFORE DELETE OR TRUNCATE ON users EXECUTE FUNCTION refuse()",
        "CREATE FUNCTION half(INTEGER) RETURNS INTEGER LANGUAGE sql IMMUTABLE AS 'SELECT $1 / 2'",
        "CREATE FUNCTION half(TEXT, VARIADIC TEXT[]) RETURNS TEXT LANGUAGE sql AS 'SELECT $1'",
        "CREATE FUNCTION of_a_row(users) RETURNS TEXT LANGUAGE sql AS 'SELECT $1.email'",
        "CREATE INDEX ON attempts (half(score::INTEGER))",
        "CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1'",
        "CREATE AGGREGATE total(INTEGER) (sfunc = int4pl, stype = INTEGER)",
        "CREATE AGGREGATE how_many(*) (sfunc = int8inc, stype = BIGINT, initcond = '0')",
    ),
    "types": (
        "CREATE DOMAIN positive AS INTEGER CHECK (VALUE > 0)",
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TYPE pair AS (a positive, b mood)",
        "CREATE TYPE span AS RANGE (subtype = FLOAT8)",
        "CREATE TABLE typed (a positive, b mood, c pair, d span, e mood[])",
        "CREATE FUNCTION typed_too(mood, positive) RETURNS pair LANGUAGE sql AS 'SELECT NULL::pair'",
        "ALTER TABLE users ADD COLUMN mood mood",
    ),
    "partitions": (
        "CREATE TABLE log (day DATE, user_id BIGINT REFERENCES users (id)) PARTITION BY RANGE (day)",
        "CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "CREATE TABLE log_rest PARTITION OF log DEFAULT",
        "INSERT INTO log VALUES ('2026-02-03', NULL), ('2030-01-01', NULL)",
    ),
    "inheritance": ("CREATE TABLE special_users () INHERITS (users)",),
    "rules and policies": (
        "CREATE RULE no_delete AS ON DELETE TO users DO INSTEAD NOTHING",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY nobody ON users USING (false)",
    ),
    "statistics": ("CREATE STATISTICS extended ON user_id, score FROM attempts", "ANALYZE"),
    "deferred constraints": (
        "CREATE TABLE late (user_id BIGINT REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO late SELECT id FROM users",
    ),
    "old enums of Prisma alone": ("CREATE TYPE \"Role\" AS ENUM ('USER', 'ADMIN')",),
    'names with a quote, "%" and ";"': (
        'CREATE TYPE "a""%s;b" AS ENUM (\'x\')',
        'CREATE FUNCTION "f""%;\' (x)"("a""%s;b") RETURNS INTEGER LANGUAGE sql AS \'SELECT 1\'',
        'CREATE SEQUENCE "s""%(x)s;"',
    ),
}


@pytest.mark.parametrize("state", POSTGRESQL_STATES)
def test_any_state_of_postgresql_ends_known_good(databases: Databases, state: str) -> None:
    url = databases.seeded("postgresql")
    with raw.session(url) as session:
        raw.fill(session)
    run(url, *POSTGRESQL_STATES[state])
    assert pharmdb.reset(url, backup=False).fingerprint == KNOWN_GOOD
    assert_known_good(url)
    left = "SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typrelid = 0 AND typelem = 0"
    assert ask(url, left) == []
    assert ask(url, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


def test_an_extension_and_what_it_owns_survive(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    available = [name for (name,) in ask(url, "SELECT name FROM pg_available_extensions")]
    extension = next(name for name in (*available, "plpgsql") if name != "plpgsql" or len(available) == 1)
    run(url, f"CREATE EXTENSION IF NOT EXISTS {extension}")
    owned = "SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE deptype = 'e' ORDER BY 1"
    before = ask(url, owned)
    pharmdb.reset(url)
    assert ask(url, owned) == before
    assert_known_good(url)


def test_a_hundred_thousand_attempts(seeded: str) -> None:
    run(
        seeded,
        "INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) "
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000) "
        "SELECT (SELECT min(id) FROM users), 'case', 'c1', '[1, 2, 3]', 50 FROM numbers",
    )
    report = pharmdb.reset(seeded)
    destroyed = report.destroyed.set_index("name")["rows"]
    assert destroyed["attempts"] == 100_000
    assert_known_good(seeded)


# -- the report ---------------------------------------------------------------------------------------


def test_the_report_lists_what_was_destroyed_with_its_rows(seeded: str) -> None:
    run(
        seeded,
        "CREATE TABLE extra (id INTEGER)",
        "INSERT INTO extra VALUES (1), (2), (3)",
        "CREATE VIEW seen AS SELECT * FROM extra",
    )
    report = pharmdb.reset(seeded)
    assert {column: str(dtype) for column, dtype in report.destroyed.dtypes.items()} == {
        "kind": "str",
        "name": "str",
        "rows": "Int64",
    }
    found = {(kind, name): rows for kind, name, rows in report.objects}
    assert found == {
        ("table", "alembic_version"): 1,
        ("table", "attempts"): 0,
        ("table", "bookmarks"): 0,
        ("table", "dataset_overrides"): 0,
        ("table", "extra"): 3,
        ("table", "pharmdb_environment"): 1,
        ("table", "pharmdb_revisions"): 4,
        ("table", "progress_by_tag"): 4,
        ("table", "spaced_repetition_items"): 0,
        ("table", "user_settings"): 2,
        ("table", "users"): 2,
        ("view", "seen"): None,
    }
    assert report.seeded.changed == "8 rows created, 0 updated"
    assert "password" not in repr(report)


def test_the_report_on_an_empty_database(empty: str) -> None:
    report = pharmdb.reset(empty)
    assert len(report.destroyed) == 0
    assert str(report.destroyed["rows"].dtype) == "Int64"


def test_an_own_seed_folder(seeded: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("email,password,role,language\nown@example.org,Secret-of-mine-1,USER,en\n")
    (tmp_path / "progress.csv").write_text("user_email,module,course_block,tag,correct_count,wrong_count\n")
    report = pharmdb.reset(seeded, seed_dir=str(tmp_path))
    assert report.fingerprint != KNOWN_GOOD
    assert ask(seeded, "SELECT email FROM users") == [("own@example.org",)]


# -- the same everywhere ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "hash_seed"), [("Pacific/Kiritimati", "0"), ("America/St_Johns", "1"), ("UTC", "4294967295")]
)
def test_the_fingerprint_is_the_same_in_every_process(databases: Databases, zone: str, hash_seed: str) -> None:
    urls = [databases.empty(dialect) for dialect in DIALECTS]
    program = "import sys, pharmdb\nfor url in sys.argv[1:]: print(pharmdb.reset(url).fingerprint)"
    done = subprocess.run(
        [sys.executable, "-c", program, *urls],
        env=os.environ | {"TZ": zone, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(settings.SOURCE)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == [KNOWN_GOOD] * 2


# -- what is not ours ---------------------------------------------------------------------------------

FOREIGN: dict[str, tuple[str, ...]] = {
    "another program": ("CREATE TABLE invoices (id INTEGER)", "INSERT INTO invoices VALUES (1)"),
    "another program with users": (
        "CREATE TABLE users (id INTEGER, login VARCHAR(9))",
        "INSERT INTO users VALUES (1, 'ann')",
    ),
    "another program with attempts and Alembic": (
        "CREATE TABLE attempts (id INTEGER, at VARCHAR(9))",
        "CREATE TABLE alembic_version (version_num VARCHAR(32))",
        "INSERT INTO alembic_version VALUES ('abc')",
    ),
    "another program of Prisma's": (
        'CREATE TABLE "User" (id INTEGER, name VARCHAR(9))',
        "CREATE TABLE _prisma_migrations (id VARCHAR(9))",
    ),
}


def schema_and_rows(url: str) -> Any:
    with raw.session(url) as session:
        return raw.schema(session), {table: raw.rows(session, f'"{table}"') for table in raw.tables(session)}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_another_programs_database_is_refused_and_untouched(empty: str, foreign: str) -> None:
    run(empty, *FOREIGN[foreign])
    before = file_of(empty), schema_and_rows(empty)
    with pytest.raises(ProtectedError) as caught:
        pharmdb.reset(empty)
    assert (file_of(empty), schema_and_rows(empty)) == before
    name = name_of(empty)
    assert caught.value.expected == f"confirm={name}, to destroy everything in it"
    assert "another program's tables" in caught.value.found
    assert f"pharmdb reset --confirm {name}" in caught.value.command
    assert caught.value.unchanged == "nothing was written"


def file_of(url: str) -> str | None:
    return hashlib.sha256(raw.path(url).read_bytes()).hexdigest() if is_sqlite(url) else None


@pytest.mark.parametrize("confirm", ["yes", "", "TEST", "*", "test_"])
def test_a_wrong_confirmation_is_refused(empty: str, confirm: str) -> None:
    run(empty, *FOREIGN["another program"])
    before = schema_and_rows(empty)
    with pytest.raises(ProtectedError):
        pharmdb.reset(empty, confirm=confirm)
    assert schema_and_rows(empty) == before


@pytest.mark.parametrize("foreign", FOREIGN)
def test_the_databases_name_confirms(empty: str, foreign: str) -> None:
    run(empty, *FOREIGN[foreign])
    report = pharmdb.reset(empty, confirm=name_of(empty))
    assert report.fingerprint == KNOWN_GOOD
    assert_known_good(empty)


def test_a_file_that_is_no_database_is_refused_and_untouched(databases: Databases) -> None:
    url = databases.empty("sqlite")
    raw.path(url).write_bytes(b"not a database" * 1000)
    with pytest.raises(UnavailableError, match="not a database"):
        pharmdb.reset(url, confirm=name_of(url))
    assert raw.path(url).read_bytes() == b"not a database" * 1000


# -- production, and other machines ---------------------------------------------------------------------


@pytest.mark.parametrize("confirm", [False, True])
@pytest.mark.parametrize("how", ["PHARMDB_ENV", "the database itself"])
def test_production_is_refused_and_untouched(
    seeded: str, how: str, confirm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "PHARMDB_ENV":
        monkeypatch.setenv("PHARMDB_ENV", "production")
    else:
        run(seeded, "UPDATE pharmdb_environment SET name = 'production'")
    before = file_of(seeded), schema_and_rows(seeded)
    with pytest.raises(ProtectedError, match="says production") as caught:
        pharmdb.reset(seeded, confirm=name_of(seeded) if confirm else "")
    assert how in caught.value.found
    assert (file_of(seeded), schema_and_rows(seeded)) == before


def test_production_makes_no_file(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    url = databases.empty("sqlite")
    with pytest.raises(ProtectedError):
        pharmdb.reset(url)
    assert not raw.path(url).exists()


@pytest.mark.parametrize("environment", ["development", "test"])
def test_the_database_remembers_its_environment(seeded: str, environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", environment)
    run(seeded, "DELETE FROM pharmdb_environment")
    pharmdb.reset(seeded)
    assert ask(seeded, "SELECT id, name FROM pharmdb_environment") == [(1, environment)]


def test_a_server_elsewhere_needs_the_name(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "is_local", lambda connection: False)
    before = schema_and_rows(seeded)
    for confirm in ("", "yes"):
        with pytest.raises(ProtectedError) as caught:
            pharmdb.reset(seeded, confirm=confirm)
        assert "not on this machine" in caught.value.found
        assert f"pharmdb reset --confirm {name_of(seeded)}" in caught.value.command
    assert schema_and_rows(seeded) == before
    assert pharmdb.reset(seeded, confirm=name_of(seeded)).fingerprint == KNOWN_GOOD


def test_the_test_databases_are_local(seeded: str) -> None:
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        assert servers.is_local(connection)


@pytest.mark.parametrize(
    ("host", "address", "local"),
    [
        ("/var/run/postgresql", "", True),
        ("@abstract", "", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.8.9.10", "127.8.9.10", True),
        ("::1", "::1", True),
        ("10.0.0.5", "10.0.0.5", False),
        ("192.168.0.1", "192.168.0.1", False),
        ("0.0.0.0", "", False),
        ("db.example.org", "93.184.216.34", False),
        ("db.example.org", "", False),
        # A name that lies: the address counts.
        ("localhost", "10.0.0.5", False),
        ("localhost.example.org", "93.184.216.34", False),
    ],
)
def test_what_is_on_this_machine(host: str, address: str, local: bool) -> None:
    driver = SimpleNamespace(info=SimpleNamespace(host=host, hostaddr=address))
    connection = SimpleNamespace(
        dialect=SimpleNamespace(name="postgresql"), connection=SimpleNamespace(dbapi_connection=driver)
    )
    assert servers.is_local(connection) is local  # type: ignore[arg-type]


# -- one transaction ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["empty", "migrated", "seeded", "Prisma"])
def test_a_reset_commits_once(databases: Databases, dialect: str, state: str) -> None:
    url = databases.empty(dialect) if state == "Prisma" else getattr(databases, state)(dialect)
    if state == "Prisma":
        prisma(url)
    commits: list[Any] = []
    note = commits.append
    event.listen(Engine, "commit", note)
    try:
        pharmdb.reset(url)
    finally:
        event.remove(Engine, "commit", note)
    assert len(commits) == 1


def test_all_rows_and_tables_are_of_one_transaction(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    pharmdb.reset(url)
    tables = " UNION ".join(f"SELECT xmin::text FROM {table}" for table in sorted(OURS) if table in filled_tables(url))
    relations = "SELECT xmin::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert len(ask(url, f"{tables} UNION {relations}")) == 1


def filled_tables(url: str) -> set[str]:
    return {table for table in OURS if ask(url, f"SELECT count(*) FROM {table}") != [(0,)]}


def fail(*args: Any, **kw: Any) -> Any:
    raise RuntimeError("in the middle")


@pytest.mark.parametrize(
    ("state", "module", "name"),
    [
        ("at head with rows", dropping, "drop_everything"),
        ("at head with rows", revisions, "upgrade"),
        ("at head with rows", environments, "stamp_environment"),
        ("at head with rows", seeding, "fingerprint"),
        ("at head with rows", revisions, "current_revision"),
        ("the first revision", seeding, "apply"),
        ("Prisma", seeding, "apply"),
    ],
)
def test_a_failure_in_the_middle_leaves_what_was_there(
    empty: str, state: str, module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    STATES[state](empty)
    before = schema_and_rows(empty)
    monkeypatch.setattr(module, name, fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        pharmdb.reset(empty)
    monkeypatch.undo()
    assert schema_and_rows(empty) == before
    pharmdb.reset(empty)
    assert_known_good(empty)


def test_a_failure_where_there_was_nothing_leaves_no_table(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "apply", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        pharmdb.reset(empty)
    with raw.session(empty) as session:
        assert raw.tables(session) == []


def test_faulty_seed_files_change_nothing(seeded: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("email\n")
    before = file_of(seeded), schema_and_rows(seeded)
    with pytest.raises(SeedError):
        pharmdb.reset(seeded, seed_dir=str(tmp_path))
    assert (file_of(seeded), schema_and_rows(seeded)) == before


# -- others at work -----------------------------------------------------------------------------------


@contextmanager
def reader(url: str) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    """A transaction of another program's that has looked at the users; calling it looks again."""
    with raw.session(url) as session:
        session.execute("BEGIN" if is_sqlite(url) else "BEGIN ISOLATION LEVEL REPEATABLE READ")

        def look() -> list[tuple[Any, ...]]:
            return list(session.execute("SELECT email FROM users ORDER BY email").fetchall())

        look()
        yield look
        session.execute("COMMIT")


def test_a_reader_sees_the_old_rows_and_then_the_new(seeded: str) -> None:
    run(seeded, raw.insert("users"))
    old = ask(seeded, "SELECT email FROM users ORDER BY email")
    reset = threading.Thread(target=pharmdb.reset, args=(seeded,))
    with reader(seeded) as look:
        reset.start()
        if is_sqlite(seeded):
            reset.join(60)
            assert ask(seeded, "SELECT count(*) FROM users") == [(2,)]
        else:
            wait_until_blocked(seeded)
        assert look() == old
    reset.join(60)
    assert not reset.is_alive()
    assert ask(seeded, "SELECT email FROM users ORDER BY email") == [
        ("admin@pharmtrainer.test",),
        ("demo@pharmtrainer.test",),
    ]
    assert_known_good(seeded)


def wait_until_blocked(url: str) -> None:
    """Until a session of pharmdb's waits for another's lock."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pharmdb' AND wait_event_type = 'Lock'"
    with closing(psycopg.connect(raw.libpq(url), autocommit=True)) as connection:
        tick = threading.Event()
        for _ in range(3000):
            if connection.execute(waiting).fetchone():
                return
            tick.wait(0.01)
    raise AssertionError("the reset did not wait")


def test_a_lock_that_is_not_given_is_an_error_and_changes_nothing(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
    before = schema_and_rows(seeded)
    with raw.session(seeded) as session:
        session.execute("BEGIN IMMEDIATE" if is_sqlite(seeded) else "BEGIN")
        session.execute("SELECT email FROM users").fetchall()
        with pytest.raises(LockedError):
            pharmdb.reset(seeded)
        session.execute("ROLLBACK")
    assert schema_and_rows(seeded) == before


def test_two_resets_at_once(seeded: str) -> None:
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(pharmdb.reset(seeded).fingerprint)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [KNOWN_GOOD] * 3
    assert_known_good(seeded)


# -- other schemas of a PostgreSQL database -------------------------------------------------------------

OUTSIDE: dict[str, tuple[tuple[str, ...], str]] = {
    "a view": (("CREATE VIEW other.v AS SELECT email FROM users",), "view other.v"),
    "a view on a view": (
        ("CREATE VIEW public.mine AS SELECT email FROM users", "CREATE VIEW other.v AS SELECT * FROM public.mine"),
        "view other.v",
    ),
    "a materialized view": (
        ("CREATE MATERIALIZED VIEW other.m AS SELECT email FROM users",),
        "materialized view other.m",
    ),
    "a foreign key": (
        ("CREATE TABLE other.t (user_id BIGINT CONSTRAINT to_users REFERENCES users (id))",),
        "constraint to_users on table other.t",
    ),
    "a child": (("CREATE TABLE other.t () INHERITS (users)",), "table other.t"),
    "a column of a type": (
        ("CREATE TYPE mood AS ENUM ('good')", "CREATE TABLE other.t (a mood, b INTEGER)"),
        "column a of table other.t",
    ),
    "a default from a sequence": (
        ("CREATE SEQUENCE s", "CREATE TABLE other.t (a BIGINT DEFAULT nextval('s'))"),
        "default value for column a of table other.t",
    ),
    "a trigger": (
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TABLE other.t (a INTEGER)",
            "CREATE TRIGGER tr BEFORE INSERT ON other.t FOR EACH ROW EXECUTE FUNCTION f()",
        ),
        "trigger tr on table other.t",
    ),
    "a function of a row": (
        ("CREATE FUNCTION other.f(users) RETURNS TEXT LANGUAGE sql AS 'SELECT $1.email'",),
        "function other.f",
    ),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_what_hangs_on_ours_in_another_schema_is_refused_by_name(databases: Databases, what: str) -> None:
    statements, named = OUTSIDE[what]
    url = databases.seeded("postgresql")
    run(url, "CREATE SCHEMA other", *statements)
    before = schema_and_rows(url), others(url)
    with pytest.raises(ProtectedError) as caught:
        pharmdb.reset(url)
    assert named in caught.value.found
    assert (schema_and_rows(url), others(url)) == before


def others(url: str) -> list[tuple[Any, ...]]:
    """What there is in the schema `other`."""
    return ask(
        url,
        "SELECT relname, attname, atttypid FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relnamespace = 'other'::regnamespace AND NOT attisdropped UNION ALL "
        "SELECT proname, '', 0 FROM pg_proc WHERE pronamespace = 'other'::regnamespace ORDER BY 1, 2",
    )


def test_other_schemas_are_untouched(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    run(
        url,
        "CREATE SCHEMA other",
        "CREATE TABLE other.users (id SERIAL PRIMARY KEY, email TEXT)",
        "INSERT INTO other.users (email) VALUES ('theirs')",
        "CREATE VIEW other.v AS SELECT * FROM other.users",
        "CREATE FUNCTION other.f() RETURNS INTEGER LANGUAGE sql AS 'SELECT 1'",
    )
    before = others(url)
    pharmdb.reset(url)
    assert_known_good(url)
    assert others(url) == before
    assert ask(url, "SELECT id, email, xmin IS NOT NULL FROM other.users") == [(1, "theirs", True)]


def test_the_rights_on_the_schema_survive(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    run(
        url,
        "DROP ROLE IF EXISTS analyst",
        "CREATE ROLE analyst",
        "GRANT USAGE, CREATE ON SCHEMA public TO analyst",
        "COMMENT ON SCHEMA public IS 'ours'",
    )
    rights = "SELECT nspacl::text, nspowner, obj_description(oid) FROM pg_namespace WHERE nspname = 'public'"
    before = ask(url, rights)
    assert "analyst=UC" in before[0][0]
    pharmdb.reset(url)
    assert ask(url, rights) == before


def test_a_wrong_name_is_never_ignored(seeded: str) -> None:
    """Whoever confirms another name means another database."""
    before = schema_and_rows(seeded)
    with pytest.raises(ProtectedError, match="needs no confirm"):
        pharmdb.reset(seeded, confirm="invoices.db")
    assert schema_and_rows(seeded) == before


def test_the_next_command_names_the_database_that_was_meant(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(empty, "CREATE TABLE invoices (id INTEGER)")
    with pytest.raises(ProtectedError) as caught:
        pharmdb.reset(empty)
    assert "--database-url" in caught.value.command
    monkeypatch.setenv("PHARMDB_URL", empty)
    with pytest.raises(ProtectedError) as caught:
        pharmdb.reset()
    assert "--database-url" not in caught.value.command


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE MATERIALIZED VIEW totals AS SELECT 1 AS one",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT 1 AS one",
    ],
)
def test_what_another_program_made_is_no_less_its_own_without_a_table(empty: str, statement: str) -> None:
    run(empty, statement)
    with pytest.raises(ProtectedError, match="another program's objects"):
        pharmdb.reset(empty)


@pytest.mark.parametrize("dialect", ["postgresql"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE UNIQUE INDEX i ON other.t (public.f(a))",
        "CREATE POLICY p ON other.t USING (public.f(a) > 0)",
    ],
)
def test_an_index_or_policy_elsewhere_is_not_taken_along(seeded: str, statement: str) -> None:
    run(
        seeded,
        "CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a'",
        "CREATE SCHEMA other",
        "CREATE TABLE other.t (a integer)",
        statement,
    )
    with pytest.raises(ProtectedError, match="in other schemas"):
        pharmdb.reset(seeded)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_a_reader_that_starts_during_a_reset_sees_the_new_rows(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot taken while it waits for the tables would show them without rows."""
    seen: list[int] = []
    target = targets.target(seeded)

    def read() -> None:
        with transactions.reading(target) as connection:
            seen.append(connection.exec_driver_sql("SELECT count(*) FROM users").scalar_one())

    reader = Thread(target=read)
    apply = seeding.apply

    def apply_later(*arguments: Any) -> Any:
        reader.start()
        with transactions.watching(target) as connection:
            while not connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one():
                pass
        return apply(*arguments)

    monkeypatch.setattr(seeding, "apply", apply_later)
    pharmdb.reset(seeded)
    reader.join()
    assert seen == [2]


def test_an_index_of_no_table_is_damage_and_nothing_changes(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    with closing(sqlite3.connect(pharmdb.target(url).path)) as file:
        file.execute("PRAGMA writable_schema = ON")
        lost = "UPDATE sqlite_master SET tbl_name = 'nobody' WHERE name = 'sqlite_autoindex_user_settings_1'"
        assert file.execute(lost).rowcount == 1
        file.commit()
        before = list(file.execute("SELECT * FROM users"))
    with pytest.raises(DamagedError) as error:
        pharmdb.reset(url, backup=False)
    assert error.value.command
    with closing(sqlite3.connect(pharmdb.target(url).path)) as file:
        assert list(file.execute("SELECT * FROM users")) == before
