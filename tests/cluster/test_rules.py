"""What Citus requires of the schema and of the statements, checked on plain PostgreSQL.

Which expressions depend on the session or the clock is PostgreSQL's to say: it makes no index of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import UniqueConstraint, inspect
from support.databases import Databases, dsn
from support.project import ROOT
from support.studying import study

import pharmdb
from pharmdb.learning.attempts import Tag, counting
from pharmdb.models import MODELS
from pharmdb.studio_app import editing, sessions
from pharmdb.studio_app.catalogue import catalogue
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.statement_log import StatementLog

SHARDED = [m.__tablename__ for m in MODELS if m.__table__.info["placement"] == "user_id"]  # type: ignore[attr-defined]
# The last revision that is applied to tables on one server only.
FIRST_ON_NODES = "7b1f4e90d2a6"


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Every statement that psycopg is given."""
    seen: list[str] = []

    def watch(name: str) -> Any:
        run = getattr(psycopg.Cursor, name)

        def watching(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(query if isinstance(query, str) else str(query))
            return run(self, query, *args, **kwargs)

        return watching

    with monkeypatch.context() as patch:
        for name in ("execute", "executemany"):
            patch.setattr(psycopg.Cursor, name, watch(name))
        yield seen


def expressions(statement: str) -> list[str]:
    """What a statement sets on a conflict, and what it returns."""
    found: list[str] = []
    conflict = re.search(r"\bDO UPDATE\s+SET\s+(.*?)(?=\bWHERE\b|\bRETURNING\b|\Z)", statement, re.DOTALL)
    if conflict:
        found += [part.partition("=")[2].strip() for part in parts(conflict.group(1))]
    returned = re.search(r"\bRETURNING\s+(.*)\Z", statement, re.DOTALL)
    if returned:
        found += [re.sub(r"\s+AS\s+\S+\s*\Z", "", part) for part in parts(returned.group(1))]
    return found


def parts(text: str) -> list[str]:
    """Splits at the commas that are not inside parentheses."""
    found, depth = [""], 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return [part.strip() for part in found]


def is_immutable(connection: psycopg.Connection[Any], table: str, expression: str) -> bool:
    (model,) = (m for m in MODELS if m.__tablename__ == table)
    names = list(model.__table__.columns.keys())
    both = ", ".join(f"{side}.{name} AS {side}_{name}" for side in ("item", "excluded") for name in names)
    own = ", ".join(f"item.{name}" for name in names)
    plain = re.sub(rf"\b(item|{table})\.(\w+)", r"item_\2", expression)
    plain = re.sub(r"\bexcluded\.(\w+)", r"excluded_\1", plain)
    try:
        with connection.transaction(force_rollback=True):
            rows = f"{table} AS item, {table} AS excluded WHERE false"
            connection.execute(f"CREATE TEMP TABLE looked AS SELECT {both}, {own} FROM {rows}")
            connection.execute(f"CREATE INDEX ON looked (({plain}))".replace("%%", "%"))
    except psycopg.errors.InvalidObjectDefinition:
        return False
    return True


def mutable(connection: psycopg.Connection[Any], statements: list[str]) -> list[str]:
    """The expressions that Citus refuses."""
    found = []
    for statement in dict.fromkeys(statements):
        target = re.match(r"\s*(?:INSERT INTO|UPDATE)\s+(\w+)", statement)
        if target and target.group(1) in SHARDED:
            for expression in expressions(statement):
                if not is_immutable(connection, target.group(1), expression):
                    found.append(expression)
    return found


def has_subquery(statement: str) -> bool:
    """Whether a query is among the values of an INSERT, which Citus refuses."""
    return re.match(r"\s*INSERT INTO \w+ .*?\bVALUES\b.*\(\s*SELECT\b", statement, re.DOTALL) is not None


def test_what_is_set_on_a_conflict_or_returned_depends_on_no_session(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = databases.seeded("postgresql")
    target = pharmdb.target(url)
    with watched(monkeypatch) as seen:
        study(url)
        pharmdb.seed(url)
        with counting(target) as count:
            count(1, Tag("a", "b", "c"), correct=True, at=datetime(2026, 5, 1, tzinfo=UTC))
        with sessions.reading(target, StatementLog()) as session:
            tables = catalogue(session)
        changes = [
            Change(1, "insert", "bookmarks", values={"user_id": "1", "entity_type": "drug", "entity_id": "x"}),
            Change(2, "update", "user_settings", key=("t:1",), values={"language": "de"}),
        ]
        assert (
            editing.save(target, tables, changes, StatementLog(), unlocked=False, log=tmp_path / "log").problems == []
        )
    written = [statement for statement in seen if expressions(statement)]
    assert {"progress_by_tag", "spaced_repetition_items", "attempts", "bookmarks"} <= {
        name for name in SHARDED for statement in written if re.match(rf"\s*INSERT INTO {name}\b", statement)
    }
    assert [statement for statement in seen if has_subquery(statement)] == []
    assert has_subquery("INSERT INTO attempts (user_id) VALUES ((SELECT id FROM users LIMIT 1))")
    with psycopg.connect(dsn(url)) as connection:
        assert mutable(connection, seen) == []
        # The rule sees what it is for.
        for bad in ("now()", "excluded.created_at + interval '1 day'", "CAST(attempts.created_at AS TEXT)"):
            statement = f"INSERT INTO attempts (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET created_at = {bad}"
            assert mutable(connection, [statement]) == [bad]


@pytest.mark.parametrize("name", SHARDED)
def test_every_unique_key_of_the_models_contains_the_user(name: str) -> None:
    (table,) = (m.__table__ for m in MODELS if m.__tablename__ == name)
    keys = [c for c in table.constraints if isinstance(c, UniqueConstraint)]  # type: ignore[attr-defined]
    keys += [index for index in table.indexes if index.unique]  # type: ignore[attr-defined]
    assert [key for key in keys if "user_id" not in key.columns] == []


def test_the_revisions_make_what_can_be_distributed(databases: Databases) -> None:
    with pharmdb.reading(pharmdb.target(databases.migrated("postgresql"))) as connection:
        view = inspect(connection)
        for name in SHARDED:
            keys: list[list[Any]] = [list(key["column_names"]) for key in view.get_unique_constraints(name)]
            keys += [list(index["column_names"]) for index in view.get_indexes(name) if index["unique"]]
            assert [key for key in keys if "user_id" not in key] == []
        ids = connection.exec_driver_sql(
            "SELECT DISTINCT column_name, data_type, is_identity FROM information_schema.columns "
            "WHERE table_schema = 'public' AND column_name IN ('id', 'user_id') AND table_name NOT LIKE 'pharmdb%%'"
        ).all()
        assert {tuple(row) for row in ids} == {("id", "bigint", "NO"), ("user_id", "bigint", "NO")}
        triggers = connection.exec_driver_sql("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").scalar_one()
        assert triggers == 0


def is_refused(statement: str) -> bool:
    """Whether Citus refuses to run this on a distributed table."""
    altered = re.match(r"\s*ALTER TABLE\s+\S+\s+(.*)", statement, re.DOTALL)
    if altered:
        changes = parts(altered.group(1))
        return len(changes) > 1 and any(change.upper().startswith("ADD CONSTRAINT") for change in changes)
    return re.match(r"\s*CREATE (OR REPLACE )?(CONSTRAINT )?TRIGGER\b", statement) is not None


def test_revisions_after_the_first_on_nodes_run_on_distributed_tables(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.empty("postgresql")
    pharmdb.migrate(url, revision=FIRST_ON_NODES)
    with watched(monkeypatch) as seen:
        pharmdb.migrate(url)
    assert [statement for statement in seen if is_refused(statement)] == []
    assert is_refused("ALTER TABLE t DROP CONSTRAINT a, ADD CONSTRAINT b CHECK (x IN (1, 2))")
    assert not is_refused("ALTER TABLE t ADD CONSTRAINT b CHECK (x IN (1, 2))")


def unnamed(text: str) -> list[str]:
    """The subqueries in FROM without a name, which PostgreSQL before 16 refuses, in a source with statements."""
    found = []
    for match in re.finditer(r"\b(?:FROM|JOIN|LATERAL)\s*\((?=\W*(?:SELECT|WITH|VALUES)\b)", text):
        depth, end = 1, match.end()
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        # A statement may go on in the next line's string.
        if not re.match(r'(\s|"\s*\n\s*f?")*[a-zA-Z_{]', text[end:]):
            found.append(text[match.start() : end])
    return found


def test_every_subquery_has_a_name() -> None:
    for path in (*ROOT.glob("pharmdb/**/*.py"), *ROOT.glob("migrations/**/*.py")):
        on_postgresql = [sql for sql in unnamed(path.read_text(encoding="utf-8")) if "dbstat" not in sql]
        assert on_postgresql == [], path
    assert unnamed('"""SELECT 1 FROM (SELECT 2)\n"""') == ["FROM (SELECT 2)"]
    assert unnamed('"SELECT 1 FROM (SELECT 2) "\n    "AS two"') == []
