"""`pharmdb distribute`: refused without a cluster; on one, all or nothing, and the way back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psycopg
import pytest
from support.citus import LEARNER, citus, mark  # noqa: F401 - a fixture
from support.databases import dsn

import pharmdb
from pharmdb.doctor.results import FAIL
from pharmdb.errors import DistributedError
from pharmdb.models import MODELS

PLACED = {m.__tablename__: str(m.__table__.info["placement"]) for m in MODELS}  # type: ignore[attr-defined]


def placed(url: str) -> dict[str, str]:
    table = pharmdb.distribute(url).placements
    return dict(zip(table["table"], table["placed"], strict=True))


def keys(url: str) -> set[str]:
    return set(pharmdb.distribute(url).placements["key"])


def test_without_a_cluster_the_plan_is_shown_with_what_is_in_the_way(seeded: str) -> None:
    before = mark(seeded)
    report = pharmdb.distribute(seeded)
    assert len(report.plan) == 20
    assert list(report.obstacles["what"]) == ["extension"]
    assert (bool(report.outcome["ok"].iloc[0]), report.dry_run, report.backup) == (False, True, None)
    with pytest.raises(DistributedError) as refused:
        pharmdb.distribute(seeded, dry_run=False)
    assert refused.value.note
    assert mark(seeded) == before


def test_onto_the_cluster_and_back(citus: str) -> None:  # noqa: F811
    before = mark(citus)
    planned = pharmdb.distribute(citus)
    assert planned.outcome["ok"].tolist() == [True]
    done = pharmdb.distribute(citus, dry_run=False)
    assert list(done.plan["statement"]) == list(planned.plan["statement"])
    assert done.backup is not None
    assert mark(citus) == before
    assert placed(citus) == PLACED
    assert keys(citus) == {"id", "id, user_id"}
    again = pharmdb.distribute(citus, dry_run=False)
    assert (again.steps, again.backup, bool(again.outcome["ok"].iloc[0])) == ((), None, True)
    back = pharmdb.distribute(citus, dry_run=False, back=True)
    assert back.backup is not None
    assert mark(citus) == before
    assert (set(placed(citus).values()), keys(citus)) == ({""}, {"id"})
    assert pharmdb.check(citus).count("fail") == 0


def test_between_the_statements_of_a_distribution_only_the_placement_is_wrong(citus: str) -> None:  # noqa: F811
    """As an interrupted online distribution leaves it: what is not yet distributed is Citus's, too."""
    with psycopg.connect(dsn(citus), autocommit=True) as connection:
        connection.execute("SELECT create_reference_table('users')")
    told = [finding.check for finding in pharmdb.check(citus).findings if finding.state == FAIL]
    assert told == ["placement"]
    assert pharmdb.inspect(citus, user_email=LEARNER).outcome["ok"].tolist() == [True]
    before = mark(citus)
    pharmdb.distribute(citus, dry_run=False)
    assert (mark(citus), placed(citus)) == (before, PLACED)


KILLED = """
import os, signal, sys
from pharmdb.cluster import placing
import pharmdb
run = placing.run
def killed(connection, steps):
    run(connection, steps[:int(sys.argv[2])])
    os.kill(os.getpid(), signal.SIGKILL)
placing.run = killed
pharmdb.distribute(sys.argv[1], dry_run=False, back=sys.argv[3] == "back")
"""


@pytest.mark.parametrize(("steps", "back"), [(1, False), (14, False), (17, False), (24, False), (1, True), (6, True)])
def test_killed_in_the_middle_the_old_database_is_whole(citus: str, steps: int, back: bool) -> None:  # noqa: F811
    if back:
        pharmdb.distribute(citus, dry_run=False)
    before, there = mark(citus), placed(citus)
    arguments = [sys.executable, "-c", KILLED, citus, str(steps), "back" if back else ""]
    result = subprocess.run(arguments, env=dict(os.environ), check=False, capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert (mark(citus), placed(citus)) == (before, there)
    pharmdb.distribute(citus, dry_run=False, back=back)
    assert mark(citus) == before


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("CREATE UNIQUE INDEX extra ON attempts (created_at, id)", "unique key"),
        ("ALTER TABLE bookmarks ADD CONSTRAINT extra UNIQUE (entity_type, id)", "unique key"),
        ("CREATE TABLE theirs (user_id bigint REFERENCES users)", "foreign key"),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; "
            "CREATE TRIGGER extra BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION f()",
            "trigger",
        ),
        ("SELECT create_distributed_table('dataset_overrides', 'id')", "placement"),
    ],
)
def test_what_is_in_the_way_is_named_with_the_command_that_ends_it(
    citus: str,  # noqa: F811
    harm: str,
    what: str,
) -> None:
    with psycopg.connect(dsn(citus), autocommit=True) as connection:
        if what == "placement":
            connection.execute("ALTER TABLE dataset_overrides DROP CONSTRAINT uq_dataset_overrides_name")
            connection.execute("ALTER TABLE dataset_overrides DROP CONSTRAINT fk_dataset_overrides_created_by_id_users")
        connection.execute(harm)
    report = pharmdb.distribute(citus)
    assert list(report.obstacles["what"]) == [what]
    with pytest.raises(DistributedError) as refused:
        pharmdb.distribute(citus, dry_run=False)
    assert refused.value.command == report.hindrances[0].command
    subprocess.run(refused.value.command, shell=True, check=True, capture_output=True)
    assert pharmdb.distribute(citus).hindrances == ()
