"""The console: what it runs, what it refuses, and what it never shows."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from support import raw

from pharmdb.database import targets, transactions
from pharmdb.errors import LockedError, ParameterError, PharmdbError, ProtectedError
from pharmdb.legacy import accounting
from pharmdb.studio_app import console, rights, save_log, sessions
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.statement_log import MASKED, StatementLog, mask_hashes
from pharmdb.studio_app.statements import ROWS_SHOWN, Result

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


class Console:
    def __init__(self, url: str, log: Path) -> None:
        self.target = targets.target(url)
        self.statement_log = StatementLog()
        self.log = log

    def __call__(
        self,
        sql: str,
        *,
        cancel: Cancel | None = None,
        seconds: float = 30,
        unlocked: bool = False,
        plan: bool = False,
        trial: bool = False,
        expected: int | None = None,
        values: dict[str, str | None] | None = None,
        most: int = ROWS_SHOWN,
    ) -> Result:
        return console.run(
            self.target,
            sql,
            self.statement_log,
            cancel=cancel or Cancel(),
            seconds=seconds,
            unlocked=unlocked,
            plan=plan,
            trial=trial,
            expected=expected,
            values=values,
            most=most,
            log=self.log,
        )


@pytest.fixture
def run(seeded: str, tmp_path: Path) -> Console:
    return Console(seeded, tmp_path / "studio.jsonl")


def test_a_result_is_text_with_its_columns(run: Console) -> None:
    result = run("SELECT id, email, NULL AS nil FROM users ORDER BY id; -- a comment; with a semicolon")
    assert result.columns == ["id", "email", "nil"]
    assert result.rows == [["1", "demo@pharmtrainer.test", None], ["2", "admin@pharmtrainer.test", None]]
    assert not result.more
    assert run("SELECT ';' AS x").rows == [[";"]]
    assert run("VALUES (1), (2)").rows == [["1"], ["2"]]
    assert run("SELECT '100%' AS x, ':name ?' AS y").rows == [["100%", ":name ?"]]


def test_parameters_are_values_and_never_sql(run: Console) -> None:
    by_email = "SELECT id, :what AS what FROM users WHERE email = :email"
    demo: dict[str, str | None] = {"email": "demo@pharmtrainer.test", "what": "x"}
    assert run(by_email, values=demo).rows == [["1", "x"]]
    assert run("SELECT email FROM users WHERE id = :id LIMIT :n", values={"id": "2", "n": "1"}).rows == [
        ["admin@pharmtrainer.test"]
    ]
    hostile = ["' OR '1'='1", "\\' OR 1=1 --", "; DELETE FROM users", "$$", ":email", '%s ? "', ""]
    for text in hostile:
        assert run("SELECT count(*) FROM users WHERE email = :email", values={"email": text}).rows == [["0"]]
        assert run("SELECT :text AS text", values={"text": text}).rows == [[text]]
    # Neither a text before it, nor its prefix, changes where the value ends.
    if not run.target.is_sqlite:
        for before in ("E", "E'a'\n", "U&", "'a'\n"):
            with pytest.raises(PharmdbError):
                run(f"SELECT {before}:x", values={"x": "\\' || (SELECT version()) || '"})
        assert run("SELECT '1'::int + 1 AS n").rows == [["2"]]
    with pytest.raises(ParameterError, match="a value for :email"):
        run(by_email, values={"what": "x"})
    assert run("SELECT ':no' AS x -- :no").rows == [[":no"]]
    with pytest.raises(ProtectedError, match="secret"):
        run("SELECT :x FROM users WHERE password_hash = :x", values={"x": "y"})
    assert next(entry.parameters for entry in run.statement_log.since(0)) == "what='x', email='demo@pharmtrainer.test'"


def test_a_parameter_may_be_null_or_an_empty_text(run: Console) -> None:
    sql = "SELECT :x IS NULL AS nil, coalesce(:x || '', 'none') = 'none' AS missing"
    true, false = ("1", "0") if run.target.is_sqlite else ("true", "false")
    assert run(sql, values={"x": None}).rows == [[true, true]]
    assert run.statement_log.since(0)[-1].parameters == "x=NULL"
    assert run(sql, values={"x": ""}).rows == [[false, false]]
    assert run("SELECT * FROM users WHERE email = :x", values={"x": None}).rows == []
    run("UPDATE attempts SET feedback = :x WHERE id = 0", unlocked=True, values={"x": None})
    assert "-- x = NULL" in run.log.read_text(encoding="utf-8")


def test_columns_of_numbers_are_told(run: Console) -> None:
    sql = "SELECT id, 1.5 AS n, CAST(id AS REAL) AS r, '7' AS text, email, nullif(id, 1) AS some FROM users"
    assert run(sql).numeric == [True, True, True, False, False, True]
    assert run("SELECT id FROM users", plan=True).numeric == []
    # SQLite can't tell what NULL is.
    empty = run("SELECT id, email, NULL AS nil FROM users WHERE id = 0").numeric
    assert empty == [not run.target.is_sqlite, False, False]
    if run.target.is_sqlite:
        assert run("SELECT 1 AS n UNION ALL SELECT 'x'").numeric == [False]


def test_a_statement_with_parameters_is_logged_with_them(run: Console) -> None:
    run("UPDATE users SET role = :role WHERE id = :id", unlocked=True, values={"role": "ADMIN", "id": "1"})
    assert "WHERE id = :id -- role = 'ADMIN', id = '1'" in run.log.read_text(encoding="utf-8")
    assert len(run("SELECT 1 AS n UNION SELECT 2 UNION SELECT 3", most=2).rows) == 2


def test_a_trial_says_how_many_rows_a_statement_would_change_and_keeps_nothing(run: Console) -> None:
    statement = "UPDATE progress_by_tag SET wrong_count = 7"
    tried = run(statement, unlocked=True, trial=True)
    assert (tried.changed, tried.trial) == (4, True)
    assert not run.log.exists()
    assert run("SELECT count(*) FROM progress_by_tag WHERE wrong_count = 7").rows == [["0"]]
    with pytest.raises(PharmdbError, match="would now change 4 rows"):
        run(statement, unlocked=True, expected=3)
    assert run("SELECT count(*) FROM progress_by_tag WHERE wrong_count = 7").rows == [["0"]]
    assert run(statement, unlocked=True, expected=4).changed == 4
    assert run("SELECT count(*) FROM progress_by_tag WHERE wrong_count = 7").rows == [["4"]]
    # What only reads is run at once.
    read = run("SELECT 1 AS one", unlocked=True, trial=True)
    assert (read.rows, read.trial) == ([["1"]], False)
    with pytest.raises(ProtectedError):
        run(statement, trial=True)


def test_only_the_first_thousand_rows_are_fetched(run: Console) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n"
    result = run(numbers.format(1001))
    assert (len(result.rows), result.more) == (1000, True)
    assert not run(numbers.format(1000)).more


REFUSED = [
    ("DELETE FROM users", ProtectedError),
    ("INSERT INTO users (email, password_hash) VALUES ('x@y', 'z')", ProtectedError),
    ("DROP TABLE users", ProtectedError),
    ("/* SELECT */ delete from users", ProtectedError),
    ("BEGIN", ProtectedError),
    ("COMMIT", ProtectedError),
    ("ATTACH ':memory:' AS other", ProtectedError),
    ("COPY users TO PROGRAM 'cat'", ProtectedError),
    ("SET transaction_read_only = off", ProtectedError),
    ("DO $$ BEGIN DELETE FROM users; END $$", ProtectedError),
    ("SELECT 1; DELETE FROM users", ParameterError),
    ("SELECT 1; COMMIT; DELETE FROM users; SELECT 2", ParameterError),
    ("WITH gone AS (DELETE FROM users RETURNING id) SELECT * FROM gone", PharmdbError),
    ("EXPLAIN ANALYZE DELETE FROM users", PharmdbError),
    ("SELECT set_config('transaction_read_only', 'off', true)", ProtectedError),
    ("SELECT pg_read_file('/etc/passwd')", PharmdbError),
    ("SELECT load_extension('x')", ProtectedError),
    ("SELECT pg_catalog . \"pg_ls_dir\" /* */ ('.')", PharmdbError),
    ("""SELECT "query_to_xml"('select 1', true, true, '')""", ProtectedError),
    ("SELECT 'a\0b'", ParameterError),
    ("SELECT query_to_xml('DELETE FROM users', true, true, '')", ProtectedError),
    ("PRAGMA writable_schema = 1", PharmdbError),
    ("PRAGMA query_only = 0", PharmdbError),
    ("", ParameterError),
    ("-- nothing", ParameterError),
]


@pytest.mark.parametrize(("sql", "error"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_could_do_harm_is_refused(run: Console, sql: str, error: type[PharmdbError]) -> None:
    with pytest.raises(error):
        run(sql)
    assert run("SELECT count(*) FROM users").rows == [["2"]]


def test_the_connection_itself_can_not_write(run: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guards stand behind each other: without the first, the others still hold."""
    monkeypatch.setattr(rights, "check", lambda *_, **__: "SELECT")
    for sql in ("DELETE FROM users", "DROP TABLE bookmarks", "UPDATE users SET role = 'ADMIN'", "SELECT 1; COMMIT"):
        with pytest.raises(PharmdbError):
            run(sql)
    monkeypatch.undo()
    assert run("SELECT count(*) FROM users WHERE role = 'USER'").rows == [["1"]]


