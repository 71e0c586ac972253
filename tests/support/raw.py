"""Sessions that know nothing of pharmdb: plain sqlite3 and plain psycopg, and rows in plain SQL."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

# What a database raises for a value that it won't have; a mistake in the SQL raises something else.
REFUSED = (
    sqlite3.IntegrityError,
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.errors.DatatypeMismatch,
)

TIME = "'2026-01-02T03:04:05.006+00:00'"
LATER = "'2026-02-03T04:05:06.007+00:00'"
ANN = "(SELECT id FROM users WHERE email = 'ann@example.test')"
BEN = "(SELECT id FROM users WHERE email = 'ben@example.test')"

# A valid row of each table, as SQL literals. Ben owns none of these until a test inserts one.
ROWS: dict[str, dict[str, str]] = {
    "users": {"email": "'new@example.test'", "password_hash": "'x'", "role": "'USER'", "created_at": TIME},
    "user_settings": {"user_id": BEN, "language": "'en'", "created_at": TIME, "updated_at": LATER},
    "bookmarks": {"user_id": BEN, "entity_type": "'drug'", "entity_id": "'aspirin'", "created_at": TIME},
    "attempts": {
        "user_id": BEN,
        "entity_type": "'question'",
        "entity_id": "'q1'",
        "answers": """'{"choice": ["a", null], "note": "β-blocker"}'""",
        "score": "62.5",
        "feedback": """'{"right": false}'""",
        "created_at": TIME,
    },
    "progress_by_tag": {
        "user_id": BEN,
        "module": "'questions'",
        "course_block": "'cardiology'",
        "tag": "'arrhythmias'",
        "correct_count": "3",
        "wrong_count": "1",
        "last_attempt_at": TIME,
    },
    "spaced_repetition_items": {
        "user_id": BEN,
        "entity_type": "'drug'",
        "entity_id": "'aspirin'",
        "ease_factor": "2.5",
        "interval_days": "6",
        "next_review_at": LATER,
        "last_reviewed_at": TIME,
    },
    "dataset_overrides": {
        "name": "'new override'",
        "description": "'why'",
        "json_text": """'{"a": [1, 2]}'""",
        "is_active": "'1'",
        "created_by_id": BEN,
        "created_at": TIME,
        "updated_at": LATER,
    },
}
TABLES = tuple(ROWS)
OWNERS = {table: "created_by_id" if table == "dataset_overrides" else "user_id" for table in TABLES[1:]}
TIMES = [(table, column) for table, row in ROWS.items() for column in row if column.endswith("_at")]


def libpq(url: str) -> str:
    return url.replace("postgresql+psycopg:", "postgresql:")


def path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def folder_instead(path: Path) -> None:
    """Where a database was there is a folder."""
    path.unlink()
    path.mkdir()


@contextmanager
def session(url: str) -> Iterator[Any]:
    """A connection in autocommit mode. Foreign keys are on: SQLite enforces them only where it is asked to."""
    connection: Any
    if url.startswith("sqlite"):
        connection = sqlite3.connect(path(url), isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
    else:
        connection = psycopg.connect(libpq(url), autocommit=True, options="-c timezone=UTC")
    try:
        yield connection
    finally:
        connection.close()


def empty(url: str) -> None:
    """Leaves a database that is there, and has nothing in it."""
    if url.startswith("sqlite"):
        path(url).write_bytes(b"")
        for end in ("-wal", "-shm"):
            Path(f"{path(url)}{end}").unlink(missing_ok=True)
    else:
        run(url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def run(url: str, *scripts: str) -> None:
    """Runs scripts of one or more statements in one session; what stands behind `-- again` in another one."""
    for part in "\n;".join(scripts).split("-- again"):
        with session(url) as connection:
            connection.executescript(part) if url.startswith("sqlite") else connection.execute(part)


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    with session(url) as connection:
        return [tuple(row) for row in connection.execute(sql).fetchall()]


@contextmanager
def transaction(connection: Any, keep: bool = True) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT" if keep else "ROLLBACK")


def insert(table: str, **changes: str) -> str:
    """The INSERT of a valid row with these changes, which are SQL literals."""
    row = ROWS[table] | changes
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})"


def put(connection: Any, table: str, **changes: str) -> None:
    """Inserts a valid row with these changes, its times in the form of the database's revision."""
    sql = insert(table, **changes)
    if isinstance(connection, sqlite3.Connection) and not _has_new_times(connection):
        sql = re.sub(r"'(\d{4}-\d\d-\d\d)T([\d:.]{12})\+00:00'", r"'\1 \g<2>000'", sql)
    connection.execute(sql)


