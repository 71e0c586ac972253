"""The guide's own list of what its tests cover, item by item. Each item has more tests in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import raw
from support.raw import ask

import pharmdb
from pharmdb.learning import queries
from pharmdb.models import ATTEMPT_ENTITY_TYPES, ROLES
from pharmdb.seeding import seeding

DEMO = "(SELECT id FROM users WHERE email = 'demo@pharmtrainer.test')"


def refuses(url: str, sql: str) -> bool:
    with raw.session(url) as session:
        try:
            session.execute(sql)
        except raw.REFUSED:
            return True
        return False


def test_unique_constraint_on_the_email(seeded: str) -> None:
    assert refuses(seeded, raw.insert("users", email="'demo@pharmtrainer.test'"))
    assert not refuses(seeded, raw.insert("users", email="'demo2@pharmtrainer.test'"))


@pytest.mark.parametrize("column", ["module", "course_block", "tag"])
def test_composite_unique_constraint_on_progress(seeded: str, column: str) -> None:
    row = {"user_id": DEMO, "module": "'questions'", "course_block": "'cardiology'", "tag": "'arrhythmias'"}
    assert refuses(seeded, raw.insert("progress_by_tag", **row))
    assert not refuses(seeded, raw.insert("progress_by_tag", **row | {column: "'another'"}))


def test_index_query_of_attempts(seeded: str) -> None:
    """findMany({ where: { userId }, orderBy: { createdAt: "desc" } })"""
    times = ["2026-01-02T00:00:00.000+00:00", "2026-01-03T00:00:00.000+00:00", "2026-01-01T00:00:00.000+00:00"]
    with raw.session(seeded) as session:
        for time in times:
            session.execute(raw.insert("attempts", user_id=DEMO, created_at=f"'{time}'"))
    ((user_id,),) = ask(seeded, f"SELECT {DEMO}")
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        history = queries.attempt_history.frame(connection, user_id=user_id)
    assert history["created_at"].dt.day.tolist() == [3, 2, 1]


def test_index_query_of_progress(seeded: str) -> None:
    """findUnique({ where: { userId_module_courseBlock_tag } })"""
    ((user_id,),) = ask(seeded, f"SELECT {DEMO}")
    with pharmdb.reading(pharmdb.target(seeded)) as connection:
        key: dict[str, Any] = {"module": "questions", "course_block": "cardiology", "tag": "arrhythmias"}
        found = queries.progress_by_key.frame(connection, user_id=user_id, **key)
    assert found["tag"].tolist() == ["arrhythmias"]


def test_the_guides_indexes_are_there(seeded: str) -> None:
    sql = "SELECT indexname FROM pg_indexes" if "postgresql" in seeded else "SELECT name FROM sqlite_master"
    names = {name for (name,) in ask(seeded, sql)}
    assert names >= {
        "ix_attempts_user_id_created_at",
        "ix_attempts_user_id_entity_type_entity_id",
        "ix_spaced_repetition_items_user_id_next_review_at",
        "ix_dataset_overrides_is_active",
        "ix_dataset_overrides_created_by_id",
    }


@pytest.mark.parametrize(
    ("table", "column", "allowed", "change"),
    [
        ("attempts", "entity_type", ATTEMPT_ENTITY_TYPES, str.upper),
        ("users", "role", ROLES, str.lower),
    ],
)
def test_enum_types(
    seeded: str, table: str, column: str, allowed: tuple[str, ...], change: Callable[[str], str]
) -> None:
    def row(value: str) -> str:
        email = {"email": f"'{value.lower()}@example.org'"} if table == "users" else {"user_id": DEMO}
        return raw.insert(table, **email, **{column: f"'{value}'"})

    assert [value for value in allowed if refuses(seeded, row(value))] == []
    assert all(refuses(seeded, row(value)) for value in ("", "drug", *map(change, allowed)))


def test_cascade_deletes(seeded: str) -> None:
    with raw.session(seeded) as session:
        raw.fill(session)
        session.execute(f"DELETE FROM users WHERE id = {raw.ANN}")
        left = {table: session.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in raw.TABLES}
    # What is left is the seed's, and ben himself.
    assert left == dict.fromkeys(raw.TABLES, 0) | {"users": 3, "user_settings": 2, "progress_by_tag": 4}


def test_seed_script_validation(seeded: str) -> None:
    first = pharmdb.seed(seeded)
    second = pharmdb.seed(seeded)
    assert first.fingerprint == second.fingerprint
    assert first.tables["created"].sum() == second.tables["created"].sum() == 0
    assert len(seeding.read().users) == 2
    assert len(seeding.read().progress) == 4


def test_role_based_access_control(seeded: str) -> None:
    """The roles that the application decides by, one account of each."""
    roles = ask(seeded, "SELECT role, email FROM users ORDER BY role")
    assert roles == [("ADMIN", "admin@pharmtrainer.test"), ("USER", "demo@pharmtrainer.test")]
    with raw.session(seeded) as session:
        session.execute("INSERT INTO users (email, password_hash) VALUES ('new@example.org', 'h')")
    assert ask(seeded, "SELECT role FROM users WHERE email = 'new@example.org'") == [("USER",)]
