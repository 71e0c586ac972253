"""times ids drafts

What the application writes and relies on.

Times are kept to the millisecond: on SQLite as YYYY-MM-DDTHH:MM:SS.mmm+00:00, the text that the application's own
driver writes and compares with, on PostgreSQL as TIMESTAMPTZ(3). A time with microseconds is rounded to the nearest
millisecond, a half away from 2000-01-01 as PostgreSQL does it; what would become the year 10000 becomes the last
millisecond of 9999. The microseconds are lost, and a downgrade brings none back. No unique key holds a time.

On SQLite ids are given by AUTOINCREMENT, so none is used twice. A downgrade leaves the counters where they are for the
next upgrade; meanwhile SQLite goes by the largest id that is there.

Only an active override must hold JSON: drafts may be any text. A downgrade moves those that are not JSON to
upgrade_rejects, whole and with the reason.

Revision ID: 7b1f4e90d2a6
Revises: 2d7e9b05c3f4
Create Date: 2026-11-25 13:30:00 UTC
"""

import json
from collections.abc import Iterator
from typing import Any

from alembic import op

from pharmdb.errors import RevisionError

revision = "7b1f4e90d2a6"
down_revision = "2d7e9b05c3f4"
branch_labels = None
depends_on = None

# SQLite's tables as they become: each column's type, default and whether it may be empty. "time" and "owner" say more.
TABLES: dict[str, dict[str, str]] = {
    "users": {
        "email": "TEXT NOT NULL",
        "password_hash": "TEXT NOT NULL",
        "role": "TEXT DEFAULT 'USER' NOT NULL",
        "created_at": "time now",
    },
    "user_settings": {
        "user_id": "owner",
        "language": "TEXT DEFAULT 'en' NOT NULL",
        "created_at": "time now",
        "updated_at": "time now",
    },
    "bookmarks": {
        "user_id": "owner",
        "entity_type": "TEXT NOT NULL",
        "entity_id": "TEXT NOT NULL",
        "created_at": "time now",
    },
    "attempts": {
        "user_id": "owner",
        "entity_type": "TEXT NOT NULL",
        "entity_id": "TEXT NOT NULL",
        "answers": "TEXT NOT NULL",
        "score": "REAL NOT NULL",
        "feedback": "TEXT",
        "created_at": "time now",
    },
    "progress_by_tag": {
        "user_id": "owner",
        "module": "TEXT NOT NULL",
        "course_block": "TEXT NOT NULL",
        "tag": "TEXT NOT NULL",
        "correct_count": "INTEGER DEFAULT 0 NOT NULL",
        "wrong_count": "INTEGER DEFAULT 0 NOT NULL",
        "last_attempt_at": "time now",
    },
    "spaced_repetition_items": {
        "user_id": "owner",
        "entity_type": "TEXT NOT NULL",
        "entity_id": "TEXT NOT NULL",
        "ease_factor": "REAL NOT NULL",
        "interval_days": "INTEGER NOT NULL",
        "next_review_at": "time",
        "last_reviewed_at": "time?",
    },
    "dataset_overrides": {
        "name": "TEXT NOT NULL",
        "description": "TEXT DEFAULT '' NOT NULL",
        "json_text": "TEXT NOT NULL",
        "is_active": "INTEGER DEFAULT false NOT NULL",
        "created_by_id": "owner",
        "created_at": "time now",
        "updated_at": "time now",
    },
}
UNIQUE = {
    "users": ("email",),
    "user_settings": ("user_id",),
    "progress_by_tag": ("user_id", "module", "course_block", "tag"),
    "spaced_repetition_items": ("user_id", "entity_type", "entity_id"),
    "dataset_overrides": ("name",),
}
CHECKS = (
    ("users", "email", "email = lower(email) AND length(email) - length(replace(email, '@', '')) = 1"),
    ("users", "role", "role IN ('USER', 'ADMIN')"),
    ("user_settings", "language", "length(language) >= 2 AND length(language) <= 5"),
    ("attempts", "entity_type", "entity_type IN ('question', 'case', 'calc')"),
    ("attempts", "score", "score >= 0 AND score <= 100"),
    ("progress_by_tag", "counts", "correct_count >= 0 AND wrong_count >= 0"),
    ("spaced_repetition_items", "ease_factor", "ease_factor >= 1.3 AND ease_factor <= 1000000"),
    ("spaced_repetition_items", "interval_days", "interval_days >= 1"),
    ("spaced_repetition_items", "review_order", "next_review_at >= last_reviewed_at"),
    (
        "users",
        "email_characters",
        "email NOT GLOB '*[^!-~]*' AND email GLOB '?*@?*' AND instr(email, char(0)) = 0",
    ),
    ("user_settings", "language_letters", "language NOT GLOB '*[^A-Za-z]*' AND instr(language, char(0)) = 0"),
    ("attempts", "answers", "json_valid(answers) AND instr(answers, char(0)) = 0"),
    ("attempts", "feedback", "feedback IS NULL OR json_valid(feedback) AND instr(feedback, char(0)) = 0"),
    ("dataset_overrides", "is_active", "is_active IN (0, 1)"),
)
# Both of dataset_overrides.json_text, for (SQLite, PostgreSQL).
OLD_JSON = ("json_valid(json_text) AND instr(json_text, char(0)) = 0", "CAST(json_text AS json) IS NOT NULL")
NEW_JSON = (
    "(NOT is_active OR json_valid(json_text)) AND instr(json_text, char(0)) = 0",
    "CASE WHEN is_active THEN CAST(json_text AS json) IS NOT NULL ELSE true END",
)
OLD_NOW = "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
NEW_NOW = "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"
OLD_FORM = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]." + "[0-9]" * 6
NEW_FORM = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]+00:00"

