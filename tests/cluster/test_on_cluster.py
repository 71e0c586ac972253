"""Every command on a distributed database, where PHARMDB_TEST_CITUS_URL names a coordinator: it stays distributed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from support import citus, legacy
from support.citus import distributed, mark  # noqa: F401 - a fixture
from support.databases import Databases, dsn
from support.revisions import scripts  # noqa: F401 - a fixture

import pharmdb
from pharmdb.backups import postgresql_dumps
from pharmdb.cluster import placing, planning
from pharmdb.database import placements, servers
from pharmdb.learning.attempts import Tag, counting
from pharmdb.models import MODELS
from pharmdb.schema import fingerprint_batches
from pharmdb.seeding.seeding import KNOWN_GOOD
from pharmdb.studio_app import editing, sessions, values
from pharmdb.studio_app.catalogue import catalogue
from pharmdb.studio_app.changes import Change
from pharmdb.studio_app.statement_log import StatementLog

ALL = {m.__tablename__: str(m.__table__.info["placement"]) for m in MODELS}  # type: ignore[attr-defined]
LEARNER = "learner000001@cohort.invalid"
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
TAG = Tag("questions", "cardiology", "hypertension")


def placed(url: str) -> dict[str, str]:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return placements.placements(connection)


def one(url: str, sql: str) -> Any:
    with psycopg.connect(dsn(url)) as connection:
        row = connection.execute(sql).fetchone()
        assert row is not None
        return row[0]


def test_an_attempt_is_recorded_as_elsewhere(distributed: str, databases: Databases) -> None:  # noqa: F811
    """Ten answers to the same question, with ease and interval computed by the database."""
    outcomes = []
    for url in (distributed, databases.seeded("sqlite")):
        with pharmdb.writing(pharmdb.target(url)) as connection:
            for number in range(10):
                recorded = pharmdb.record_attempt(
                    *(connection, 1, "question", "q"),
                    answers={"a": number},
                    score=number * 11,
                    tags=[TAG],
                    at=AT.replace(day=1 + number),
                )
        with counting(pharmdb.target(url)) as count:
            count(1, TAG, correct=True, at=AT)
        outcomes.append((recorded[1:], one_progress(url)))
    assert outcomes[0] == outcomes[1]


def one_progress(url: str) -> tuple[int, int]:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        frame = pharmdb.progress_frame(connection, user_id=1)
        row = frame[frame["tag"] == "hypertension"].iloc[0]
        return int(row["correct_count"]), int(row["wrong_count"])


def test_seed_cohort_inspect_and_doctor(distributed: str) -> None:  # noqa: F811
    assert pharmdb.seed(distributed).outcome["ok"].tolist() == [True]
    more = pharmdb.cohort(distributed, learners=citus.LEARNERS + 5, days=10)
    assert more.outcome["ok"].tolist() == [True]
    assert pharmdb.inspect(distributed, user_email=LEARNER).outcome["ok"].tolist() == [True]
    report = pharmdb.check(distributed, thorough=True)
    assert [f for f in report.findings if f.state == "fail"] == []
    assert {"placement", "nodes", "node versions", "balance"} <= {f.check for f in report.findings}


def test_a_standby_leaves_the_balance_to_its_primary(distributed: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Citus measures no shards on a standby of the coordinator."""
    monkeypatch.setattr(servers, "is_standby", lambda connection: True)
    checks = {finding.check for finding in pharmdb.check(distributed).findings}
    assert ("placement" in checks, "balance" in checks) == (True, False)


def test_frames_hold_what_the_tables_hold(distributed: str) -> None:  # noqa: F811
    with pharmdb.reading(pharmdb.target(distributed)) as connection:
        frame = pharmdb.attempts_frame(connection)
        assert len(frame) == one(distributed, "SELECT count(*) FROM attempts")
        assert frame["score"].sum() == one(distributed, "SELECT sum(score) FROM attempts")
        assert frame["id"].is_monotonic_increasing
        assert len(pharmdb.daily_progress(connection)) > 0


@pytest.mark.parametrize("rows", [3, 10**4])
def test_a_fingerprint_is_that_of_the_rows_read_one_by_one(
    distributed: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
) -> None:
    """In batches of several users, and of a part of a busy one's rows."""
    expected = mark(distributed)
    monkeypatch.setattr(fingerprint_batches, "BATCH", rows)
    monkeypatch.setattr(fingerprint_batches, "FEW", 0)
    assert mark(distributed) == expected


def test_a_deleted_user_takes_the_rows_of_all_shards_along(distributed: str) -> None:  # noqa: F811
    user = one(distributed, "SELECT max(user_id) FROM attempts")
    with pharmdb.writing(pharmdb.target(distributed)) as connection:
        assert pharmdb.delete_user(connection, user)
    for table, placement in ALL.items():
        if placement == "user_id":
            assert one(distributed, f"SELECT count(*) FROM {table} WHERE user_id = {user}") == 0