LEAKS = [
    "SELECT * FROM users",
    "SELECT u FROM users u",
    "WITH u(a, b, c, d, e) AS (SELECT * FROM users) SELECT c, substr(c, 5), length(c) > 0, c || 'x' FROM u",
    "SELECT max(c) FROM (SELECT * FROM users) AS u(a, b, c, d, e)",
    "TABLE users",
    "SELECT substr(u::text, 30) FROM users u",
    "SELECT row_to_json(u) FROM users u",
    "SELECT substr(u::text, 30) FROM public.users u",
    'SELECT substr(u::text, 30) FROM "public" . "users" u',
    r"SELECT '\', substr(u.password_hash, 5), '\' FROM public.users u --'",
    "SELECT /* /* */ ' */ */ substr(password_hash, 5) FROM public.users -- '",
    "SELECT 1 AS a$x$, substr(password_hash, 5) FROM public.users AS b$x$",
    "SELECT 1 AS é$x$, substr(password_hash, 5) FROM public.users AS b$x$",
    "SELECT E'a'\n'\\'', substr(password_hash, 5), ' FROM public.users --'",
    r'SELECT U&"p\0061ssword_h\0061sh" FROM public.users',
    """SELECT "query_to_xml"('select password_hash from public.users', true, false, '')::text""",
    "SELECT histogram_bounds::text, most_common_vals::text FROM pg_stats WHERE tablename = 'users'",
    "SELECT stavalues1::text FROM pg_statistic",
    "SELECT h FROM renamed",
    "SELECT id FROM renamed WHERE h > '$2b$10$C'",
    "SELECT max(h) FROM renamed",
    "SELECT h FROM renamed UNION ALL SELECT h FROM renamed",
    "SELECT substr(h, 5) FROM (SELECT * FROM renamed OFFSET 0) AS r",
    "SELECT (SELECT substr(h, 5) FROM renamed LIMIT 1)",
    "SELECT o FROM other.copied o",
    "SELECT substr(o::text, 5) FROM other.copied o",
    "SELECT to_jsonb(o) FROM other.copied o JOIN users u ON u.id = o.id",
    "SELECT a.b FROM other.copied AS a(i, b)",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM renamed WHERE h LIKE '$2b$%'",
]


