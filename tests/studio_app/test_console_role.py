"""The console on PostgreSQL runs in a role without rights to secrets, even if nothing else guards them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.databases import Databases, dsn, name_of
from support.raw import ask, run

import pharmdb
from pharmdb import settings
from pharmdb.database import targets
from pharmdb.errors import NoPermissionError, PharmdbError, ProtectedError
from pharmdb.studio_app import console, rights
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.statement_log import MASKED, StatementLog
from pharmdb.studio_app.statements import Result

OBJECTS = (
    "UPDATE users SET password_hash = '$2b$10$' || md5(email) || md5(role)",
    "CREATE VIEW renamed AS SELECT id, password_hash AS h FROM users",
    "CREATE VIEW whole AS SELECT id, u::text AS t FROM users u",
    "CREATE VIEW nested AS SELECT t FROM whole",
    "CREATE VIEW harmless AS SELECT email, count(*) AS n FROM users u JOIN bookmarks b ON user_id = u.id GROUP BY 1",
    "CREATE MATERIALIZED VIEW stored AS SELECT reverse(password_hash) AS h FROM users",
    "CREATE SCHEMA other",
    "CREATE TABLE other.copied AS SELECT id, password_hash FROM users",
    "CREATE FUNCTION powerful() RETURNS text LANGUAGE sql SECURITY DEFINER "
    "AS 'SELECT reverse(password_hash) FROM public.users LIMIT 1'",
    "CREATE VIEW powerful_view AS SELECT powerful() AS h",
    "CREATE FUNCTION execute(statement text) RETURNS text LANGUAGE plpgsql AS 'DECLARE found text; BEGIN "
    "EXECUTE statement; SELECT reverse(password_hash) INTO found FROM public.users LIMIT 1; RETURN found; END'",
    "CREATE TABLE keys (id integer, api_key text)",
    "ANALYZE users",
)
SECRETS = "SELECT reverse(password_hash), password_hash FROM users"


def run_in(url: str, sql: str, *, unlocked: bool = False) -> Result:
    return console.run(targets.target(url), sql, StatementLog(), cancel=Cancel(), unlocked=unlocked)


@pytest.fixture(autouse=True)
def _own_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "statement_log", lambda: tmp_path / "studio.jsonl")


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    """A database in which nothing is changed."""
    url = databases.seeded("postgresql")
    run(url, *OBJECTS)
    return url


def role_of(url: str) -> str:
    ((number,),) = ask(url, "SELECT oid FROM pg_database WHERE datname = current_database()")
    return f"pharmdb_console_{number}"


def state_of(url: str) -> list[Any]:
    """What no statement may change: the accounts, the catalog, the roles."""
    return [
        ask(url, statement)
        for statement in (
            "SELECT id, email, password_hash, role FROM users ORDER BY id",
            "SELECT relname, relacl::text, relowner FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_'",
            "SELECT rolname, rolsuper, rolcanlogin FROM pg_roles ORDER BY 1",
            "SELECT proname, prosecdef FROM pg_proc WHERE oid >= 16384 ORDER BY 1",
            "SELECT count(*) FROM pg_auth_members WHERE member = to_regrole('" + role_of(url) + "')",
            "SELECT last_value FROM users_id_seq",
            "SELECT * FROM bookmarks",
            "SELECT * FROM keys",
        )
    ]


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Switches off everything that reads the statement: only the role is left."""

    def switch(writes: bool) -> None:
        monkeypatch.setattr(rights, "check", lambda *_, **__: "INSERT" if writes else "SELECT")

    return switch