def test_the_studio_saves(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    target = pharmdb.target(distributed)
    with sessions.reading(target, StatementLog()) as session:
        tables = catalogue(session)
    new: dict[str, str | None] = {"user_id": "1", "entity_type": "drug", "entity_id": "aspirin"}
    log = tmp_path / "log"
    saved = editing.save(
        target, tables, [Change(1, "insert", "bookmarks", values=new)], StatementLog(), unlocked=False, log=log
    )
    assert saved.problems == []
    key = saved.keys[1]
    changed = Change(2, "update", "bookmarks", key=tuple(key), values={"entity_id": "ibuprofen"})
    saved = editing.save(target, tables, [changed], StatementLog(), unlocked=False, log=log)
    assert saved.problems == []
    assert one(distributed, f"SELECT entity_id FROM bookmarks WHERE id = {values.from_wire(key[0])}") == "ibuprofen"
    gone = Change(3, "delete", "bookmarks", key=tuple(key), cascade={})
    assert editing.save(target, tables, [gone], StatementLog(), unlocked=False, log=log).problems == []


def test_a_backup_holds_no_half_of_a_transaction(distributed: str) -> None:  # noqa: F811
    """Two learners on different nodes get a bookmark each in one transaction, again and again."""
    with psycopg.connect(dsn(distributed)) as connection:
        shard = "SELECT get_shard_id_for_distribution_column('bookmarks', id), id FROM users ORDER BY id"
        (_, one_user), *others = connection.execute(
            f"SELECT DISTINCT ON (nodeport) nodeport, id FROM ({shard}) AS u (shard, id) "
            "JOIN citus_shards ON shardid = shard ORDER BY 1, 2"
        ).fetchall()
    other_user = others[0][1]
    ended = threading.Event()

    def write() -> None:
        with psycopg.connect(dsn(distributed)) as connection:
            while not ended.is_set():
                for user in (one_user, other_user):
                    connection.execute(
                        "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (%s, 'pair', 'x')", (user,)
                    )
                connection.commit()

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            backups = [pharmdb.backup(distributed).backup for _ in range(5)]
        finally:
            ended.set()
        writer.result()
    rows = []
    for backup in filter(None, backups):
        parts = postgresql_dumps.read_dump(backup.path, 15)
        data = b"".join(b"".join(lines) for kind, text, lines in parts if kind == "copy" and "bookmarks" in text)
        pairs = [line.split(b"\t")[1] for line in data.splitlines() if b"\tpair\t" in line]
        rows.append((pairs.count(b"%d" % one_user), pairs.count(b"%d" % other_user)))
    assert [(one, two) for one, two in rows if one != two] == []
    assert rows[-1] > (0, 0)


def _restored(url: str) -> None:
    before, backup = mark(url), pharmdb.backup(url).backup
    assert backup is not None
    pharmdb.reset(url, backup=False)
    assert mark(url) != before
    assert pharmdb.restore(url, backup=backup.id).backup == backup
    assert mark(url) == before


def _reset(url: str) -> None:
    assert pharmdb.reset(url).fingerprint == KNOWN_GOOD


def _down_and_up(url: str) -> None:
    before = mark(url)
    pharmdb.migrate(url, revision="-1")
    assert placed(url) == ALL
    assert pharmdb.migrate(url).differences == ()
    assert mark(url) == before


@pytest.mark.parametrize("verb", [_down_and_up, _restored, _reset])
def test_what_makes_the_tables_anew_distributes_them_again(
    distributed: str,  # noqa: F811
    verb: Callable[[str], None],
) -> None:
    verb(distributed)
    assert placed(distributed) == ALL
    assert pharmdb.check(distributed).count("fail") == 0


def test_an_upgrade_fills_a_distributed_database(distributed: str, tmp_path: Path) -> None:  # noqa: F811
    report = pharmdb.upgrade(str(legacy.sample(tmp_path)), distributed, confirm=pharmdb.target(distributed).name)
    assert report.outcome["ok"].tolist() == [True]
    assert placed(distributed) == ALL


NEW = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "ffff00000001", "7b1f4e90d2a6", None, None


def upgrade():
    op.create_table(
        "notes",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notes_user_id_users", ondelete="CASCADE"),
        sa.UniqueConstraint("user_id", "text", name="uq_notes_user_id_text"),
    )
    op.add_column("attempts", sa.Column("seconds", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_check_constraint(op.f("ck_attempts_seconds"), "attempts", "seconds >= 0")
    op.create_index("ix_attempts_user_id_seconds", "attempts", ["user_id", "seconds"])
    op.add_column("users", sa.Column("nickname", sa.String(), nullable=True))


def downgrade():
    op.drop_column("users", "nickname")
    op.drop_index("ix_attempts_user_id_seconds", "attempts")
    op.drop_constraint(op.f("ck_attempts_seconds"), "attempts")
    op.drop_column("attempts", "seconds")
    op.drop_table("notes")
"""


def test_a_later_revision_reaches_all_nodes_and_its_new_table_is_distributed(
    distributed: str,  # noqa: F811
    scripts: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (scripts / "20990101_new.py").write_text(NEW, encoding="utf-8")
    monkeypatch.setattr(placing, "MODELS", (*MODELS, SimpleNamespace(__tablename__="notes")))
    named = planning.named
    monkeypatch.setattr(planning, "named", lambda name: "user_id" if name == "notes" else named(name))
    report = pharmdb.migrate(distributed)
    assert report.placed == ("notes",)
    assert placed(distributed) == ALL | {"notes": "user_id"}
    shards = one(
        distributed, "SELECT count(*) FROM run_command_on_shards('attempts', 'SELECT seconds FROM %s LIMIT 1')"
    )
    assert shards == 32
    assert pharmdb.migrate(distributed, revision="-1").outcome["ok"].tolist() == [True]
    assert placed(distributed) == ALL