# pharmdb's own records, where there are any: what stands between the brackets on SQLite, and the one time of each.
RECORDS = {
    "upgrade_rejects": (
        ("id", "source_table", "source_id", '"row"', "reason", "rejected_at"),
        "id INTEGER PRIMARY KEY, source_table TEXT NOT NULL, source_id INTEGER NOT NULL, "
        '"row" TEXT NOT NULL CHECK (json_valid("row")), reason TEXT NOT NULL, rejected_at TEXT NOT NULL DEFAULT {now}',
    ),
    "pharmdb_upgrades": (
        ("id", "source", "stage", "digest", "upgraded_at"),
        "id INTEGER PRIMARY KEY, source TEXT NOT NULL, stage INTEGER NOT NULL, digest TEXT NOT NULL, "
        "upgraded_at TEXT NOT NULL DEFAULT {now}",
    ),
}


def upgrade() -> None:
    if not _is_sqlite():
        _refuse_dependents()
        for table, columns in _times():
            for column in columns:
                # Rounded, it would be in the year 10000.
                _run(
                    f"UPDATE {table} SET {column} = '9999-12-31 23:59:59.999+00' "
                    f"WHERE {column} >= '9999-12-31 23:59:59.9995+00'"
                )
            _alter_times(table, columns, "TIMESTAMPTZ(3)")
        _replace_json_check(NEW_JSON[1])
        return
    marks = _take_marks()
    for table in TABLES:
        _rebuild(table, new=True)
    for table in _records():
        _renew(table, new=True)
    _give_marks(marks)


def downgrade() -> None:
    sqlite = _is_sqlite()
    _reject_drafts(sqlite)
    if not sqlite:
        _refuse_dependents()
        _replace_json_check(OLD_JSON[1])
        for table, columns in _times():
            _alter_times(table, columns, "TIMESTAMPTZ")
        return
    marks = _take_marks()
    for table in TABLES:
        _rebuild(table, new=False)
    for table in _records():
        _renew(table, new=False)
    _give_marks(marks)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _run(sql: str, parameters: Any = None) -> list[Any]:
    result = op.get_bind().exec_driver_sql(sql, parameters)
    return list(result) if result.returns_rows else []


def _records() -> list[str]:
    """Those of RECORDS that are there."""
    catalogue = (
        "SELECT name FROM sqlite_master WHERE type = 'table'"
        if _is_sqlite()
        else "SELECT relname FROM pg_class WHERE relkind = 'r' "
        "AND relnamespace = quote_ident(current_schema())::regnamespace"
    )
    there = {name for (name,) in _run(catalogue)}
    return [table for table in RECORDS if table in there]


def _times() -> Iterator[tuple[str, list[str]]]:
    for table, columns in TABLES.items():
        yield table, [column for column, kind in columns.items() if kind.startswith("time")]
    for table in _records():
        yield table, [RECORDS[table][0][-1]]


# -- drafts -----------------------------------------------------------------------------------------