HIDDEN = [
    "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT a, 'x', reverse(c) FROM users AS t(a, b, c, d, e) "
    "RETURNING entity_id",
    "UPDATE users SET role = users.role FROM users t(a, b, c, d, e) WHERE t.c > '$2' RETURNING t.a",
    "DELETE FROM bookmarks USING users t(a, b, c, d, e) WHERE t.c > '$2'",
    "MERGE INTO bookmarks USING users AS t(a, b, c, d, e) ON user_id = a AND c > '$2' WHEN MATCHED THEN DELETE",
    "WITH t(a, b, c, d, e) AS (TABLE users) INSERT INTO keys SELECT a, c FROM t",
    "INSERT INTO users SELECT * FROM users ON CONFLICT (email) DO UPDATE SET email = reverse(excluded.password_hash)",
    "UPDATE users SET (email, password_hash) = (SELECT email, 'x') RETURNING id",
    "UPDATE users u SET role = role RETURNING u",
    "UPDATE users u SET role = role RETURNING to_jsonb(u)",
    "SELECT reverse(c) FROM public.users AS t(a, b, c, d, e)",
    "SELECT count(*) FROM public.users AS t(a, b, c, d, e) WHERE c > '$2b$10$M'",
    "SELECT reverse(t::text) FROM public.users AS t",
    "SELECT h FROM renamed",
    "SELECT reverse(t) FROM whole",
    "SELECT reverse(t) FROM nested",
    "SELECT h FROM stored",
    "SELECT reverse(b) FROM other.copied AS t(a, b)",
    "SELECT h FROM powerful_view",
    "SELECT powerful()",
    'SELECT "powerful"()',
    "SELECT reverse(most_common_vals::text) FROM pg_stats WHERE tablename = 'users'",
    "SELECT reverse(stavalues1::text) FROM pg_statistic",
    "SELECT reverse(rolpassword) FROM pg_authid",
    "SELECT query_to_xml('SELECT reverse(password_hash) FROM public.users', true, true, '')",
    "SELECT set_config('role', 'none', true), query_to_xml('SELECT reverse(password_hash) FROM users', true, true, '')",
    *(
        f"SELECT execute({statement})"
        for statement in (
            "'SELECT 1'",
            "'RESET ROLE'",
            "'SET ROLE postgres'",
            "'SET LOCAL ROLE NONE'",
            "'SET SESSION AUTHORIZATION DEFAULT'",
            "'DO $do$ BEGIN RESET ROLE; END $do$'",
            "$$SELECT set_config('session_authorization', 'postgres', false)$$",
        )
    ),
    "RESET ROLE",
    "SET ROLE NONE",
    "SET SESSION AUTHORIZATION postgres",
    "RESET SESSION AUTHORIZATION",
    "DO $$ BEGIN RESET ROLE; CREATE TABLE public.made AS SELECT * FROM public.users; END $$",
    "SELECT 1; RESET ROLE; CREATE TABLE made()",
    "COMMIT",
    "COPY users TO PROGRAM 'cat'",
    "COPY users TO STDOUT",
    "COPY users FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "UPDATE pg_class SET relname = 'gone' WHERE relname = 'users'",
    "DELETE FROM pg_attribute WHERE attrelid = 'users'::regclass",
    "UPDATE pg_authid SET rolsuper = true",
    "UPDATE pharmdb_environment SET name = 'test'",
    "DELETE FROM alembic_version",
    "TRUNCATE users CASCADE",
    "DROP TABLE bookmarks",
    "ALTER TABLE users ADD made integer",
    "SELECT 1 AS a INTO made",
    "CREATE FUNCTION public.made() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "GRANT postgres TO CURRENT_USER",
    "GRANT SELECT ON users TO PUBLIC",
    "SELECT setval('users_id_seq', 1000)",
]


@pytest.mark.parametrize("writes", [True, False], ids=["unlocked", "locked"])
def test_no_statement_gets_past_the_role(url: str, unread: Callable[[bool], None], writes: bool) -> None:
    run_in(url, "SELECT 1")
    before = state_of(url)
    parts = [text[n : n + 20] for row in ask(url, SECRETS) for text in row for n in (8, 40)]
    assert min(map(len, parts)) == 20
    unread(writes)
    for sql in HIDDEN:
        try:
            shown = json.dumps(run_in(url, sql, unlocked=writes).rows)
        except PharmdbError as error:
            shown = str(error)
        assert not [part for part in parts if part in shown], sql
    assert state_of(url) == before


