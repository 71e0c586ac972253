"""The console: what it runs, what it refuses, and what it never shows."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from pharmdb import database
from pharmdb.errors import ParameterError, PharmdbError, ProtectedError
from pharmdb.studio import console
from pharmdb.studio.console import Cancel, Result
from pharmdb.studio.journal import MASKED, Journal, mask_hashes

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


class Console:
    def __init__(self, url: str, log: Path) -> None:
        self.target = database.target(url)
        self.journal = Journal()
        self.log = log

    def __call__(
        self, sql: str, *, cancel: Cancel | None = None, seconds: float = 30, unlocked: bool = False, plan: bool = False
    ) -> Result:
        return console.run(
            self.target,
            sql,
            self.journal,
            cancel=cancel or Cancel(),
            seconds=seconds,
            unlocked=unlocked,
            plan=plan,
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
    ("SELECT pg_terminate_backend(1)", ProtectedError),
    ("SELECT pg_read_file('/etc/passwd')", ProtectedError),
    ("SELECT load_extension('x')", ProtectedError),
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
    monkeypatch.setattr(console, "check", lambda *_, **__: "SELECT")
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
]


@pytest.mark.parametrize("sql", LEAKS)
def test_a_hash_is_never_in_a_result(run: Console, sql: str) -> None:
    with database.reading(run.target) as connection:
        hashes = [row[0] for row in connection.exec_driver_sql("SELECT password_hash FROM users")]
    try:
        shown = json.dumps(run(sql).rows)
    except PharmdbError as error:
        shown = str(error)
    # Neither whole nor in part: the last characters are the hash itself.
    assert not [each for each in hashes if each[-20:] in shown or "argon2" in shown]


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
    assert run.journal.since(0)[-1].error == "cancelled"


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
    result = run(
        "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'a', 'b') RETURNING id", unlocked=True
    )
    assert result.rows == [["1"]]
    for sql in ("DROP TABLE bookmarks", "DELETE FROM pharmdb_environment", "UPDATE users SET role = 'BOSS'"):
        with pytest.raises(PharmdbError):
            run(sql, unlocked=True)
    assert run("SELECT count(*) FROM users WHERE role = 'ADMIN'").rows == [["2"]]


def test_the_journal_masks_what_is_secret(run: Console) -> None:
    bcrypt = "$2b$12$abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    run(f"SELECT '{bcrypt}' AS x, 'postgresql://me:hunter2@host/db' AS y")
    entry = run.journal.since(0)[-1]
    assert "abcdef" not in entry.statement
    assert "hunter2" not in entry.statement
    assert mask_hashes(f"a {bcrypt} b") == f"a {MASKED} b"
    assert mask_hashes("costs $2 or $25$") == "costs $2 or $25$"
