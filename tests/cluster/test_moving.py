"""Shards are moved, on a real cluster: workers are drained, removed and added while learners write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest
from support import citus
from support.citus_nodes import (
    ask,
    findings,
    reading,
    recording,
    types,
    workers,
    writing,
)
from support.databases import dsn
from support.project import ROOT

import pharmdb
from pharmdb.doctor.results import FAIL, OK, WARN
from pharmdb.errors import LockedError


@pytest.fixture
def few_shards() -> Iterator[str]:
    """A distributed database with few shards, of which each takes seconds to be moved."""
    url = citus.emptied()
    name = pharmdb.target(url).name
    nodes = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0"
    before = ask(url, nodes)
    ask(url, f"ALTER DATABASE {name} SET citus.shard_count TO 4")
    try:
        citus.filled(url)
        pharmdb.distribute(url, dry_run=False)
        yield url
    finally:
        ask(url, f"ALTER DATABASE {name} RESET citus.shard_count")
        citus.emptied()
        for host, port in set(before) - set(ask(url, nodes)):
            ask(url, f"SELECT citus_add_node('{host}', {port})")
        for host, port in before:
            ask(url, f"SELECT citus_set_node_property('{host}', {port}, 'shouldhaveshards', true)")


def test_a_worker_is_drained_removed_and_added_again_under_writes(few_shards: str) -> None:
    url = few_shards
    *_, worker = workers(url)
    call = f"'{worker.host}', {worker.port}"
    with writing(url) as told:
        ask(url, f"SELECT citus_drain_node({call})")
        drained = findings(url)["balance"]
        assert (drained.state, "is drained" in drained.found) == (WARN, True)
        ask(url, f"SELECT citus_disable_node({call}, true)")
        disabled = findings(url)["nodes"]
        assert (disabled.state, disabled.found) == (FAIL, f"disabled: {worker.host}:{worker.port}")
        types(disabled)
        assert "nodes" not in findings(url)
        types(findings(url)["balance"])
        assert findings(url)["balance"].state == OK
        ask(url, f"SELECT citus_add_node({call})")
        added = findings(url)
        assert f"no shards on {worker.host}:{worker.port}" == added["balance"].found
        types(added["reference tables"])
        types(added["balance"])
        assert "being moved" in findings(url)["balance"].found
        ask(url, "SELECT citus_rebalance_wait()")
        assert findings(url).keys() <= {"balance", "newest backup", "locks"}
    assert told.errors == []
    assert worker.port in {each.port for each in workers(url)}
    # It has what pharmdb needs.
    with worker.connect(url) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (len(ask(url, "SELECT 1 FROM users")),)


def test_a_drain_that_was_stopped_is_told_with_the_command_that_goes_on(few_shards: str) -> None:
    *_, worker = workers(few_shards)
    call = f"'{worker.host}', {worker.port}"
    ask(few_shards, f"SELECT citus_set_node_property({call}, 'shouldhaveshards', false)")
    try:
        told = findings(few_shards)["balance"]
        assert (told.state, "is to be drained" in told.found) == (WARN, True)
        assert f"citus_drain_node({call})" in told.remedy.replace("'\"'\"'", "'")
    finally:
        ask(few_shards, f"SELECT citus_set_node_property({call}, 'shouldhaveshards', true)")


def test_while_a_shard_is_moved_whoever_waits_is_told_for_what(
    few_shards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = few_shards
    monkeypatch.setenv("PHARMDB_LOCK_TIMEOUT", "1")
    one, other, *_ = workers(url)
    shard = ask(url, f"SELECT get_shard_id_for_distribution_column('attempts', {one.user})")[0][0]
    move = f"{shard}, '{one.host}', {one.port}, '{other.host}', {other.port}, 'block_writes'"
    with psycopg.connect(dsn(url)) as connection:
        # It is not committed: the locks of the end of a move stay.
        connection.execute(f"SELECT citus_move_shard_placement({move})".encode())
        reading(lambda c: pharmdb.attempts_frame(c, user_id=other.user))(url)
        acts: dict[str, Callable[[str], object]] = {
            "record": recording(one.user),
            "reset": lambda url: pharmdb.reset(url, backup=False),
            "migrate": lambda url: pharmdb.migrate(url, revision="-1", backup=False),
        }
        for what, act in acts.items():
            with pytest.raises(LockedError) as error:
                act(url)
            assert "citus_move_shard_placement" in error.value.found, what
        connection.rollback()
    recording(one.user)(url)


# -- the page on growing ------------------------------------------------------------------------------------


def documented(name: str) -> list[str]:
    """The statements of the blocks of this name in the page on growing."""
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"<!-- run on a cluster: {name} -->\n *```sql\n(.*?)```", page, re.DOTALL)
    return [statement.strip() for block in blocks for statement in block.split(";") if statement.strip()]


def test_a_database_is_distributed_while_learners_write(few_shards: str) -> None:
    url = few_shards
    pharmdb.distribute(url, dry_run=False, back=True)
    plugins = ask(url, "SELECT coalesce(current_setting('output_plugin_libraries', true), 'citus')")[0][0]
    if "citus" not in plugins:
        pytest.skip("the coordinator's output_plugin_libraries do not contain citus")
    statements = documented("online")
    assert len(statements) == 17
    with writing(url) as told:
        for statement in statements:
            ask(url, statement)
    # The keys are swapped under a lock, which can deadlock with an answer.
    assert {type(error) for error in told.errors} <= {LockedError}
    assert len(told.errors) < 5
    # Shards that are not yet removed are visible.
    assert "drift" not in findings(url)
    ask(url, "CALL citus_cleanup_orphaned_resources()")
    left = pharmdb.distribute(url, dry_run=False)
    assert {step.table for step in left.steps} <= {"users", "dataset_overrides"}
    assert pharmdb.distribute(url).steps == ()
    assert [f for f in findings(url).values() if f.state == FAIL] == []


def test_one_learner_gets_a_shard_of_their_own(few_shards: str) -> None:
    url = few_shards
    one, other, *_ = workers(url)
    isolate, move = documented("isolate")
    assert "'attempts', 3" in isolate
    with writing(url) as told:
        ask(url, isolate.replace("3", str(one.user)))
        ask(url, move.replace("3)", f"{one.user})").replace("'worker3', 5432", f"'{other.host}', {other.port}"))
    assert told.errors == []
    for table in ("attempts", "progress_by_tag"):
        shard = ask(url, f"SELECT get_shard_id_for_distribution_column('{table}', {one.user})")[0][0]
        with other.connect(url) as connection:
            found = connection.execute(f"SELECT DISTINCT user_id FROM {table}_{shard}".encode()).fetchall()
        assert found == [(one.user,)]
    assert [f for f in findings(url).values() if f.state == FAIL] == []
