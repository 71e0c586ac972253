"""A fingerprint is right whatever indexes, encoding and constraints a database was given by others."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection
from support import raw
from support.databases import Databases, dsn
from support.fingerprinting import FIRST, attempts, batches, prints, time
from support.postgres import Server

import pharmdb
from pharmdb.database import bulk, targets, transactions

# Of each two the first has the smaller code point; in UTF-16 or LATIN2, another order.
TAGS = ["a", "č", "ä", "ł", "\u0119", "z"]
BEYOND = ["\ue000", "🐎"]


def fill(connection: Connection, tags: list[str]) -> None:
    """Four users with attempts, one of them busy, and progress with these tags."""
    users = [(FIRST + n, f"{name}@example.org", "!", time(0)) for n, name in enumerate(["bob", "ann", "ab", "zoe"])]
    bulk.insert(connection, "users", ("id", "email", "password_hash", "created_at"), users)
    attempts(connection, [(n % 4, f"q{n}", "{}", n / 7, None, n) for n in range(24)])
    attempts(connection, [(0, f"r{n}", "[]", n / 7, "1", n // 3) for n in range(40)])
    progress(connection, tags)


def progress(connection: Connection, tags: list[str]) -> None:
    """Adds progress of one user with these tags."""
    columns = ("user_id", "module", "course_block", "tag", "last_attempt_at")
    bulk.insert(connection, "progress_by_tag", columns, [(FIRST + 1, "m", "c", tag, time(0)) for tag in tags])


@pytest.fixture
def connection(migrated: str) -> Iterator[Connection]:
    with transactions.writing(targets.target(migrated)) as connection:
        fill(connection, TAGS)
        yield connection


@pytest.mark.parametrize(
    ("statements", "busy_in_parts"),
    [
        (["CREATE INDEX a ON attempts (user_id, created_at) WHERE score > 50"], True),
        (["CREATE INDEX a ON attempts (user_id, created_at DESC)"], True),
        (["CREATE INDEX a ON attempts (user_id, lower(entity_id))"], True),
        (["DROP INDEX {}", 'CREATE INDEX "an index, ""quoted""" ON attempts (user_id, created_at)'], True),
        (["DROP INDEX {}", "CREATE INDEX a ON attempts (user_id, created_at) WHERE score > 50"], False),
        (["DROP INDEX {}", "CREATE INDEX a ON attempts (user_id, created_at DESC)"], False),
        (["DROP INDEX {}"], False),
    ],
)
def test_other_indexes_change_nothing(
    connection: Connection, row_by_row: list[str], statements: list[str], busy_in_parts: bool
) -> None:
    before = prints(connection)
    for statement in statements:
        connection.exec_driver_sql(statement.format("ix_attempts_user_id_created_at"))
    assert prints(connection) == before
    row_by_row.clear()
    with batches(2):
        assert pharmdb.fingerprint(connection) == before[0]
    # In parts, each would read all rows of the user.
    assert ("attempts" not in row_by_row) is busy_in_parts


def test_one_content_has_one_fingerprint_in_every_encoding(
    databases: Databases, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("encodings")
    urls = []
    for encoding in ("UTF-8", "UTF-16le", "UTF-16be"):
        urls.append(f"sqlite:///{folder / encoding}.db")
        with closing(sqlite3.connect(raw.path(urls[-1]), isolation_level=None)) as file:
            file.execute(f"PRAGMA encoding = '{encoding}'")
            file.execute("CREATE TABLE t (x)")
            file.execute("DROP TABLE t")
    with psycopg.connect(dsn(server.uri()), autocommit=True) as session:
        for encoding in ("UTF8", "LATIN2"):
            name = f"printed_{encoding.lower()}"
            urls.append(server.uri(name))
            create = sql.SQL("CREATE DATABASE {} ENCODING {} LOCALE 'C' TEMPLATE template0")
            session.execute(create.format(sql.Identifier(name), sql.Literal(encoding)))
    found: dict[str, set[tuple[str, ...]]] = {"some": set(), "all": set()}
    for url in urls:
        with databases.dropped(url) if "printed" in url else closing(file):
            pharmdb.migrate(url)
            with transactions.writing(targets.target(url)) as connection:
                fill(connection, TAGS)
                found["some"].add(tuple(prints(connection)))
                if "latin2" not in url:
                    progress(connection, BEYOND)
                    found["all"].add(tuple(prints(connection)))
    assert {name: len(each) for name, each in found.items()} == {"some": 1, "all": 1}


DAMAGES = [
    ("users", " STRICT", "", "UPDATE users SET email = CAST(email AS BLOB) WHERE id = 0"),
    ("attempts", " STRICT", "", "UPDATE attempts SET entity_id = x'6162' WHERE entity_id = 'q5'"),
    ("attempts", " STRICT", "", "UPDATE attempts SET created_at = CAST(created_at AS BLOB) WHERE entity_id = 'q5'"),
    ("progress_by_tag", " STRICT", "", "UPDATE progress_by_tag SET correct_count = 'x' WHERE tag = 'a'"),
    ("progress_by_tag", " STRICT", "", "UPDATE progress_by_tag SET correct_count = x'78' WHERE tag = 'a'"),
    ("attempts", "entity_id TEXT", "entity_id ANY", "UPDATE attempts SET entity_id = x'6162' WHERE entity_id = 'q5'"),
    ("attempts", "entity_id TEXT NOT NULL", "entity_id TEXT", "UPDATE attempts SET entity_id = NULL WHERE score > 3"),
    ("users", "email TEXT NOT NULL", "email TEXT", "UPDATE users SET email = NULL WHERE id = 0"),
]


@pytest.mark.parametrize(("table", "was", "now", "damage"), DAMAGES)
def test_a_table_that_takes_anything_has_one_fingerprint(
    databases: Databases, table: str, was: str, now: str, damage: str
) -> None:
    url = databases.migrated("sqlite")
    with transactions.writing(targets.target(url)) as connection:
        fill(connection, TAGS)
    with closing(sqlite3.connect(raw.path(url), isolation_level=None)) as file:
        file.execute("PRAGMA writable_schema = ON")
        change = "UPDATE sqlite_schema SET sql = replace(sql, ?1, ?2) WHERE name = ?3 AND instr(sql, ?1)"
        assert file.execute(change, (was, now, table)).rowcount == 1
        file.execute("PRAGMA writable_schema = RESET")
    with closing(sqlite3.connect(raw.path(url), isolation_level=None)) as file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        assert file.execute(damage).rowcount
    with transactions.reading(targets.target(url)) as connection:
        prints(connection)


@pytest.mark.parametrize("column", ["entity_id", "created_at"])
def test_a_row_with_null_where_none_is_expected_is_not_left_out(databases: Databases, column: str) -> None:
    with transactions.writing(targets.target(databases.migrated("postgresql"))) as connection:
        fill(connection, TAGS)
        before = prints(connection)
        connection.exec_driver_sql(f"ALTER TABLE attempts ALTER COLUMN {column} DROP NOT NULL")
        connection.exec_driver_sql(f"UPDATE attempts SET {column} = NULL WHERE score > 3")
        assert prints(connection) != before


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_two_users_with_one_address_are_read_together(databases: Databases, dialect: str) -> None:
    with transactions.writing(targets.target(databases.migrated(dialect))) as connection:
        fill(connection, TAGS)
        connection.exec_driver_sql("ALTER TABLE users DROP CONSTRAINT uq_users_email")
        connection.exec_driver_sql("UPDATE users SET email = 'ann@example.org'")
        prints(connection)