@pytest.mark.parametrize("sql", LEAKS)
def test_a_hash_is_never_in_a_result(run: Console, sql: str) -> None:
    with transactions.writing(run.target) as connection:
        connection.exec_driver_sql("CREATE VIEW renamed AS SELECT id, password_hash AS h FROM users")
        if not run.target.is_sqlite:
            connection.exec_driver_sql("CREATE SCHEMA other")
            connection.exec_driver_sql("CREATE TABLE other.copied AS SELECT id, password_hash FROM users")
            connection.exec_driver_sql("ANALYZE users")
        hashes = [row[0] for row in connection.exec_driver_sql("SELECT password_hash FROM users")]
    try:
        shown = json.dumps(run(sql).rows)
    except PharmdbError as error:
        shown = str(error)
    # Neither whole nor in part: the last characters are the hash itself.
    assert not [each for each in hashes if each[-20:] in shown or each[10:30] in shown]
    assert run("SELECT count(*), max(email) FROM users").rows == [["2", "demo@pharmtrainer.test"]]


def test_a_secret_can_not_be_compared_through_a_view(run: Console) -> None:
    with transactions.writing(run.target) as connection:
        connection.exec_driver_sql("CREATE VIEW renamed AS SELECT id, password_hash AS h FROM users")
    for sql in ("SELECT id FROM renamed WHERE h > 'a'", "SELECT count(*) FROM renamed WHERE h > 'a'"):
        if run.target.is_sqlite:
            assert run(sql).rows in ([], [["0"]])
        else:
            with pytest.raises(ProtectedError):
                run(sql)


