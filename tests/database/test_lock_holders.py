"""Lock holders are shown without their secrets."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest
from support.databases import Databases, dsn

from pharmdb.database import lock_holders, targets

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("ALTER ROLE joe PASSWORD $a$it's {}$a$", "ALTER ROLE joe PASSWORD …"),
        ("ALTER ROLE joe PASSWORD $${}$$", "ALTER ROLE joe PASSWORD …"),
        (r"ALTER ROLE joe PASSWORD E'a\'{}'", "ALTER ROLE joe PASSWORD E …"),
        ("""SELECT 1 AS "it's", '{}'""", 'SELECT 1 AS "it …'),
        ("/* {} */ SELECT 1", " …"),
        ("SELECT 1 -- {}", "SELECT 1 …"),
        ("SET LOCAL app.jwt TO {}", "SET LOCAL app.jwt …"),
        ("SET app.jwt = {}", "SET app.jwt …"),
        ("SELECT 1 AS a", "SELECT 1 AS a"),
    ],
)
def test_a_statement_is_shown_up_to_its_first_literal(databases: Databases, statement: str, shown: str) -> None:
    url = databases.empty("postgresql")
    with psycopg.connect(dsn(url)) as connection:
        connection.execute("CREATE ROLE joe")
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute(statement.format(SECRET).encode())
        (holder,) = lock_holders.holders(targets.target(url))
        connection.rollback()
    assert SECRET not in str(holder)
    assert holder.what.partition(": ")[2] == shown


def test_a_command_line_is_shown_without_secrets(databases: Databases) -> None:
    url = databases.seeded("sqlite")
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM users'); print(1); input()"
    secrets = [
        *("--password", f"{SECRET} x", "--api-token", f"-{SECRET}", f"--secret={SECRET}", f"PGPASSWORD={SECRET}"),
        f"postgresql://us/er:p {SECRET} x@host/db",
    ]
    path = url.removeprefix("sqlite:///")
    with subprocess.Popen(
        [sys.executable, "-c", code, path, *secrets], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (holder,) = lock_holders.holders(targets.target(url))
        process.communicate(b"\n")
    assert holder.pid == process.pid
    assert SECRET not in f"{holder} {holder.what}"
    assert "import" not in holder.what
