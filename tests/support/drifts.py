"""Schemas that differ from the models, each in one way."""

from __future__ import annotations

from typing import Any


def rebuild(session: Any, table: str, *changes: tuple[str, str]) -> None:
    """SQLite can't alter much: the table is made again from its own text, changed, and with its indexes."""
    ((sql,),) = session.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,))
    indexes = session.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND type = 'index'", (table,)
    ).fetchall()
    for old, new in changes:
        assert sql.count(old) == 1, (old, sql)
        sql = sql.replace(old, new)
    session.execute("PRAGMA foreign_keys = OFF")
    session.execute(f"DROP TABLE {table}")
    session.execute(sql)
    for (index,) in indexes:
        if index:
            session.execute(index)


SCORE = "CONSTRAINT ck_attempts_score CHECK (score >= 0 AND score <= 100)"


LANGUAGE = "CONSTRAINT ck_user_settings_language CHECK (length(language) >= 2 AND length(language) <= 5),\n\t"


OWNER = "FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE"


# (what, for SQLite a table and what to replace in its text, or a statement; for PostgreSQL a statement; the difference)
DRIFT: list[tuple[str, Any, str, tuple[str, str, str]]] = [
    (
        "a dropped index",
        "DROP INDEX ix_attempts_user_id_created_at",
        "DROP INDEX ix_attempts_user_id_created_at",
        ("index", "attempts", "ix_attempts_user_id_created_at"),
    ),
    (
        "an index on other columns",
        "DROP INDEX ix_bookmarks_user_id; CREATE INDEX ix_bookmarks_user_id ON bookmarks (user_id, id)",
        "DROP INDEX ix_bookmarks_user_id; CREATE INDEX ix_bookmarks_user_id ON bookmarks (user_id, id)",
        ("index", "bookmarks", "ix_bookmarks_user_id"),
    ),
    (
        "an extra index",
        "CREATE INDEX ix_extra ON users (role)",
        "CREATE INDEX ix_extra ON users (role)",
        ("index", "users", "ix_extra"),
    ),
    (
        "a dropped unique constraint",
        ("dataset_overrides", ("CONSTRAINT uq_dataset_overrides_name UNIQUE (name),", "")),
        "ALTER TABLE dataset_overrides DROP CONSTRAINT uq_dataset_overrides_name",
        ("constraint", "dataset_overrides", "uq_dataset_overrides_name"),
    ),
    (
        "a dropped check",
        ("user_settings", (LANGUAGE, "")),
        "ALTER TABLE user_settings DROP CONSTRAINT ck_user_settings_language",
        ("check", "user_settings", "ck_user_settings_language"),
    ),
    (
        "an altered check",
        ("attempts", (SCORE, SCORE.replace("100", "1000"))),
        f"ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score, ADD {SCORE.replace('100', '1000')}",
        ("check", "attempts", "ck_attempts_score"),
    ),
    (
        "a check with another operator",
        ("attempts", (SCORE, SCORE.replace("AND", "OR"))),
        f"ALTER TABLE attempts DROP CONSTRAINT ck_attempts_score, ADD {SCORE.replace('AND', 'OR')}",
        ("check", "attempts", "ck_attempts_score"),
    ),
    (
        "another word in a list of a check",
        ("users", ("'USER', 'ADMIN'", "'USER', 'admin'")),
        "ALTER TABLE users DROP CONSTRAINT ck_users_role, "
        "ADD CONSTRAINT ck_users_role CHECK (role IN ('USER', 'admin'))",
        ("check", "users", "ck_users_role"),
    ),
    (
        "an extra check",
        ("attempts", (SCORE, f"{SCORE}, CONSTRAINT ck_attempts_extra CHECK (id > 0)")),
        "ALTER TABLE attempts ADD CONSTRAINT ck_attempts_extra CHECK (id > 0)",
        ("check", "attempts", "ck_attempts_extra"),
    ),
    (
        "an extra column",
        "ALTER TABLE bookmarks ADD COLUMN extra INTEGER",
        "ALTER TABLE bookmarks ADD COLUMN extra INTEGER",
        ("column", "bookmarks", "extra"),
    ),
    (
        "a missing column",
        "ALTER TABLE users DROP COLUMN password_hash",
        "ALTER TABLE users DROP COLUMN password_hash",
        ("column", "users", "password_hash"),
    ),
    (
        "a check whose brackets stand elsewhere",
        (
            "attempts",
            ("feedback IS NULL OR json_valid(feedback) AND", "(feedback IS NULL OR json_valid(feedback)) AND"),
        ),
        "",
        ("check", "attempts", "ck_attempts_feedback"),
    ),
    (
        "a changed type",
        ("progress_by_tag", ("tag TEXT", "tag INTEGER")),
        "ALTER TABLE progress_by_tag ALTER COLUMN tag TYPE INTEGER USING 1",
        ("type", "progress_by_tag", "tag"),
    ),
    (
        "a column that may be empty",
        ("users", ("password_hash TEXT NOT NULL", "password_hash TEXT")),
        "ALTER TABLE users ALTER COLUMN password_hash DROP NOT NULL",
        ("nullable", "users", "password_hash"),
    ),
    (
        "a column that may not be empty",
        ("attempts", ("feedback TEXT", "feedback TEXT NOT NULL")),
        "ALTER TABLE attempts ALTER COLUMN feedback SET NOT NULL",
        ("nullable", "attempts", "feedback"),
    ),
    (
        "a dropped default",
        ("progress_by_tag", ("wrong_count INTEGER DEFAULT 0", "wrong_count INTEGER")),
        "ALTER TABLE progress_by_tag ALTER COLUMN wrong_count DROP DEFAULT",
        ("default", "progress_by_tag", "wrong_count"),
    ),
    (
        "a dropped default of a time",
        ("bookmarks", ("DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))", "")),
        "ALTER TABLE bookmarks ALTER COLUMN created_at DROP DEFAULT",
        ("default", "bookmarks", "created_at"),
    ),
    (
        "another default of a time",
        ("bookmarks", ("%f+00:00", "%fZ")),
        "ALTER TABLE bookmarks ALTER COLUMN created_at SET DEFAULT '2026-01-01'",
        ("default", "bookmarks", "created_at"),
    ),
    (
        "another default",
        ("user_settings", ("DEFAULT 'en'", "DEFAULT 'de'")),
        "ALTER TABLE user_settings ALTER COLUMN language SET DEFAULT 'de'",
        ("default", "user_settings", "language"),
    ),
    (
        "a default in another case",
        ("users", ("DEFAULT 'USER'", "DEFAULT 'user'")),
        "ALTER TABLE users ALTER COLUMN role SET DEFAULT 'user'",
        ("default", "users", "role"),
    ),
    (
        "an extra default",
        ("bookmarks", ("entity_id TEXT", "entity_id TEXT DEFAULT 'x'")),
        "ALTER TABLE bookmarks ALTER COLUMN entity_id SET DEFAULT 'x'",
        ("default", "bookmarks", "entity_id"),
    ),
    ("a missing table", "DROP TABLE bookmarks", "DROP TABLE bookmarks", ("table", "bookmarks", "bookmarks")),
    (
        "an extra table",
        "CREATE TABLE extra (id INTEGER)",
        "CREATE TABLE extra (id INTEGER)",
        ("table", "extra", "extra"),
    ),
    (
        "a foreign key without its cascade",
        ("bookmarks", (OWNER, OWNER.removesuffix(" ON DELETE CASCADE"))),
        "ALTER TABLE bookmarks DROP CONSTRAINT fk_bookmarks_user_id_users, "
        "ADD CONSTRAINT fk_bookmarks_user_id_users FOREIGN KEY (user_id) REFERENCES users (id)",
        ("fk", "bookmarks", "fk_bookmarks_user_id_users"),
    ),
    (
        "a dropped foreign key",
        ("bookmarks", (f",\n\tCONSTRAINT fk_bookmarks_user_id_users {OWNER}", "")),
        "ALTER TABLE bookmarks DROP CONSTRAINT fk_bookmarks_user_id_users",
        ("fk", "bookmarks", "fk_bookmarks_user_id_users"),
    ),
    ("a table that is not strict", ("bookmarks", (") STRICT", ")")), "", ("option", "bookmarks", "STRICT")),
    ("a table that counts no ids", ("bookmarks", (" AUTOINCREMENT", "")), "", ("option", "bookmarks", "AUTOINCREMENT")),
    (
        "a time of more digits",
        "",
        "ALTER TABLE bookmarks ALTER COLUMN created_at TYPE TIMESTAMPTZ",
        ("type", "bookmarks", "created_at"),
    ),
]