def test_what_has_no_secret_is_read_and_written(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    run(url, *OBJECTS)
    new = "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'a', 'b') RETURNING id, entity_id"
    assert run_in(url, new, unlocked=True).rows == [["1", "b"]]
    assert run_in(url, "SELECT * FROM harmless").rows == [["demo@pharmtrainer.test", "1"]]
    assert run_in(url, "UPDATE users SET role = 'ADMIN' WHERE id = 1", unlocked=True).changed == 1
    assert run_in(
        url, "WITH gone AS (DELETE FROM users WHERE id = 1 RETURNING 1) SELECT count(*) FROM gone", unlocked=True
    ).rows == [["1"]]
    assert ask(url, "SELECT count(*) FROM bookmarks") == [(0,)]
    assert ask(url, "SELECT count(*) FROM pg_proc WHERE proname LIKE 'pharmdb_%'") == [(0,)]


def test_a_result_has_the_text_form_of_the_database(url: str) -> None:
    sql = """SELECT 1.50, 1e20::float8, true, NULL, ARRAY[true], '\\x01'::bytea, '{"a": 1}'::jsonb, '', '("x",)\\'"""
    assert run_in(url, sql).rows == [["1.50", "1e+20", "true", None, "{t}", "\\x01", '{"a": 1}', "", '("x",)\\']]
    assert run_in(url, "SELECT NULL AS a").rows == [[None]]
    assert run_in(url, "SELECT NULL AS a, NULL AS a").rows == [[None, None]]
    assert run_in(url, "SELECT id AS a FROM users WHERE id < 0").columns == ["a"]
    assert run_in(url, "SELECT FROM users").changed == 2
    assert run_in(url, "SHOW server_encoding").rows == [["UTF8"]]


def test_a_secret_setting_of_the_server_is_not_shown(url: str) -> None:
    for sql in ("SHOW primary_conninfo", "SELECT current_setting('primary_conninfo')"):
        with pytest.raises(ProtectedError):
            run_in(url, sql)
    assert run_in(url, "SELECT setting FROM pg_settings WHERE name = 'primary_conninfo'").rows == []


def test_another_session_can_not_be_ended(url: str) -> None:
    with psycopg.connect(dsn(url)) as other:
        for name in ("pg_terminate_backend", "pg_cancel_backend"):
            with pytest.raises(ProtectedError):
                run_in(url, f"SELECT {name}({other.info.backend_pid})")
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_rights_follow_the_tables(databases: Databases) -> None:
    """New tables and columns, rights that somebody else has granted, and a reset."""
    url = databases.seeded("postgresql")
    run_in(url, "SELECT 1")
    role = role_of(url)
    run(url, f"GRANT SELECT ON users TO {role}", "CREATE TABLE added (id serial, note text)")
    assert run_in(url, "INSERT INTO added (note) VALUES ('x') RETURNING id", unlocked=True).rows == [["1"]]
    assert ask(url, f"SELECT has_column_privilege('{role}', 'users', 'password_hash', 'SELECT')") == [(False,)]
    run(url, "ALTER TABLE added ADD api_token text")
    with pytest.raises(ProtectedError):
        run_in(url, "INSERT INTO added (api_token) VALUES ('x')", unlocked=True)
    assert run_in(url, "SELECT * FROM added").rows == [["1", "x", MASKED]]
    run(url, "DROP TABLE added")
    pharmdb.reset(url)
    assert run_in(url, "SELECT count(*) FROM users").rows == [["2"]]
    assert ask(url, f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'") == [(1,)]


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT SELECT ON users TO PUBLIC",
        "GRANT UPDATE (password_hash) ON users TO PUBLIC",
        "GRANT SELECT ON renamed TO PUBLIC",
        "GRANT SELECT ON powerful_view TO PUBLIC",
        "GRANT SELECT ON other.copied TO PUBLIC",
        "GRANT pg_read_all_data TO {role}",
        "ALTER ROLE {role} SUPERUSER",
    ],
)
def test_a_role_that_reaches_a_secret_is_not_used(url: str, grant: str) -> None:
    run_in(url, "SELECT 1")
    role = role_of(url)
    back = grant.replace("GRANT", "REVOKE").replace(" TO ", " FROM ").replace(" SUPERUSER", " NOSUPERUSER")
    run(url, grant.format(role=role))
    try:
        with pytest.raises(ProtectedError) as refused:
            run_in(url, "SELECT 1")
        assert role in refused.value.expected
    finally:
        run(url, back.format(role=role))
    assert run_in(url, "SELECT 1").rows == [["1"]]


