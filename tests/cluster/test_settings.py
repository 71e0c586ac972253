"""The settings of a transaction reach all nodes: what pharmdb sends, and what it makes of a node's errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import exc
from support import raw
from support.databases import Databases

import pharmdb
from pharmdb.database import postgresql_engines, transactions
from pharmdb.errors import LostConnectionError, NodeDownError, UnavailableError
from pharmdb.learning.attempts import Tag, counting

TAG = Tag("questions", "cardiology", "hypertension")
SET = (
    "SET LOCAL citus.propagate_set_commands TO 'local'",
    "SET LOCAL lock_timeout TO '7000'",
    "SET LOCAL statement_timeout TO '1800s'",
    "SET LOCAL idle_in_transaction_session_timeout TO '1800s'",
    "SET LOCAL timezone TO 'UTC'",
    "SET LOCAL extra_float_digits TO '1'",
    "SET LOCAL client_encoding TO 'UTF8'",
    "SET LOCAL citus.propagate_set_commands TO 'none'",
)
IN_READING = "; ".join(SET)
IN_WRITING = "; ".join((*SET[:4], "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'", *SET[4:]))


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.seeded("postgresql")


@pytest.fixture
def as_coordinator(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """A server that is taken for a coordinator; plain PostgreSQL accepts the settings of Citus, and ignores them."""
    monkeypatch.setattr(postgresql_engines, "_kinds", {})
    monkeypatch.setattr(postgresql_engines, "_kind", lambda connection: postgresql_engines._Kind(False, True))
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "7")
    return url


def first_of(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> list[str]:
    """The first statement of each transaction."""
    seen: list[str] = []
    execute: Any = psycopg.Cursor.execute

    def watching(cursor: Any, query: str, *args: object, **kwargs: object) -> object:
        if cursor.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            seen.append(query)
        return execute(cursor, query, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", watching)
        act()
    return seen


def test_a_transaction_on_a_cluster_sends_its_settings_along(
    as_coordinator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = pharmdb.target(as_coordinator)

    def read() -> None:
        with transactions.reading(target) as connection:
            shown = connection.exec_driver_sql("SHOW citus.propagate_set_commands").scalar_one()
            assert shown == "none", "what a session sets later stays there: a role, or the encoding of a dump"

    def write() -> None:
        with transactions.writing(target) as connection:
            pharmdb.delete_user(connection, 1)

    assert first_of(monkeypatch, read)[-1:] == [IN_READING]
    assert first_of(monkeypatch, write)[-1:] == [IN_WRITING]


def test_where_settings_need_a_transaction_each_answer_is_counted_in_one(
    as_coordinator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count() -> None:
        with counting(pharmdb.target(as_coordinator)) as one:
            one(1, TAG, correct=True, at=datetime(2026, 5, 1, tzinfo=UTC))

    assert IN_WRITING in first_of(monkeypatch, count)
    with transactions.reading(pharmdb.target(as_coordinator)) as connection:
        counted = "SELECT sum(correct_count) FROM progress_by_tag WHERE tag = 'hypertension'"
        assert connection.exec_driver_sql(counted).scalar_one() == 1


def test_plain_postgresql_takes_no_further_round_trip(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        with transactions.watching(pharmdb.target(url)) as connection:
            assert postgresql_engines.keeps_settings(connection)
            connection.exec_driver_sql("SELECT 1")

    assert first_of(monkeypatch, read)[-1:] == ["SELECT 1"]


def write(url: str, *statements: str) -> None:
    with transactions.writing(pharmdb.target(url)) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def keep_and_write(url: str, *statements: str) -> None:
    with transactions.keeping(pharmdb.target(url)) as transaction, transaction() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def raising(code: str) -> str:
    message = "connection to the remote node ann@w:5432 password=s3cret failed"
    return f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$"


@pytest.mark.parametrize("code", ["08006", "08000", "57P01"])
def test_a_node_that_is_down_is_not_taken_for_the_coordinator(url: str, code: str) -> None:
    """The code is the one of a lost connection, but the session goes on."""
    before = raw.everything(url)
    with pytest.raises(NodeDownError) as error:
        write(url, "UPDATE users SET role = 'ADMIN'", raising(code))
    assert isinstance(error.value, UnavailableError)
    assert error.value.command.startswith("pharmdb doctor")
    assert "rolled back" in error.value.unchanged
    assert "ann@w:5432" in error.value.found
    assert "s3cret" not in str(error.value)
    assert raw.everything(url) == before


def test_a_coordinator_that_ends_the_session_is_no_node(url: str) -> None:
    with pytest.raises(LostConnectionError):
        write(url, "SELECT pg_terminate_backend(pg_backend_pid())")


def failing_at_commit(code: str) -> tuple[str, str]:
    message = "could not commit transaction for shard 102008 on at least one active node"
    return (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $f$ "
        f"BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $f$",
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON bookmarks INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION fail()",
    )


INSERT = "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'drug', 'x')"


@pytest.mark.parametrize("code", ["XX000", "08006"])
@pytest.mark.parametrize("way", [write, keep_and_write])
def test_a_commit_that_a_node_did_not_confirm_is_unknown(url: str, code: str, way: Callable[..., None]) -> None:
    write(url, *failing_at_commit(code))
    with pytest.raises(LostConnectionError) as error:
        way(url, INSERT)
    assert error.value.unchanged.startswith("unknown")
    assert "shard 102008" in error.value.found


def test_a_rule_that_fails_at_the_commit_is_known_to_be_rolled_back(url: str) -> None:
    write(url, *failing_at_commit("23514"))
    with pytest.raises(exc.IntegrityError):
        write(url, INSERT)
