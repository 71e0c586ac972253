"""The objects for what SQLite and PostgreSQL do differently: each promise holds on both."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import exc, literal, select, text, union_all, update
from support.databases import Databases

from pharmdb.database import dialect, targets, transactions
from pharmdb.models import User, UserSettings

NAMES = ("sqlite", "postgresql")


@pytest.mark.parametrize("name", NAMES)
def test_each_object_is_found_by_its_name(name: str) -> None:
    assert dialect.named(name).name == name


def test_a_target_and_its_connection_lead_to_one_object(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        assert dialect.of(connection) is target.dialect
        assert target.dialect.name == connection.dialect.name


def test_a_time_is_one_text_everywhere(seeded: str) -> None:
    target = targets.target(seeded)
    at = datetime(2026, 1, 31, 23, 59, 0, 120_000, tzinfo=UTC)
    with transactions.writing(target) as connection:
        connection.execute(update(User).values(created_at=at))
        shown = connection.scalars(select(target.dialect.time_text(User.created_at))).all()
    assert set(shown) == {"2026-01-31T23:59:00.120+00:00"}


def test_what_is_no_text_is_read_as_text(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        (shown,) = connection.execute(text(f"SELECT {target.dialect.as_text('created_at')} FROM users LIMIT 1")).one()
    assert isinstance(shown, str)


def test_text_is_ordered_by_its_bytes(seeded: str) -> None:
    words = ["Zebra", "apple", "Äpfel"]
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        table = union_all(*(select(literal(word).label("word")) for word in words)).subquery()
        found = connection.scalars(select(table.c.word).order_by(target.dialect.by_bytes(connection, table.c.word)))
        assert list(found) == sorted(words, key=lambda word: word.encode())


def test_an_insert_knows_conflicts(seeded: str) -> None:
    target = targets.target(seeded)
    table = UserSettings.__table__
    with transactions.writing(target) as connection:
        user_id = connection.scalar(select(User.id).limit(1))
        statement = target.dialect.insert(table)  # type: ignore[arg-type]
        again = statement.values(user_id=user_id).on_conflict_do_nothing(index_elements=["user_id"])
        assert connection.execute(again.returning(table.c.id)).all() == []


def test_a_savepoint_keeps_the_transaction_usable(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        with pytest.raises(exc.DBAPIError), target.dialect.savepoint(connection):
            connection.exec_driver_sql("SELECT nothing FROM nowhere")
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_the_planner_gets_its_ways_back(seeded: str) -> None:
    target = targets.target(seeded)
    query = "EXPLAIN QUERY PLAN " if target.dialect.name == "sqlite" else "EXPLAIN "
    query += "SELECT * FROM users WHERE email = 'a@b.c'"

    def plan() -> str:
        return str([tuple(row)[-1] for row in connection.exec_driver_sql(query)])

    with transactions.reading(target) as connection:
        before = plan()
        with target.dialect.planning_without(connection, "enable_seqscan"):
            assert "Seq Scan" not in plan()
            assert "uq_users_email" in plan() or "sqlite_autoindex_users_1" in plan()
        assert plan() == before


def test_settings_end_with_the_transaction(databases: Databases) -> None:
    target = targets.target(databases.seeded("postgresql"))
    with transactions.reading(target) as connection:
        target.dialect.set_local(connection, IntervalStyle="iso_8601", DateStyle="ISO, YMD")
        assert connection.exec_driver_sql("SHOW intervalstyle").scalar_one() == "iso_8601"
        assert connection.exec_driver_sql("SHOW datestyle").scalar_one() == "ISO, YMD"
    with transactions.reading(target) as connection:
        assert connection.exec_driver_sql("SHOW intervalstyle").scalar_one() == "postgres"


def test_a_cursor_reads_row_by_row(seeded: str) -> None:
    target = targets.target(seeded)
    with transactions.reading(target) as connection:
        cursor = target.dialect.cursor(connection, "rows")
        cursor.execute("SELECT id FROM users ORDER BY id")
        assert len(cursor.fetchmany(1)) == 1
        cursor.close()
