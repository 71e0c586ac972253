"""Workers come and go, on a real cluster: what fails while one is down, and what is lost, which is nothing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support import citus, legacy
from support.citus import distributed, mark  # noqa: F401 - a fixture
from support.citus_nodes import (
    Worker,
    ask,
    changing,
    counting_for,
    findings,
    killed,
    reading,
    recording,
    types,
    workers,
    writing,
)
from support.databases import dsn

import pharmdb
from pharmdb.doctor import nodes
from pharmdb.doctor.results import FAIL, WARN
from pharmdb.errors import LockedError, LostConnectionError, NodeDownError
from pharmdb.learning import queries
from pharmdb.models import MODELS

# -- a worker is down ----------------------------------------------------------------------------------------


def counts(url: str) -> dict[str, int]:
    return {m.__tablename__: ask(url, f"SELECT count(*) FROM {m.__tablename__}")[0][0] for m in MODELS}


def sign_up(connection: Any) -> None:
    connection.exec_driver_sql(f"INSERT INTO users (email, password_hash) VALUES ('{uuid.uuid4().hex}@x.test', '!')")


def test_while_a_worker_is_down(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    old = str(legacy.sample(tmp_path))
    pharmdb.backup(distributed)
    down, *others = workers(distributed)
    before, rows = mark(distributed), counts(distributed)
    need_all: dict[str, Callable[[str], object]] = {
        "a learner on it": reading(lambda c: pharmdb.attempts_frame(c, user_id=down.user)),
        "an attempt of one": recording(down.user),
        "a counted answer of one": counting_for(down.user),
        "a sign-up": changing(sign_up),
        "a deleted account": changing(lambda c: pharmdb.delete_user(c, others[0].user)),
        "a promotion": lambda url: pharmdb.manage_account(url, user_email=citus.LEARNER, action="promote"),
        "everybody's attempts": reading(pharmdb.attempts_frame),
        "everybody's progress": reading(pharmdb.daily_progress),
        "inspect": pharmdb.inspect,
        "account": pharmdb.manage_account,
        "seed": pharmdb.seed,
        "cohort": lambda url: pharmdb.cohort(url, learners=citus.LEARNERS + 9, days=3),
        "backup": pharmdb.backup,
        "restore": pharmdb.restore,
        "reset": pharmdb.reset,
        "reset without a backup": lambda url: pharmdb.reset(url, backup=False),
        "migrate": lambda url: pharmdb.migrate(url, revision="-1"),
        "upgrade": lambda url: pharmdb.upgrade(old, url, confirm=pharmdb.target(url).name),
        "distribute": pharmdb.distribute,
        "distribute back": lambda url: pharmdb.distribute(url, back=True, dry_run=False),
        "export": lambda url: pharmdb.export(url, folder=str(tmp_path / "export")),
    }
    need_others: dict[str, Callable[[str], object]] = {
        "a log-in": reading(lambda c: queries.user_by_email.one(c, email=citus.LEARNER)),
        "another learner": reading(lambda c: pharmdb.attempts_frame(c, user_id=others[0].user)),
        "the backups": lambda url: pharmdb.backup(url, list_only=True),
        "schema.prisma": pharmdb.prisma_schema,
        "the studio": pharmdb.studio,
    }
    with killed(distributed, down):
        for what, act in need_all.items():
            with pytest.raises(NodeDownError) as error:
                act(distributed)
            assert f":{down.port}" in error.value.found, what
            assert error.value.command.startswith("pharmdb doctor"), what
        for act in need_others.values():
            act(distributed)
        for _ in range(3):
            recording(others[0].user)(distributed)
        told = findings(distributed)
        assert {check: f.state for check, f in told.items() if f.state == FAIL} == {"nodes": FAIL}
        assert f":{down.port}" in told["nodes"].found
        assert told["nodes"].note
    assert [f for f in findings(distributed).values() if f.state == FAIL] == []
    now = counts(distributed)
    assert now.pop("attempts") == rows.pop("attempts") + 3
    # The attempts of one learner, which are about one question.
    assert all(0 <= now[table] - rows[table] <= 1 for table in rows)
    recording(down.user)(distributed)
    pharmdb.restore(distributed)
    assert mark(distributed) == before


def test_killed_under_writes_a_worker_loses_nothing_that_was_acknowledged(distributed: str) -> None:  # noqa: F811
    down = workers(distributed)[-1]
    with writing(distributed) as told:
        for _ in range(3):
            time.sleep(0.5)
            with killed(distributed, down):
                time.sleep(0.5)
        end = len(told.acknowledged) + 100
        while len(told.acknowledged) < end:
            time.sleep(0.05)
    assert told.errors
    # A COMMIT that was under way is unknown.
    assert {type(error) for error in told.errors} <= {NodeDownError, LostConnectionError}


# -- settings, versions, permissions ------------------------------------------------------------------------


def on_it_alone(url: str, worker: Worker, statement: str) -> None:
    with worker.connect(url) as connection:
        connection.execute("SET citus.enable_ddl_propagation TO off")
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("setting", "value", "right"),
    [("timezone", "Asia/Tokyo", "UTC"), ("lock_timeout", "77s", "0"), ("statement_timeout", "66s", "0")],
)
def test_a_setting_of_one_node_is_told_with_the_command_that_makes_all_alike(
    distributed: str,  # noqa: F811
    setting: str,
    value: str,
    right: str,
) -> None:
    name, worker = pharmdb.target(distributed).name, workers(distributed)[0]
    on_it_alone(distributed, worker, f"ALTER DATABASE {name} SET {setting} TO '{value}'")
    try:
        told = findings(distributed)["node settings"]
        assert value in told.found
        assert f":{worker.port}" in told.found
        types(told)
        assert "node settings" not in findings(distributed)
        with worker.connect(distributed) as connection:
            assert connection.execute(f"SHOW {setting}".encode()).fetchone() == (right,)
    finally:
        if setting != "timezone":
            ask(distributed, f"ALTER DATABASE {name} RESET {setting}")


def test_a_lock_on_a_node_is_waited_for_as_long_as_a_lock_elsewhere(
    distributed: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Held by a session that the coordinator knows nothing of."""
    worker = workers(distributed)[0]
    counting_for(worker.user)(distributed)
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "1")
    shard = ask(distributed, f"SELECT get_shard_id_for_distribution_column('progress_by_tag', {worker.user})")[0][0]
    for act in (recording(worker.user), counting_for(worker.user)):
        with worker.connect(distributed) as connection, connection.transaction():
            connection.execute(f"UPDATE progress_by_tag_{shard} SET tag = tag WHERE user_id = {worker.user}".encode())
            before = time.monotonic()
            with pytest.raises(LockedError) as error:
                act(distributed)
            assert time.monotonic() - before < 20
            assert f" on {worker.host}:{worker.port}" in error.value.found