def _reject_drafts(sqlite: bool) -> None:
    """Moves what the older rule forbids; PostgreSQL's rule raises an error instead of saying no."""
    if sqlite:
        broken = [id_ for (id_,) in _run(f"SELECT id FROM dataset_overrides WHERE NOT ({OLD_JSON[0]})")]
    else:
        drafts = _run("SELECT id, json_text FROM dataset_overrides WHERE NOT is_active")
        broken = [id_ for id_, document in drafts if not _is_json(document)]
    if not broken:
        return
    if "upgrade_rejects" not in _records():
        columns = RECORDS["upgrade_rejects"][1]
        _run(
            f"CREATE TABLE upgrade_rejects ({columns.format(now=NEW_NOW)}) STRICT"
            if sqlite
            else "CREATE TABLE upgrade_rejects (id BIGSERIAL PRIMARY KEY, source_table VARCHAR NOT NULL, "
            'source_id BIGINT NOT NULL, "row" JSONB NOT NULL, reason VARCHAR NOT NULL, '
            "rejected_at TIMESTAMPTZ(3) NOT NULL DEFAULT now())"
        )
    pairs = ", ".join(f"'{column}', {column}" for column in ("id", *TABLES["dataset_overrides"]))
    row = f"json_object({pairs})" if sqlite else "to_jsonb(dataset_overrides)"
    for id_ in broken:
        _run(
            'INSERT INTO upgrade_rejects (source_table, source_id, "row", reason) '
            f"SELECT 'dataset_overrides', id, {row}, 'breaks ck_dataset_overrides_json_text: a draft that is not JSON' "
            f"FROM dataset_overrides WHERE id = {id_}"
        )
        _run(f"DELETE FROM dataset_overrides WHERE id = {id_}")