def test_tables_with_secrets_are_used_without_them(run: Console) -> None:
    for sql in (
        "SELECT count(*) FROM users",
        "SELECT role, count(*) FROM users GROUP BY role HAVING count(*) > 0 ORDER BY role",
        "SELECT u.email, p.tag FROM users u JOIN progress_by_tag p ON p.user_id = u.id ORDER BY p.tag",
        "SELECT email, row_number() OVER (ORDER BY id) FROM users",
        "SELECT DISTINCT role FROM users ORDER BY role LIMIT 1",
        "SELECT * FROM users WHERE id IN (SELECT user_id FROM user_settings)",
        "WITH u AS (SELECT * FROM users) SELECT id FROM u ORDER BY id",
    ):
        assert run(sql).rows, sql
    assert run("EXPLAIN SELECT count(*) FROM users").rows


OLD = '{"passwordHash": "hunter2-as-text"}'


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM upgrade_rejects",
        "SELECT row AS x FROM upgrade_rejects",
        "SELECT r.row FROM upgrade_rejects r",
        "SELECT replace(CAST(r.row AS TEXT), '-', '#') FROM upgrade_rejects r",
        "SELECT r.row->>'passwordHash' FROM upgrade_rejects r",
        "SELECT json_group_array(row) FROM upgrade_rejects",
        "SELECT to_jsonb(r)->'row' FROM upgrade_rejects r",
        "SELECT to_jsonb(r)->'row' FROM public.upgrade_rejects r",
    ],
)
def test_rows_that_an_upgrade_rejected_are_not_shown(run: Console, sql: str) -> None:
    mark = "?" if run.target.is_sqlite else "%s"
    with transactions.writing(run.target) as connection:
        accounting.rejects_table.create(connection)
        values = f"INSERT INTO upgrade_rejects (source_table, source_id, row, reason) VALUES ('users', 9, {mark}, 'x')"
        connection.exec_driver_sql(values, (OLD,))
    try:
        shown = json.dumps(run(sql).rows)
    except PharmdbError as error:
        shown = str(error)
    assert "hunter2" not in shown
    assert "as-text" not in shown
    assert "as#text" not in shown
    assert run("SELECT source_table, source_id, reason FROM upgrade_rejects").rows == [["users", "9", "x"]]