def _has_new_times(connection: sqlite3.Connection) -> bool:
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'bookmarks'").fetchone()
    return "T%H" in sql


def fill(connection: Any) -> None:
    """Two users; ann has a row in every table, with values that a careless conversion would change."""
    put(connection, "users", email="'ann@example.test'", role="'ADMIN'")
    put(connection, "users", email="'ben@example.test'")
    for table, owner in OWNERS.items():
        put(connection, table, **{owner: ANN} | ({"name": "'ann''s override'"} if table == "dataset_overrides" else {}))
    # Documents that are a bare number, text or null; times from before 1970, after 2038, and to the millisecond.
    for document in ("'42'", "'\"42\"'", "'null'", "'1.5'", "'[]'"):
        put(connection, "attempts", user_id=ANN, answers=document, feedback="NULL")
    for time in ("0001-01-01T00:00:00.000", "1969-12-31T23:59:59.999", "9999-12-31T23:59:59.999"):
        put(connection, "bookmarks", user_id=ANN, created_at=f"'{time}+00:00'")
    put(connection, "spaced_repetition_items", user_id=ANN, entity_id="'new'", last_reviewed_at="NULL")


def tables(connection: Any) -> list[str]:
    if isinstance(connection, sqlite3.Connection):
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    else:
        sql = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"
    return [name for (name,) in connection.execute(sql)]


def rows(connection: Any, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, in one order, whichever it has in the file; times in one form, whatever the revision."""
    found = connection.execute(f"SELECT * FROM {table}").fetchall()
    if isinstance(connection, sqlite3.Connection):
        found = [tuple(map(renewed, row)) for row in found]
    if table == "attempts" and isinstance(connection, sqlite3.Connection):
        # Before the hardening SQLite kept a document that is a number as a number: 42, not '42'.
        found = [tuple(str(v) if n in (4, 6) and v is not None else v for n, v in enumerate(row)) for row in found]
    return sorted(found, key=repr)


def renewed(value: Any) -> Any:
    """A value of SQLite; a time that an older revision stored as it is stored now."""
    old = re.fullmatch(r"(\d{4}-\d\d-\d\d) ([\d:.]{12})000", value) if isinstance(value, str) else None
    return f"{old[1]}T{old[2]}+00:00" if old else value


def content(connection: Any, names: tuple[str, ...] = TABLES) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(connection, table) for table in names}


_POSTGRESQL_SCHEMA = """
    SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod),
           attnotnull::text, pg_get_expr(adbin, adrelid)
      FROM pg_attribute
      JOIN pg_class ON pg_class.oid = attrelid
      LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'relation', relname, relkind::text, CASE relkind WHEN 'i' THEN pg_get_indexdef(oid) END, '', ''
      FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'type', typname, typtype::text, '', '', '' FROM pg_type WHERE typnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'function', proname, '', '', '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def schema(connection: Any) -> list[tuple[Any, ...]]:
    """Everything that the schema holds, as the database itself tells it."""
    if isinstance(connection, sqlite3.Connection):
        # SQLite's own table of counters stays once it is there.
        sql = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence'"
    else:
        sql = _POSTGRESQL_SCHEMA
    return sorted(connection.execute(sql).fetchall(), key=repr)


def everything(url: str) -> Any:
    """Schema and rows of all tables, to see that nothing was touched. A missing file is nothing."""
    if url.startswith("sqlite") and not path(url).exists():
        return None
    with session(url) as connection:
        return schema(connection), content(connection, tuple(tables(connection)))