def _is_json(document: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(document, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


# -- PostgreSQL -------------------------------------------------------------------------------------


def _replace_json_check(rule: str) -> None:
    name = "ck_dataset_overrides_json_text"
    _run(f"ALTER TABLE dataset_overrides DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK ({rule})")


def _alter_times(table: str, columns: list[str], type_: str) -> None:
    _run(f"ALTER TABLE {table} " + ", ".join(f"ALTER COLUMN {column} TYPE {type_}" for column in columns))


def _refuse_dependents() -> None:
    """PostgreSQL changes no type under a view."""
    views: set[str] = set()
    for table, columns in _times():
        names = ", ".join(f"'{column}'" for column in columns)
        views |= {
            name
            for (name,) in _run(
                "SELECT DISTINCT ev_class::regclass::text FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid "
                f"JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid AND attname IN ({names}) "
                f"WHERE classid = 'pg_rewrite'::regclass AND refobjid = '{table}'::regclass"
            )
        }
    if views:
        raise RevisionError(
            expected="no view that shows a time of pharmdb's tables, because the times change their type",
            found=f"views: {', '.join(sorted(views))}",
            unchanged="everything was rolled back",
            note="drop these views, run the same command again, then create the views again",
        )


# -- SQLite -----------------------------------------------------------------------------------------


def _take_marks() -> dict[str, int]:
    """How far each table's ids had gone; taken out of SQLite's own table, so that a rebuild starts without them."""
    if not _run("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"):
        return {}
    names = ", ".join(f"'{table}'" for table in TABLES)
    found = _run(f"SELECT name, max(seq) FROM sqlite_sequence WHERE name IN ({names}) GROUP BY name")
    _run(f"DELETE FROM sqlite_sequence WHERE name IN ({names})")
    return {name: seq for name, seq in found if isinstance(seq, int)}


def _give_marks(marks: dict[str, int]) -> None:
    for table, mark in marks.items():
        ((mark_now,),) = _run("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,))
        if mark > mark_now:
            _run("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            _run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, mark))


def converted(column: str, new: bool) -> str:
    """A time in its other form, as SQL."""
    if not new:
        return f"substr({column}, 1, 10) || ' ' || substr({column}, 12, 12) || '000'"
    day, rest = f"substr({column}, 1, 10) || 'T' || ", f"CAST(substr({column}, 24) AS INTEGER)"
    half = f"CASE WHEN {column} >= '2000' THEN 500 ELSE 501 END"
    return (
        f"CASE WHEN {rest} < {half} OR {column} >= '9999-12-31 23:59:59.9995' "
        f"THEN {day}substr({column}, 12, 12) || '+00:00' "
        f"WHEN substr({column}, 21, 3) < '999' "
        f"THEN {day}substr({column}, 12, 9) || printf('%03d', substr({column}, 21, 3) + 1) || '+00:00' "
        f"ELSE strftime('%Y-%m-%dT%H:%M:%S', substr({column}, 1, 19), '+1 seconds') || '.000+00:00' END"
    )


def _column(name: str, kind: str, now: str) -> str:
    if kind == "owner":
        return f"{name} INTEGER NOT NULL"
    if not kind.startswith("time"):
        return f"{name} {kind}"
    default = f" DEFAULT {now}" if kind.endswith("now") else ""
    return f"{name} TEXT{default}{'' if kind.endswith('?') else ' NOT NULL'}"


def _time_check(column: str, new: bool) -> str:
    start = f"substr({column}, 1, 19)"
    real = f"strftime('%Y-%m-%dT%H:%M:%S', {start}, '+0 seconds')" if new else f"datetime({start}, '+0 seconds')"
    return (
        f"{column} GLOB '{NEW_FORM if new else OLD_FORM}' AND {real} IS {start} "
        f"AND length({column}) = {29 if new else 26} AND instr({column}, char(0)) = 0 AND {column} >= '0001'"
    )


def _lines(table: str, new: bool) -> Iterator[str]:
    key = f"CONSTRAINT pk_{table} PRIMARY KEY"
    yield f"id INTEGER NOT NULL {key} AUTOINCREMENT" if new else "id INTEGER NOT NULL"
    for column, kind in TABLES[table].items():
        yield _column(column, kind, NEW_NOW if new else OLD_NOW)
    if not new:
        yield f"{key} (id)"
    if table in UNIQUE:
        yield f"CONSTRAINT uq_{table}_{'_'.join(UNIQUE[table])} UNIQUE ({', '.join(UNIQUE[table])})"
    for name, check, rule in CHECKS:
        if name == table:
            yield f"CONSTRAINT ck_{table}_{check} CHECK ({rule})"
    if table == "dataset_overrides":
        yield f"CONSTRAINT ck_{table}_json_text CHECK ({(NEW_JSON if new else OLD_JSON)[0]})"
    for column, kind in TABLES[table].items():
        if kind.startswith("time"):
            yield f"CONSTRAINT ck_{table}_{column} CHECK ({_time_check(column, new)})"
    for column, kind in TABLES[table].items():
        if kind == "owner":
            yield (
                f"CONSTRAINT fk_{table}_{column}_users FOREIGN KEY ({column}) REFERENCES users (id) ON DELETE CASCADE"
            )


def _rebuild(table: str, new: bool) -> None:
    times = {column for column, kind in TABLES[table].items() if kind.startswith("time")}
    columns = ("id", *TABLES[table])
    values = [converted(column, new) if column in times else column for column in columns]
    _replace(table, "\n\t" + ",\n\t".join(_lines(table, new)) + "\n", columns, values)


def _renew(table: str, new: bool) -> None:
    columns, body = RECORDS[table]
    values = [*columns[:-1], converted(columns[-1], new)]
    _replace(table, body.format(now=NEW_NOW if new else OLD_NOW), columns, values)


def _replace(table: str, body: str, columns: tuple[str, ...], values: list[str]) -> None:
    """SQLite can't alter constraints: a new table takes the rows and then the name.

    Foreign keys are off in a schema transaction, so dropping the old table deletes nothing elsewhere.
    """
    extra = {row[1] for row in _run(f"PRAGMA table_info({table})")} - {column.strip('"') for column in columns}
    if extra:
        raise RevisionError(
            expected=f"{table} with the columns that this revision knows",
            found=f"more: {', '.join(sorted(extra))}",
            unchanged="everything was rolled back",
            note="move what they hold to a table of its own and drop them, then run the same command again",
        )
    kept = "type IN ('index', 'trigger') AND sql IS NOT NULL"
    others = _run(f"SELECT sql FROM sqlite_master WHERE tbl_name = ? AND {kept}", (table,))
    _run(f"CREATE TABLE _new_{table} ({body}) STRICT")
    _run(f"INSERT INTO _new_{table} ({', '.join(columns)}) SELECT {', '.join(values)} FROM {table}")
    _run(f"DROP TABLE {table}")
    # A view that names the table would else stop the renaming.
    _run("PRAGMA legacy_alter_table = ON")
    _run(f"ALTER TABLE _new_{table} RENAME TO {table}")
    _run("PRAGMA legacy_alter_table = OFF")
    for (sql,) in others:
        _run(sql)