def test_a_schema_with_the_users_name_stays_the_one_in_use(databases: Databases) -> None:
    url = databases.empty("postgresql")
    run(url, "CREATE SCHEMA postgres")
    pharmdb.reset(url)
    assert ask(url, "SELECT count(*) FROM postgres.users") == [(2,)]
    assert run_in(url, "SELECT count(*) FROM users").rows == [["2"]]


@pytest.fixture
def member(databases: Databases) -> Callable[[str], str]:
    """Makes databases that belong to a user without rights on the server, given the user's attributes."""

    def make(attributes: str) -> str:
        url = databases.empty("postgresql")
        name = f"owner_{name_of(url)}"
        run(url, f"CREATE ROLE {name} LOGIN {attributes}", f"ALTER DATABASE {name_of(url)} OWNER TO {name}")
        own = url.replace("postgres@", f"{name}@")
        pharmdb.reset(own)
        return own

    return make


def test_a_user_who_may_create_roles_needs_no_administrator(member: Callable[[str], str]) -> None:
    own = member("CREATEROLE")
    assert run_in(own, "SELECT count(*) FROM users").rows == [["2"]]
    assert run_in(own, "UPDATE users SET role = 'ADMIN'", unlocked=True).changed == 2


def test_without_the_role_nothing_is_run_and_an_administrator_is_told_how(member: Callable[[str], str]) -> None:
    own = member("NOCREATEROLE")
    for unlocked in (False, True):
        with pytest.raises(NoPermissionError) as refused:
            run_in(own, "SELECT 1", unlocked=unlocked)
    words = shlex.split(refused.value.command)
    assert words[0] == "psql"
    administrator = psycopg.conninfo.make_conninfo(words[1], user="postgres")
    with psycopg.connect(administrator, autocommit=True) as connection:
        for flag, statement in zip(words[2::2], words[3::2], strict=True):
            assert flag == "-c"
            connection.execute(statement.encode())
    assert run_in(own, "SELECT count(*) FROM users").rows == [["2"]]


def test_two_studios_create_the_role_once(databases: Databases) -> None:
    urls = [databases.seeded("postgresql") for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda n: run_in(urls[n % 2], "SELECT count(*) FROM users").rows, range(6)))
    assert results == [[["2"]]] * 6
    assert role_of(urls[0]) != role_of(urls[1])


def test_a_backup_is_restored_where_the_role_is_missing(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    run(url, "CREATE ROLE reader", "GRANT SELECT ON bookmarks TO reader")
    run_in(url, "SELECT 1")
    pharmdb.backup(url)
    role = role_of(url)
    run(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    pharmdb.restore(url)
    assert ask(url, "SELECT has_table_privilege('reader', 'bookmarks', 'SELECT')") == [(True,)]
    assert run_in(url, "SELECT count(*) FROM users").rows == [["2"]]
    run(url, "DROP OWNED BY reader", "DROP ROLE reader")