WRITES_SECRETS = [
    "INSERT INTO users VALUES (77, 'x@y.z', 'plaintext', 'ADMIN', '2026-01-01T00:00:00.000+00:00')",
    "INSERT INTO users SELECT 78, 'x@y.zz', 'plaintext', 'ADMIN', created_at FROM users WHERE id = 1",
    "REPLACE INTO users SELECT 1, 'x@y.z', 'plaintext', 'ADMIN', created_at FROM users WHERE id = 1",
    "MERGE INTO users u USING (SELECT 1 AS i) s ON u.id = 88 WHEN NOT MATCHED THEN INSERT "
    "VALUES (88, 'x@y.z', 'plaintext', 'ADMIN', now())",
    "WITH w AS (INSERT INTO users VALUES (79, 'x@y.z', 'plaintext', 'ADMIN', now()) RETURNING id) SELECT id FROM w",
    "UPDATE users SET role = role RETURNING *",
    "UPDATE users SET role = role RETURNING substr(to_jsonb(users)->>'password_hash', 5)",
    "WITH w AS (UPDATE users SET role = role RETURNING users) SELECT substr(w::text, 5) FROM w",
    "UPDATE users SET email = r.h FROM renamed r WHERE r.id = users.id",
    "UPDATE renamed SET h = 'plaintext'",
    r"""UPDATE users SET U&"p\0061ssword_h\0061sh" = 'plaintext'""",
    "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT 1, 'x', h FROM renamed",
    "WITH t(a, b, c, d, e) AS (SELECT * FROM users) "
    "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT a, 'x', c FROM t RETURNING *",
    "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT a, 'x', c FROM users AS t(a, b, c, d, e)",
]


@pytest.mark.parametrize("sql", WRITES_SECRETS)
def test_unlocked_it_neither_sets_nor_reads_a_secret(run: Console, sql: str) -> None:
    with transactions.writing(run.target) as connection:
        connection.exec_driver_sql("CREATE VIEW renamed AS SELECT id, password_hash AS h FROM users")
        before = connection.exec_driver_sql("SELECT id, password_hash FROM users ORDER BY id").fetchall()
    try:
        result = json.dumps(run(sql, unlocked=True).rows)
    except PharmdbError as error:
        result = str(error)
    assert not [each for _, each in before if each[-20:] in result or each[10:30] in result]
    with transactions.reading(run.target) as connection:
        now = connection.exec_driver_sql("SELECT id, password_hash FROM users ORDER BY id").fetchall()
        assert now == before
        texts = connection.exec_driver_sql(
            "SELECT email FROM users UNION ALL SELECT entity_id FROM bookmarks"
        ).fetchall()
    assert not [text for (text,) in texts if "$2b$" in text]


def test_a_backslash_is_a_letter_where_the_database_has_it_so(run: Console) -> None:
    assert run(r"SELECT '\' AS a, 'b' AS c").rows == [["\\", "b"]]
    if not run.target.is_sqlite:
        assert run(r"SELECT E'\'; --' AS a").rows == [["'; --"]]
        assert run("SELECT /* a /* nested */ comment */ 1").rows == [["1"]]
        assert run("SELECT $a$it's; $$ here$a$").rows == [["it's; $$ here"]]


def test_a_secret_column_is_not_named(run: Console) -> None:
    for sql in ("SELECT password_hash FROM users", 'SELECT "password_hash" AS x FROM users'):
        with pytest.raises(ProtectedError, match="password_hash"):
            run(sql)
    with pytest.raises(ProtectedError, match="password_hash"):
        run("UPDATE users SET password_hash = 'x'", unlocked=True)
    assert run("SELECT * FROM users").rows[0][2] in (None, MASKED)


def test_a_plan_is_the_databases_own(run: Console) -> None:
    plan = run("SELECT * FROM users WHERE email = 'x@y'", plan=True).plan
    assert "users" in plan
    assert "index" in plan.lower()


def test_a_statement_is_cancelled(run: Console) -> None:
    cancel = Cancel()
    threading.Timer(0.2, cancel).start()
    began = time.monotonic()
    with pytest.raises(PharmdbError, match="cancelled"):
        run(SLOW, cancel=cancel)
    assert time.monotonic() - began < 10
    assert run.statement_log.since(0)[-1].error == "cancelled"


def test_a_cancellation_between_two_statements_is_not_lost(run: Console) -> None:
    cancel = Cancel()
    with sessions.reading(run.target, run.statement_log) as session:
        connection = session.connection

        def later() -> None:
            with cancel.over(connection):
                cancel()
                connection.exec_driver_sql(SLOW)

        with pytest.raises(PharmdbError, match="cancelled"):
            later()


