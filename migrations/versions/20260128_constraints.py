"""constraints

The guide's hardening: cascades, checks, a unique dataset_overrides.name and, on SQLite, STRICT tables.
Rows are carried over. What can be repaired without loss is: e-mails are trimmed and lower-cased, times
written in the one form, duplicate override names numbered. A row that still breaks a rule is moved to
upgrade_rejects, whole and with its reason.

Revision ID: 5a3d81e7f92c
Revises: 8f1c2a6d4b10
Create Date: 2026-01-28 10:15:32 UTC
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from alembic import op

from pharmdb.errors import RevisionError

revision = "5a3d81e7f92c"
down_revision = "8f1c2a6d4b10"
branch_labels = None
depends_on = None

# Each column: (kind, default). A kind that ends in "?" may be empty.
TABLES: dict[str, dict[str, tuple[str, str | None]]] = {
    "users": {
        "email": ("text", None),
        "password_hash": ("text", None),
        "role": ("text", "'USER'"),
        "created_at": ("time", "now"),
    },
    "user_settings": {
        "user_id": ("owner", None),
        "language": ("text", "'en'"),
        "created_at": ("time", "now"),
        "updated_at": ("time", "now"),
    },
    "bookmarks": {
        "user_id": ("owner", None),
        "entity_type": ("text", None),
        "entity_id": ("text", None),
        "created_at": ("time", "now"),
    },
    "attempts": {
        "user_id": ("owner", None),
        "entity_type": ("text", None),
        "entity_id": ("text", None),
        "answers": ("json", None),
        "score": ("real", None),
        "feedback": ("json?", None),
        "created_at": ("time", "now"),
    },
    "progress_by_tag": {
        "user_id": ("owner", None),
        "module": ("text", None),
        "course_block": ("text", None),
        "tag": ("text", None),
        "correct_count": ("integer", "0"),
        "wrong_count": ("integer", "0"),
        "last_attempt_at": ("time", "now"),
    },
    "spaced_repetition_items": {
        "user_id": ("owner", None),
        "entity_type": ("text", None),
        "entity_id": ("text", None),
        "ease_factor": ("real", None),
        "interval_days": ("integer", None),
        "next_review_at": ("time", None),
        "last_reviewed_at": ("time?", None),
    },
    "dataset_overrides": {
        "name": ("text", None),
        "description": ("text", "''"),
        "json_text": ("text", None),
        "is_active": ("boolean", "false"),
        "created_by_id": ("owner", None),
        "created_at": ("time", "now"),
        "updated_at": ("time", "now"),
    },
}
UNIQUE = {
    "users": ("email",),
    "user_settings": ("user_id",),
    "progress_by_tag": ("user_id", "module", "course_block", "tag"),
    "spaced_repetition_items": ("user_id", "entity_type", "entity_id"),
}
UNIQUE_NOW = UNIQUE | {"dataset_overrides": ("name",)}

STRICT_TYPES = {"owner": "INTEGER", "integer": "INTEGER", "boolean": "INTEGER", "real": "REAL"}
LOOSE_TYPES = {
    "owner": "INTEGER",
    "integer": "INTEGER",
    "boolean": "BOOLEAN",
    "real": "DOUBLE",
    "json": "TEXT",
    "time": "DATETIME",
}
SQLITE_NOW = "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
TIME_FORM = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]." + "[0-9]" * 6

# Rules that read the same on both databases: (table, name of the check, rule).
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
)
SQLITE_CHECKS = (
    (
        "users",
        "email_characters",
        "email NOT GLOB '*[^!-~]*' AND email GLOB '?*@?*' AND instr(email, char(0)) = 0",
    ),
    ("user_settings", "language_letters", "language NOT GLOB '*[^A-Za-z]*' AND instr(language, char(0)) = 0"),
    ("attempts", "answers", "json_valid(answers) AND instr(answers, char(0)) = 0"),
    ("attempts", "feedback", "feedback IS NULL OR json_valid(feedback) AND instr(feedback, char(0)) = 0"),
    ("dataset_overrides", "is_active", "is_active IN (0, 1)"),
    ("dataset_overrides", "json_text", "json_valid(json_text) AND instr(json_text, char(0)) = 0"),
)
POSTGRESQL_CHECKS = (
    ("users", "email_characters", "email ~ '^[!-~]+@[!-~]+$'"),
    ("user_settings", "language_letters", "language ~ '^[A-Za-z]+$'"),
    ("dataset_overrides", "json_text", "CAST(json_text AS json) IS NOT NULL"),
)


def upgrade() -> None:
    sqlite = _is_sqlite()
    if not sqlite:
        _drop_foreign_keys()
    filled = _run(" UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in TABLES))
    if filled:
        _repair_and_reject(sqlite)
    if sqlite:
        for table in TABLES:
            _rebuild(table, strict=True)
        return
    for table, name, rule in _checks(sqlite):
        _run(f"ALTER TABLE {table} ADD CONSTRAINT ck_{table}_{name} CHECK ({rule})")
    _run("ALTER TABLE dataset_overrides ADD CONSTRAINT uq_dataset_overrides_name UNIQUE (name)")
    _add_foreign_keys(" ON DELETE CASCADE")


def downgrade() -> None:
    sqlite = _is_sqlite()
    if sqlite:
        for table in TABLES:
            _rebuild(table, strict=False)
        return
    _drop_foreign_keys()
    _run("ALTER TABLE dataset_overrides DROP CONSTRAINT uq_dataset_overrides_name")
    for table, name, _ in _checks(sqlite):
        _run(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{name}")
    _add_foreign_keys("")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _run(sql: str, parameters: Any = None) -> list[Any]:
    result = op.get_bind().exec_driver_sql(sql, parameters)
    return list(result) if result.returns_rows else []


def _checks(sqlite: bool) -> Iterator[tuple[str, str, str]]:
    yield from CHECKS
    yield from SQLITE_CHECKS if sqlite else POSTGRESQL_CHECKS
    for table, columns in TABLES.items():
        for column, (kind, _) in columns.items():
            if kind.startswith("time") and sqlite:
                # With a modifier datetime() moves 30 February into March; GLOB and length() stop at a NUL.
                yield (
                    table,
                    column,
                    f"{column} GLOB '{TIME_FORM}' "
                    f"AND datetime(substr({column}, 1, 19), '+0 seconds') IS substr({column}, 1, 19) "
                    f"AND length({column}) = 26 AND instr({column}, char(0)) = 0 AND {column} >= '0001'",
                )
            elif kind.startswith("time"):
                rule = f"{column} >= '0001-01-01 00:00:00+00' AND {column} < '10000-01-01 00:00:00+00'"
                yield table, column, rule


# -- old rows ---------------------------------------------------------------------------------------


def _repair_and_reject(sqlite: bool) -> None:
    _run(
        "CREATE TABLE IF NOT EXISTS upgrade_rejects ("
        + (
            "id INTEGER PRIMARY KEY, source_table TEXT NOT NULL, source_id INTEGER NOT NULL, "
            f'"row" TEXT NOT NULL CHECK (json_valid("row")), reason TEXT NOT NULL, '
            f"rejected_at TEXT NOT NULL DEFAULT {SQLITE_NOW}) STRICT"
            if sqlite
            else "id BIGSERIAL PRIMARY KEY, source_table VARCHAR NOT NULL, source_id BIGINT NOT NULL, "
            '"row" JSONB NOT NULL, reason VARCHAR NOT NULL, rejected_at TIMESTAMPTZ NOT NULL DEFAULT now())'
        )
    )
    if sqlite:
        _register_functions()
    rules = list(_checks(sqlite))
    for table in TABLES:
        if sqlite:
            _check_types(table)
        if table == "users":
            _unite_accounts(sqlite, [rule for rule in rules if rule[0] == "users"])
            continue
        _reject_orphans(table)
        for name, check, rule in rules:
            # PostgreSQL's rule raises an error instead of saying no.
            if name == table and (sqlite or check != "json_text"):
                _reject(table, f"NOT ({rule})", f"breaks ck_{table}_{check}: {rule}")
        if table == "dataset_overrides":
            if not sqlite:
                _reject_broken_documents()
            _number_names()


def _reject(table: str, condition: str, reason: str) -> None:
    if _is_sqlite():
        row = ", ".join(
            # JSON has no bytes and no infinity.
            f"'{column}', CASE WHEN typeof({column}) = 'blob' THEN hex({column}) "
            f"WHEN abs({column}) > 1.7e308 THEN CAST({column} AS TEXT) ELSE {column} END"
            for column in ("id", *TABLES[table])
        )
        row, mark = f"json_object({row})", "?"
    else:
        row, mark = f"to_jsonb({table})", "%s"
    _run(
        f'INSERT INTO upgrade_rejects (source_table, source_id, "row", reason) '
        f"SELECT '{table}', id, {row}, {mark} FROM {table} WHERE {condition}",
        (reason,),
    )
    _run(f"DELETE FROM {table} WHERE {condition}")


def _reject_orphans(table: str) -> None:
    owner = "created_by_id" if table == "dataset_overrides" else "user_id"
    orphan = f"{owner} NOT IN (SELECT id FROM users)"
    rejected = "(SELECT source_id FROM upgrade_rejects WHERE source_table = 'users')"
    _reject(table, f"{orphan} AND {owner} IN {rejected}", f"{owner} names a user that was rejected")
    _reject(table, orphan, f"{owner} names no user")


def _unite_accounts(sqlite: bool, rules: list[tuple[str, str, str]]) -> None:
    trimmed = "trim(email, char(9, 10, 13, 32))" if sqlite else "btrim(email, E' \\t\\n\\r')"
    for _, check, rule in rules:
        repaired = rule.replace("email", f"lower({trimmed})")
        _reject("users", f"NOT ({repaired})", f"breaks ck_users_{check}: {rule}")
    _reject(
        "users",
        f"EXISTS (SELECT 1 FROM users AS older WHERE lower({trimmed.replace('email', 'older.email')}) = "
        f"lower({trimmed.replace('email', 'users.email')}) AND "
        "(older.created_at, older.id) < (users.created_at, users.id))",
        "an older account has the same e-mail",
    )
    _run(f"UPDATE users SET email = lower({trimmed}) WHERE email <> lower({trimmed})")


def _number_names() -> None:
    rows = _run("SELECT id, name FROM dataset_overrides ORDER BY id")
    taken = {name for _, name in rows}
    seen = set()
    mark = "?" if _is_sqlite() else "%s"
    for id_, name in rows:
        if name in seen:
            number = 2
            while (free := f"{name} ({number})") in taken:
                number += 1
            taken.add(free)
            _run(f"UPDATE dataset_overrides SET name = {mark} WHERE id = {mark}", (free, id_))
        seen.add(name)


def _reject_broken_documents() -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    for id_, document in _run("SELECT id, json_text FROM dataset_overrides"):
        try:
            json.loads(document, parse_constant=refuse)
        except (ValueError, RecursionError):
            _reject("dataset_overrides", f"id = {id_}", "breaks ck_dataset_overrides_json_text: it is not JSON")


def _register_functions() -> None:
    """Reads the forms of time that SQLite files hold: our own, ISO 8601, milliseconds since 1970."""

    def canonical(value: Any) -> str | None:
        try:
            if isinstance(value, int):
                time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
            else:
                time = datetime.fromisoformat(value.strip())
                time = time.astimezone(UTC) if time.tzinfo is not None else time
        except (ValueError, OverflowError, TypeError, AttributeError):
            return None
        return time.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")

    connection: Any = op.get_bind().connection.dbapi_connection
    connection.create_function("pharmdb_time", 1, canonical, deterministic=True)


def _check_types(table: str) -> None:
    """What a STRICT table takes; a time in another form is rewritten first."""
    types = {"owner": "'integer'", "integer": "'integer'", "boolean": "'integer'", "real": "'real', 'integer'"}
    for column, (kind, _) in TABLES[table].items():
        kind, empty = kind.rstrip("?"), f"{column} IS NOT NULL AND " if kind.endswith("?") else ""
        if kind == "time":
            _reject(table, f"{empty}pharmdb_time({column}) IS NULL", f"{column} is no time that can be read")
            _run(f"UPDATE {table} SET {column} = pharmdb_time({column}) WHERE {column} IS NOT pharmdb_time({column})")
        else:
            expected = types.get(kind, "'text'")
            _reject(table, f"{empty}typeof({column}) NOT IN ({expected})", f"{column} has a value of the wrong type")


# -- tables -----------------------------------------------------------------------------------------


def _rebuild(table: str, strict: bool) -> None:
    """SQLite can't alter constraints: a new table takes the rows and then the name.

    Foreign keys are off in a schema transaction, so dropping the old table deletes nothing elsewhere.
    """
    unique = UNIQUE_NOW if strict else UNIQUE
    lines = ["id INTEGER NOT NULL"]
    for column, (kind, default) in TABLES[table].items():
        kind, null = kind.rstrip("?"), "" if kind.endswith("?") else " NOT NULL"
        type_ = STRICT_TYPES.get(kind, "TEXT") if strict else LOOSE_TYPES.get(kind, "VARCHAR")
        value = SQLITE_NOW if default == "now" else default
        lines.append(f"{column} {type_}{f' DEFAULT {value}' if value else ''}{null}")
    lines.append(f"CONSTRAINT pk_{table} PRIMARY KEY (id)")
    if table in unique:
        lines.append(f"CONSTRAINT uq_{table}_{'_'.join(unique[table])} UNIQUE ({', '.join(unique[table])})")
    if strict:
        lines += [
            f"CONSTRAINT ck_{name}_{check} CHECK ({rule})" for name, check, rule in _checks(True) if name == table
        ]
    for column, (kind, _) in TABLES[table].items():
        if kind == "owner":
            cascade = " ON DELETE CASCADE" if strict else ""
            lines.append(f"CONSTRAINT fk_{table}_{column}_users FOREIGN KEY ({column}) REFERENCES users (id){cascade}")
    columns = ", ".join(("id", *TABLES[table]))
    extra = {row[1] for row in _run(f"PRAGMA table_info({table})")} - {"id", *TABLES[table]}
    if extra:
        raise RevisionError(
            expected=f"{table} with the columns that this revision knows",
            found=f"more: {', '.join(sorted(extra))}",
            unchanged="everything was rolled back",
            note="move what they hold to a table of its own and drop them, then run the same command again",
        )
    kept = "type IN ('index', 'trigger') AND sql IS NOT NULL"
    others = _run(f"SELECT sql FROM sqlite_master WHERE tbl_name = ? AND {kept}", (table,))
    _run(f"CREATE TABLE _new_{table} (\n\t" + ",\n\t".join(lines) + f"\n){' STRICT' if strict else ''}")
    _run(f"INSERT INTO _new_{table} ({columns}) SELECT {columns} FROM {table}")
    _run(f"DROP TABLE {table}")
    # A view that names the table would else stop the renaming.
    _run("PRAGMA legacy_alter_table = ON")
    _run(f"ALTER TABLE _new_{table} RENAME TO {table}")
    _run("PRAGMA legacy_alter_table = OFF")
    for (sql,) in others:
        _run(sql)


def _foreign_keys() -> Iterator[tuple[str, str]]:
    for table, columns in TABLES.items():
        for column, (kind, _) in columns.items():
            if kind == "owner":
                yield table, column


def _drop_foreign_keys() -> None:
    for table, column in _foreign_keys():
        _run(f"ALTER TABLE {table} DROP CONSTRAINT fk_{table}_{column}_users")


def _add_foreign_keys(action: str) -> None:
    for table, column in _foreign_keys():
        _run(
            f"ALTER TABLE {table} ADD CONSTRAINT fk_{table}_{column}_users "
            f"FOREIGN KEY ({column}) REFERENCES users (id){action}"
        )
