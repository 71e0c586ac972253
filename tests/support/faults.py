"""Faults that the doctor must find."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

import pharmdb
from pharmdb.doctor.results import FAIL, OK, WARN
from support import raw

INSERT_ATTEMPTS = "; ".join(
    f"INSERT INTO attempts (user_id, entity_type, entity_id, answers, score) "
    f"SELECT min(id), 'question', 'q{n}', '[]', 101 FROM users"
    for n in range(4)
)


BESIDE_SEED = "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT min(id), 'drug', 'x' FROM users"


ORPHAN = "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (9999, 'drug', 'x')"


KEY = "FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE"


ADMIN = "admin@pharmtrainer.test"


DEMO = "demo@pharmtrainer.test"


# (what, on SQLite, on PostgreSQL, check, state, a piece of what is found, remedy)
HARM: list[tuple[str, str, str, str, str, str, str]] = [
    (
        "an orphan",
        f"PRAGMA foreign_keys = OFF; {ORPHAN}",
        f"SET session_replication_role = replica; {ORPHAN}",
        "orphans",
        FAIL,
        "1 rows without their user: bookmarks 1",
        "pharmdb reset",
    ),
    (
        "an orphan under a key that was not validated",
        "",
        f"ALTER TABLE bookmarks DROP CONSTRAINT fk_bookmarks_user_id_users; {ORPHAN}; ALTER TABLE bookmarks "
        f"ADD CONSTRAINT fk_bookmarks_user_id_users {KEY} NOT VALID",
        "orphans",
        FAIL,
        "1 rows without their user: bookmarks 1",
        "pharmdb reset",
    ),
    (
        "keys switched off",
        "",
        "ALTER TABLE bookmarks DISABLE TRIGGER ALL",
        "foreign keys",
        FAIL,
        "not enforced in bookmarks",
        "psql {url} -c 'ALTER TABLE bookmarks ENABLE TRIGGER ALL'",
    ),
    (
        "rows that break a check",
        f"PRAGMA ignore_check_constraints = ON; {INSERT_ATTEMPTS}",
        f"ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score; {INSERT_ATTEMPTS}; ALTER TABLE attempts "
        "ADD CONSTRAINT ck_attempts_score CHECK (score >= 0 AND score <= 100) NOT VALID",
        "constraints",
        FAIL,
        "ck_attempts_score: 4 rows of attempts, such as id 1, 2, 3",
        "pharmdb reset",
    ),
    (
        "a check that was not validated",
        "",
        "ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score, "
        "ADD CONSTRAINT ck_attempts_score CHECK (score >= 0 AND score <= 100) NOT VALID",
        "constraints",
        FAIL,
        "not validated: attempts.ck_attempts_score",
        "psql {url} -c 'ALTER TABLE attempts VALIDATE CONSTRAINT ck_attempts_score'",
    ),
    (
        "a check that is not enforced",
        "",
        "ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score, "
        "ADD CONSTRAINT ck_attempts_score CHECK (score >= 0 AND score <= 100) NOT ENFORCED",
        "constraints",
        FAIL,
        "not enforced: attempts.ck_attempts_score",
        "pharmdb reset",
    ),
    (
        "an unknown revision",
        "UPDATE alembic_version SET version_num = 'feedbeef0000'",
        "UPDATE alembic_version SET version_num = 'feedbeef0000'",
        "revision",
        FAIL,
        "revision feedbeef0000, written by newer code or another branch",
        "pharmdb reset",
    ),
    (
        "an unknown revision in production",
        "UPDATE alembic_version SET version_num = 'feedbeef0000'; UPDATE pharmdb_environment SET name = 'production'",
        "UPDATE alembic_version SET version_num = 'feedbeef0000'; UPDATE pharmdb_environment SET name = 'production'",
        "revision",
        FAIL,
        "feedbeef0000",
        "",
    ),
    (
        "tables without a revision",
        "DROP TABLE alembic_version",
        "DROP TABLE alembic_version",
        "revision",
        FAIL,
        "7 table(s) that no revision created: attempts",
        "pharmdb reset",
    ),
    (
        "a revision edited after it was applied",
        "UPDATE pharmdb_revisions SET sha256 = 'x' WHERE revision = '8f1c2a6d4b10'",
        "UPDATE pharmdb_revisions SET sha256 = 'x' WHERE revision = '8f1c2a6d4b10'",
        "revision files",
        FAIL,
        "edited after they were applied: 20260127_before_hardening.py",
        "pharmdb reset",
    ),
    (
        "a revision edited after it was applied in production",
        "UPDATE pharmdb_revisions SET sha256 = 'x'; UPDATE pharmdb_environment SET name = 'production'",
        "UPDATE pharmdb_revisions SET sha256 = 'x'; UPDATE pharmdb_environment SET name = 'production'",
        "revision files",
        FAIL,
        "20260128_constraints.py",
        "git checkout -- migrations/versions",
    ),
    (
        "a dropped index",
        "DROP INDEX ix_attempts_user_id_created_at",
        "DROP INDEX ix_attempts_user_id_created_at",
        "query plans",
        FAIL,
        "can't use ix_attempts_user_id_created_at",
        "pharmdb reset",
    ),
    (
        "a row of the seed gone",
        "DELETE FROM progress_by_tag WHERE tag = 'asthma'",
        "DELETE FROM progress_by_tag WHERE tag = 'asthma'",
        "seed",
        WARN,
        f"missing: progress_by_tag {DEMO} cases/pulmonary/asthma",
        "pharmdb seed",
    ),
    (
        "a row of the seed changed",
        "UPDATE user_settings SET language = 'de'",
        "UPDATE user_settings SET language = 'de'",
        "seed",
        OK,
        "complete, with changed values",
        "",
    ),
    (
        "a row beside the seed",
        BESIDE_SEED,
        BESIDE_SEED,
        "seed",
        OK,
        "complete, with additional rows",
        "",
    ),
    (
        "default passwords in production",
        "UPDATE pharmdb_environment SET name = 'production'",
        "UPDATE pharmdb_environment SET name = 'production'",
        "default passwords",
        FAIL,
        f"valid in production: {ADMIN}, {DEMO}",
        f"{{sql}} UPDATE users SET (password_hash) = (SELECT '!') WHERE email IN ('{ADMIN}', '{DEMO}')",
    ),
    (
        "a hash of no known form",
        f"UPDATE users SET password_hash = 'Password123!' WHERE email = '{DEMO}'",
        f"UPDATE users SET password_hash = 'Password123!' WHERE email = '{DEMO}'",
        "password hashes",
        WARN,
        "1 account can't log in to the application: 1 of an unknown form",
        "pharmdb seed",
    ),
    (
        "another environment",
        "UPDATE pharmdb_environment SET name = 'production'",
        "UPDATE pharmdb_environment SET name = 'production'",
        "environment",
        WARN,
        "the database says production, PHARMDB_ENV says development; production counts",
        "export PHARMDB_ENV=production",
    ),
    (
        "no environment",
        "DROP TABLE pharmdb_environment",
        "DROP TABLE pharmdb_environment",
        "environment",
        WARN,
        "not recorded in the database",
        "pharmdb migrate",
    ),
    (
        "readers that wait",
        "PRAGMA journal_mode = DELETE",
        "",
        "journal mode",
        WARN,
        "delete: readers and writers wait for each other",
        "pharmdb migrate",
    ),
    (
        "a row that its index lacks",
        "PRAGMA writable_schema = ON; "
        "UPDATE sqlite_master SET sql = sql || ' WHERE 0' WHERE name = 'ix_bookmarks_user_id'"
        f"-- again\n{BESIDE_SEED}-- again\nPRAGMA writable_schema = ON; "
        "UPDATE sqlite_master SET sql = replace(sql, ' WHERE 0', '') WHERE name = 'ix_bookmarks_user_id'",
        "",
        "integrity",
        FAIL,
        "row 1 missing from index ix_bookmarks_user_id",
        "mv {path} {path}.damaged && pharmdb reset",
    ),
]


READ = "SELECT id FROM users"


WRITE = "UPDATE users SET role = role"


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute(sys.argv[3]).fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holding(url: str, begin: str = "BEGIN IMMEDIATE") -> Iterator[int]:
    """Another process, or another session of the server, in the middle of a write; gives its number.

    With a mere BEGIN it has read something and holds nothing that a writer waits for.
    """
    if not url.startswith("sqlite"):
        with psycopg.connect(raw.libpq(url), application_name="a learner") as session:
            session.execute({"BEGIN IMMEDIATE": WRITE, "BEGIN": READ}.get(begin, begin))
            yield session.info.backend_pid
            session.rollback()
        return
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(raw.path(url)), begin, READ if begin == "BEGIN" else WRITE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


def ends(url: str, pid: int) -> str:
    if url.startswith("sqlite"):
        return f"kill {pid}"
    word = shlex.quote(pharmdb.target(url).url.set(drivername="postgresql").render_as_string())
    return f"psql {word} -c 'SELECT pg_terminate_backend({pid})'"


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