def test_a_statement_times_out(run: Console) -> None:
    began = time.monotonic()
    with pytest.raises(PharmdbError, match=r"timed out after 0\.2 s"):
        run(SLOW, seconds=0.2)
    assert time.monotonic() - began < 10
    with pytest.raises(ParameterError, match="1 to 600"):
        run("SELECT 1", seconds=601)


def test_unlocked_it_writes_in_one_transaction_and_logs_it(run: Console) -> None:
    assert run("UPDATE users SET role = 'ADMIN' WHERE id = 1", unlocked=True).changed == 1
    assert run("SELECT role FROM users WHERE id = 1").rows == [["ADMIN"]]
    entries = [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]
    assert [entry["state"] for entry in entries] == ["saving", "saved"]
    assert entries[0]["statement"].startswith("UPDATE users SET role")
    assert [(e["state"], e["rows"]) for e in save_log.saves(run.target, log=run.log)] == [("saved", 1)]
    result = run(
        "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'a', 'b') RETURNING id", unlocked=True
    )
    assert result.rows == [["1"]]
    for sql in ("DROP TABLE bookmarks", "DELETE FROM pharmdb_environment", "UPDATE users SET role = 'BOSS'"):
        with pytest.raises(PharmdbError):
            run(sql, unlocked=True)
    assert run("SELECT count(*) FROM users WHERE role = 'ADMIN'").rows == [["2"]]


@pytest.mark.parametrize("trial", [True, False])
@pytest.mark.parametrize("sql", ["DELETE FROM users", "UPDATE users SET role = 'USER' WHERE id > 1 RETURNING id"])
def test_the_last_administrator_stays(run: Console, sql: str, trial: bool) -> None:
    with pytest.raises(ProtectedError) as caught:
        run(sql, unlocked=True, trial=trial)
    assert caught.value.expected == "another administrator to remain"
    assert caught.value.found == "admin@pharmtrainer.test is the only administrator"
    assert "promote another one first" in str(caught.value)
    assert run("SELECT role FROM users ORDER BY id").rows == [["USER"], ["ADMIN"]]
    assert not run.log.exists()
    assert [e.error for e in run.statement_log.since(0) if e.statement == sql] == [caught.value.found]
    run("UPDATE users SET role = CASE WHEN role = 'ADMIN' THEN 'USER' ELSE 'ADMIN' END", unlocked=True)
    assert run("DELETE FROM users WHERE id = 2", unlocked=True).changed == 1


def test_an_administrator_whom_another_program_deletes_is_waited_for(
    run: Console, seeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("UPDATE users SET role = 'ADMIN'", unlocked=True)
    with raw.session(seeded) as application:
        with raw.transaction(application):
            application.execute("DELETE FROM users WHERE id = 2")
            with monkeypatch.context() as patch:
                patch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
                with pytest.raises(LockedError):
                    run("DELETE FROM users WHERE id = 1", unlocked=True)
        with pytest.raises(ProtectedError, match=r"demo@pharmtrainer\.test is the only administrator"):
            run("DELETE FROM users WHERE id = 1", unlocked=True)


def test_where_no_administrator_is_none_is_asked_for(run: Console) -> None:
    with transactions.writing(run.target) as connection:
        connection.exec_driver_sql("UPDATE users SET role = 'USER'")
    assert run("DELETE FROM users", unlocked=True).changed == 2
    with transactions.writing(run.target) as connection:
        connection.exec_driver_sql("ALTER TABLE users RENAME TO elsewhere")
    assert run("DELETE FROM bookmarks", unlocked=True).changed == 0


def test_the_statement_log_masks_what_is_secret(run: Console) -> None:
    bcrypt = "$2b$12$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    run(f"SELECT '{bcrypt}' AS x, 'postgresql://me:hunter2@host/db' AS y")
    entry = run.statement_log.since(0)[-1]
    assert "abcdef" not in entry.statement
    assert "hunter2" not in entry.statement
    assert mask_hashes(f"a {bcrypt} b") == f"a {MASKED} b"
    assert mask_hashes("costs $2 or $25$") == "costs $2 or $25$"