def test_who_may_not_look_at_the_nodes_is_told_so(distributed: str) -> None:  # noqa: F811
    ask(distributed, "DROP ROLE IF EXISTS pharmdb_clerk")
    ask(distributed, "CREATE ROLE pharmdb_clerk LOGIN")
    url = pharmdb.target(distributed).url.set(username="pharmdb_clerk").render_as_string()
    function, view = "FUNCTION run_command_on_all_nodes", "citus_shards"
    try:
        ask(distributed, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pharmdb_clerk")
        assert not findings(url).keys() & {"nodes", "shards"}
        ask(distributed, f"REVOKE ALL ON {function} FROM PUBLIC; REVOKE ALL ON {view} FROM PUBLIC")
        told = findings(url)
        for check in ("nodes", "shards"):
            assert (told[check].state, "permission denied" in told[check].found) == (WARN, True)
            assert told[check].note
    finally:
        ask(distributed, f"GRANT EXECUTE ON {function} TO PUBLIC; GRANT SELECT ON {view} TO PUBLIC")
        ask(distributed, "DROP OWNED BY pharmdb_clerk")
        ask(distributed, "DROP ROLE pharmdb_clerk")


def test_a_prepared_transaction_that_was_left_is_told_with_the_command_that_ends_it(
    distributed: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a coordinator leaves it that crashes between the two phases of a COMMIT."""
    worker = workers(distributed)[0]
    gid = "citus_0_1_999999999_0"
    with worker.connect(distributed) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE half ()")
        connection.execute(f"PREPARE TRANSACTION '{gid}'".encode())
        assert "two-phase commits" not in findings(distributed)
        monkeypatch.setattr(nodes, "IN_DOUBT", 0)
        told = findings(distributed)["two-phase commits"]
        assert (told.state, f"1 on {worker.host}:{worker.port}" in told.found) == (WARN, True)
        types(told)
        assert connection.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone() == (0,)


def test_a_reader_waits_for_a_change_of_the_schema_on_the_coordinator(
    distributed: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on the nodes: one that hangs would stop everybody."""
    read = reading(lambda c: queries.user_by_email.one(c, email=citus.LEARNER))
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "1")
    with psycopg.connect(dsn(distributed)) as connection:
        connection.execute("SELECT undistribute_table('users', cascade_via_foreign_keys => true)")
        with pytest.raises(LockedError):
            read(distributed)
        connection.rollback()
    worker = workers(distributed)[0]
    with worker.connect(distributed) as connection, connection.transaction():
        (shard,) = ask(distributed, "SELECT shardid FROM citus_shards WHERE table_name = 'users'::regclass LIMIT 1")[0]
        connection.execute("SET LOCAL citus.enable_manual_changes_to_shards TO on")
        connection.execute(f"LOCK TABLE users_{shard} IN ACCESS EXCLUSIVE MODE".encode())
        read(distributed)
