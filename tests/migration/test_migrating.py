"""The chain of revisions: forward and back with rows in every table, through crashes, races and refusals."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from support import raw
from support.databases import DIALECTS
from support.processes import pool, warm
from support.raw import ANN, OWNERS, TABLES, insert
from support.revisions import differences

import pharmdb
from pharmdb import settings
from pharmdb.database import environments
from pharmdb.errors import ParameterError, ProtectedError, RevisionError
from pharmdb.models import Base, Bookmark
from pharmdb.schema import drift, revisions

OLD = "8f1c2a6d4b10"
HARDENED = "5a3d81e7f92c"
REVISIONS = [s.revision for s in reversed(list(ScriptDirectory.from_config(revisions.config()).walk_revisions()))]
HEAD = REVISIONS[-1]


@pytest.fixture
def old(databases: Any, dialect: str) -> str:
    """A database at the first revision, with the rows of raw.fill."""
    return at(databases.empty(dialect), OLD)


def at(url: str, revision: str) -> str:
    pharmdb.migrate(url, revision=revision)
    with raw.session(url) as session:
        raw.fill(session)
    return url


def rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with raw.session(url) as session:
        return raw.content(session)


def schema(url: str) -> list[tuple[Any, ...]]:
    with raw.session(url) as session:
        return raw.schema(session)


def revision(scripts: Path, body: str, *, name: str = "ffff00000001", after: str = HEAD) -> str:
    """Writes a revision file whose upgrade is this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (scripts / f"20990101_{name}.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = {name!r}\ndown_revision = {after!r}\nbranch_labels = depends_on = None\n\n\n"
        f"def upgrade():\n{lines}\n\ndef downgrade():\n    pass\n"
    )
    return name


# -- the chain --------------------------------------------------------------------------------------


def test_no_row_changes_on_the_way_from_any_revision_to_any_other(old: str) -> None:
    before = rows(old)
    assert all(before.values())
    for start, end in itertools.permutations(REVISIONS, 2):
        pharmdb.migrate(old, revision=start)
        assert rows(old) == before
        report = pharmdb.migrate(old, revision=end)
        assert (report.before, report.after, report.rejects) == (start, end, ())
        assert rows(old) == before


def test_rows_written_at_head_come_through_step_by_step_down_and_up_again(databases: Any, dialect: str) -> None:
    url = at(databases.migrated(dialect), HEAD)
    before = rows(url)
    steps = len(REVISIONS) - 1
    for step in ["-1"] * steps + ["+1"] * steps:
        assert len(pharmdb.migrate(url, revision=step).steps) == 1
        assert rows(url) == before
    assert differences(url) == []


@pytest.mark.parametrize("start", REVISIONS[:-1])
def test_rows_written_at_any_revision_come_to_head_whole(databases: Any, dialect: str, start: str) -> None:
    url = at(databases.empty(dialect), start)
    with raw.session(url) as session:
        raw.put(session, "users", id="4242", email="'far@example.test'")
        raw.put(session, "attempts", id="98765", user_id="4242")
    before = rows(url)
    report = pharmdb.migrate(url)
    assert (report.before, report.after, report.rejects) == (start, HEAD, ())
    assert rows(url) == before
    assert differences(url) == []
    findings = pharmdb.check(url).findings
    assert [f for f in findings if f.state == "fail"] == []
    assert pharmdb.migrate(url).steps == ()


def test_down_to_base_leaves_nothing_and_up_again_is_the_same_schema(migrated: str, dialect: str) -> None:
    at_head = schema(migrated)
    pharmdb.migrate(migrated, revision="base")
    left = {str(row[1]) for row in schema(migrated)} if dialect == "postgresql" else {r[2] for r in schema(migrated)}
    assert {
        name
        for name in left
        if not re.match(r"(_|sqlite_autoindex_)?(alembic_version|pharmdb_(environment|revisions))", name)
    } == set()
    pharmdb.migrate(migrated)
    assert schema(migrated) == at_head


def test_migrating_what_is_at_head_changes_nothing(migrated: str) -> None:
    before = raw.everything(migrated)
    report = pharmdb.migrate(migrated)
    assert (report.before, report.after, report.steps, report.differences) == (HEAD, HEAD, (), ())
    assert raw.everything(migrated) == before


def test_a_batch_that_rebuilds_users_keeps_the_children_the_checks_strict_and_the_ids(
    migrated: str, scripts: Path, dialect: str
) -> None:
    with raw.session(migrated) as session:
        raw.fill(session)
        session.execute(insert("users", id="4711", email="'gone@example.test'"))
        session.execute("DELETE FROM users WHERE id = 4711")
    before, unchanged = rows(migrated), schema(migrated)
    revision(
        scripts,
        'with op.batch_alter_table("users") as batch:\n'
        """    batch.create_check_constraint("password_hash", "password_hash <> ''")""",
    )
    pharmdb.migrate(migrated)
    assert rows(migrated) == before
    assert [d[:3] for d in differences(migrated)] == [("check", "users", "ck_users_password_hash")]
    assert schema(migrated) != unchanged
    with raw.session(migrated) as session:
        for broken in ({"password_hash": "''"}, {"role": "'ROOT'"}, {"email": "'Ann@example.test'"}):
            with pytest.raises(raw.REFUSED):
                session.execute(insert("users", **broken))
        session.execute(f"DELETE FROM users WHERE id = {ANN}")
        assert [len(raw.rows(session, table)) for table in OWNERS] == [0] * len(OWNERS)
        if dialect == "sqlite":
            assert session.execute("SELECT strict FROM pragma_table_list WHERE name = 'users'").fetchone() == (1,)
            session.execute(insert("users", email="'next@example.test'"))
            assert session.execute("SELECT max(id) FROM users").fetchone() == (4712,)


# -- hardening: what is repaired, what is rejected ---------------------------------------------------

LATE_TIME = "'2026-05-01 00:00:00.000000'"
OWNER_REJECTED = "names a user that was rejected"

# (table, changes to a valid row, the reason for its rejection or the columns as they were repaired)
DIRTY: list[tuple[str, dict[str, str], str | dict[str, Any]]] = [
    ("users", {"email": "'Cora@Example.Test'"}, {"email": "cora@example.test"}),
    ("users", {"email": "'CORA@example.test'", "created_at": LATE_TIME}, "older account"),
    ("users", {"email": "' cora@example.test'", "created_at": LATE_TIME}, "older account"),
    ("users", {"email": "'Dora@example.test'", "created_at": LATE_TIME}, "older account"),
    ("users", {"email": "'dora@example.test'"}, {"email": "dora@example.test"}),
    ("users", {"email": "' \t\r\nemil@example.test\n '"}, {"email": "emil@example.test"}),
    ("users", {"email": "'f ritz@example.test'"}, "ck_users_email_characters"),
    ("users", {"email": "'nobody'"}, "ck_users_email"),
    ("users", {"email": "'ÄNNE@example.test'"}, "ck_users_email_characters"),
    ("users", {"email": "'gus@example.test'", "role": "'STUDENT'"}, "ck_users_role"),
    ("user_settings", {"language": "'e'"}, "ck_user_settings_language"),
    ("user_settings", {"language": "'e1'"}, "ck_user_settings_language_letters"),
    ("attempts", {"score": "150"}, "ck_attempts_score"),
    ("attempts", {"score": "-1"}, "ck_attempts_score"),
    ("attempts", {"entity_type": "'drug'"}, "ck_attempts_entity_type"),
    ("attempts", {"entity_type": "'Question'"}, "ck_attempts_entity_type"),
    ("attempts", {"score": "100"}, {"score": 100.0}),
    ("progress_by_tag", {"tag": "'t1'", "correct_count": "-1"}, "ck_progress_by_tag_counts"),
    ("spaced_repetition_items", {"entity_id": "'i1'", "ease_factor": "1.0"}, "ck_spaced_repetition_items_ease_factor"),
    ("spaced_repetition_items", {"entity_id": "'i2'", "interval_days": "0"}, "ck_spaced_repetition_items_interval"),
    ("spaced_repetition_items", {"entity_id": "'i3'", "last_reviewed_at": LATE_TIME}, "review_order"),
    ("dataset_overrides", {"name": "'x'"}, {"name": "x"}),
    ("dataset_overrides", {"name": "'x (2)'"}, {"name": "x (2)"}),
    ("dataset_overrides", {"name": "'x'"}, {"name": "x (3)"}),
    ("dataset_overrides", {"name": "'x'"}, {"name": "x (4)"}),
    ("dataset_overrides", {"name": "'y'", "json_text": "'{'"}, "json_text"),
    ("dataset_overrides", {"name": "'y'"}, {"name": "y"}),
    ("dataset_overrides", {"name": "'y'", "json_text": "'NaN'"}, "json_text"),
    ("dataset_overrides", {"name": "'z'", "json_text": "''"}, "json_text"),
]
DIRTY_SQLITE: list[tuple[str, dict[str, str], str | dict[str, Any]]] = [
    *((table, {owner: "-1"}, f"{owner} names no user") for table, owner in OWNERS.items()),
    ("users", {"email": "'nul@example.test' || char(0)"}, "ck_users_email_characters"),
    ("users", {"email": "x'00ff'"}, "email has a value of the wrong type"),
    ("bookmarks", {"user_id": "'abc'"}, "user_id has a value of the wrong type"),
    ("attempts", {"score": "'abc'"}, "score has a value of the wrong type"),
    ("attempts", {"answers": "'{'"}, "ck_attempts_answers"),
    ("attempts", {"answers": "x'7b7d'"}, "answers has a value of the wrong type"),
    ("attempts", {"feedback": "'{'"}, "ck_attempts_feedback"),
    ("attempts", {"answers": "'42'"}, {"answers": "42"}),
    ("progress_by_tag", {"tag": "'t2'", "wrong_count": "'abc'"}, "wrong_count has a value of the wrong type"),
    ("progress_by_tag", {"tag": "'t3'", "wrong_count": "1.5"}, "wrong_count has a value of the wrong type"),
    ("dataset_overrides", {"name": "'b1'", "is_active": "2"}, "ck_dataset_overrides_is_active"),
    ("dataset_overrides", {"name": "'b2'", "is_active": "'abc'"}, "is_active has a value of the wrong type"),
    ("bookmarks", {"created_at": "1767225600123"}, {"created_at": "2026-01-01T00:00:00.123+00:00"}),
    ("bookmarks", {"created_at": "-1"}, {"created_at": "1969-12-31T23:59:59.999+00:00"}),
    ("bookmarks", {"created_at": "'2026-01-01 02:03:04'"}, {"created_at": "2026-01-01T02:03:04.000+00:00"}),
    ("bookmarks", {"created_at": "'2026-01-01 02:03:04.5'"}, {"created_at": "2026-01-01T02:03:04.500+00:00"}),
    ("bookmarks", {"created_at": "'2026-01-01T02:03:04+02:00'"}, {"created_at": "2026-01-01T00:03:04.000+00:00"}),
    ("bookmarks", {"created_at": "'2026-01-01T02:03:04.123Z'"}, {"created_at": "2026-01-01T02:03:04.123+00:00"}),
    ("bookmarks", {"created_at": "'2026-01-01T02:03:04-11:30'"}, {"created_at": "2026-01-01T13:33:04.000+00:00"}),
    ("bookmarks", {"created_at": "'yesterday'"}, "created_at is no time"),
    ("bookmarks", {"created_at": "''"}, "created_at is no time"),
    ("bookmarks", {"created_at": "'2026-02-30 00:00:00'"}, "created_at is no time"),
    ("bookmarks", {"created_at": "9e17"}, "created_at is no time"),
    ("bookmarks", {"created_at": "x'3132'"}, "created_at is no time"),
    ("spaced_repetition_items", {"entity_id": "'i4'", "last_reviewed_at": "'never'"}, "last_reviewed_at is no time"),
]
DIRTY_POSTGRESQL: list[tuple[str, dict[str, str], str | dict[str, Any]]] = [
    ("attempts", {"score": "'NaN'"}, "ck_attempts_score"),
    ("attempts", {"score": "'Infinity'"}, "ck_attempts_score"),
    ("spaced_repetition_items", {"entity_id": "'i4'", "ease_factor": "'NaN'"}, "ease_factor"),
    ("bookmarks", {"created_at": "'infinity'"}, "ck_bookmarks_created_at"),
    ("bookmarks", {"created_at": "'2026-01-01 00:00:00 BC'"}, "ck_bookmarks_created_at"),
]
# What belongs to a rejected account goes with it: rows of the user with the e-mail CORA@example.test.
CHILDREN = [(table, {owner: "1002"}, OWNER_REJECTED) for table, owner in OWNERS.items()]


def dirty(dialect: str) -> dict[int, tuple[str, dict[str, str], str | dict[str, Any]]]:
    """The dirty rows by id; the first ones are users 1001, 1002, …"""
    own = DIRTY_SQLITE if dialect == "sqlite" else DIRTY_POSTGRESQL
    numbered = dict(enumerate([*DIRTY, *own, *CHILDREN], start=1001))
    for id_, (table, changes, outcome) in numbered.items():
        # One settings row and one name each; nobody else's uniqueness is in the way.
        if table == "user_settings" and "user_id" not in changes:
            changes = changes | {"user_id": "1001" if "'e'" in changes.values() else "1005"}
        if table == "dataset_overrides" and "name" not in changes:
            changes = changes | {"name": f"'override {id_}'"}
        numbered[id_] = (table, changes, outcome)
    return numbered


def as_json(session: Any, dialect: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Every row of the seven tables as the JSON object that it should be kept as."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for table in TABLES:
        if dialect == "postgresql":
            found |= {(table, i): row for i, row in session.execute(f"SELECT id, to_jsonb({table}) FROM {table}")}
            continue
        cursor = session.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in cursor.description]
        for values in cursor:
            texts = [value.hex().upper() if isinstance(value, bytes) else value for value in values]
            found[table, values[0]] = dict(zip(names, texts, strict=True))
    return found


@pytest.fixture(scope="module")
def hardened(databases: Any) -> dict[str, SimpleNamespace]:
    """For each dialect a database that was full of dirty rows, upgraded: what there was and what there is."""
    found = {}
    for dialect in ("sqlite", "postgresql"):
        url = at(databases.empty(dialect), OLD)
        with raw.session(url) as session:
            if dialect == "sqlite":
                session.execute("PRAGMA foreign_keys = OFF")
            for id_, (table, changes, _) in dirty(dialect).items():
                raw.put(session, table, id=str(id_), **changes)
            before = as_json(session, dialect)
        report = pharmdb.migrate(url)
        with raw.session(url) as session:
            rejects = session.execute('SELECT source_table, source_id, "row", reason FROM upgrade_rejects').fetchall()
            found[dialect] = SimpleNamespace(
                url=url,
                report=report,
                before=before,
                after=as_json(session, dialect),
                rejected={(t, i): (json.loads(r) if isinstance(r, str) else r, why) for t, i, r, why in rejects},
                rejects=len(rejects),
            )
    return found


def test_every_row_is_either_carried_over_or_rejected_once(hardened: Any, dialect: str) -> None:
    found = hardened[dialect]
    assert found.rejects == len(found.rejected)
    assert not found.after.keys() & found.rejected.keys()
    assert found.after.keys() | found.rejected.keys() == found.before.keys()


def test_every_reject_holds_its_whole_row_and_a_reason(hardened: Any, dialect: str) -> None:
    for key, (row, reason) in hardened[dialect].rejected.items():
        assert row == hardened[dialect].before[key]
        assert reason


def test_clean_rows_are_carried_over_unchanged(hardened: Any, dialect: str) -> None:
    found = hardened[dialect]
    for key, row in found.before.items():
        if key[1] < 1001 and key[0] != "attempts":
            assert found.after[key] == {name: raw.renewed(value) for name, value in row.items()}
    assert differences(found.url) == []


def test_the_report_counts_what_was_rejected(hardened: Any, dialect: str) -> None:
    found = hardened[dialect]
    assert sum(n for *_, n in found.report.rejects) == found.rejects
    assert found.report.rejected["rows"].sum() == found.rejects


DIRTY_CASES = [
    pytest.param(d, id_, id=f"{d}-{case[0]}-{case[1]!a}")
    for d in ("sqlite", "postgresql")
    for id_, case in dirty(d).items()
]


@pytest.mark.parametrize(("dialect", "id_"), DIRTY_CASES)
def test_a_dirty_row_is_repaired_or_rejected_with_the_reason(hardened: Any, dialect: str, id_: int) -> None:
    table, _, outcome = dirty(dialect)[id_]
    found = hardened[dialect]
    if isinstance(outcome, str):
        assert outcome in found.rejected[table, id_][1]
    else:
        assert found.after[table, id_].items() >= outcome.items()


def test_a_valid_row_under_a_rejected_id_survives_the_next_upgrade(old: str) -> None:
    with raw.session(old) as session:
        session.execute(insert("attempts", id="77", score="150"))
        session.execute(insert("users", id="77", email="'ANN@example.test'"))
    assert len(pharmdb.migrate(old).rejects) == 2
    pharmdb.migrate(old, revision=OLD)
    with raw.session(old) as session:
        session.execute(insert("users", id="77", email="'cora@example.test'"))
        session.execute(insert("attempts", id="77", user_id="77"))
        before = raw.content(session)
    assert pharmdb.migrate(old).rejects == ()
    assert rows(old) == before


# -- torn migrations --------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["base", OLD])
def test_a_revision_that_fails_leaves_the_old_schema_and_rows(
    databases: Any, dialect: str, scripts: Path, start: str
) -> None:
    url = databases.empty(dialect)
    pharmdb.migrate(url, revision="base") if start == "base" else at(url, start)
    before = raw.everything(url)
    revision(
        scripts,
        'op.create_table("extra", sa.Column("id", sa.Integer()))\n'
        'op.execute("DELETE FROM attempts")\n'
        'op.drop_table("bookmarks")\n'
        'raise RuntimeError("on purpose")',
    )
    with pytest.raises(RuntimeError, match="on purpose"):
        pharmdb.migrate(url)
    assert raw.everything(url) == before


KILLED = """
import sys
from pathlib import Path
import pharmdb
from pharmdb import settings
settings.SOURCE = Path(sys.argv[1])
pharmdb.migrate(sys.argv[2])
"""


def test_a_kill_in_the_middle_leaves_the_old_state_and_the_next_run_succeeds(
    old: str, scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = raw.everything(old)
    revision(
        scripts,
        "import sys\n"
        'op.execute("CREATE TABLE _new_users AS SELECT * FROM users")\n'
        'op.execute("CREATE TABLE _alembic_tmp_users AS SELECT * FROM users")\n'
        'print("in the middle", flush=True)\n'
        "sys.stdin.read()\n"
        'op.execute("DROP TABLE _new_users")\n'
        'op.execute("DROP TABLE _alembic_tmp_users")',
    )
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(settings.SOURCE), old],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "in the middle\n"
    finally:
        child.kill()
        child.communicate()
    assert raw.everything(old) == before
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert len(pharmdb.migrate(old).steps) == len(REVISIONS)
    assert rows(old) == {table: before[1][table] for table in TABLES}
    with raw.session(old) as session:
        assert not [name for name in raw.tables(session) if name.startswith("_")]


# -- several at once --------------------------------------------------------------------------------

PROCESSES = 4


_barriers: list[Barrier] = []


def _wait_for_the_others(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _migrate_with_the_others(url: str) -> int:
    _barriers[0].wait()
    return len(pharmdb.migrate(url).steps)


@pytest.fixture(scope="module")
def crowd() -> Iterator[Any]:
    """Runs a function in four processes at the same moment."""
    with pool(PROCESSES, _wait_for_the_others, warm().Barrier(PROCESSES)) as processes:
        yield lambda url: sorted(processes.map(_migrate_with_the_others, [url] * PROCESSES, timeout=120))


def test_of_four_migrations_of_a_fresh_database_at_once_one_does_the_work(crowd: Any, empty: str) -> None:
    assert crowd(empty) == [0, 0, 0, len(REVISIONS)]
    assert differences(empty) == []


def test_of_four_migrations_of_an_old_database_at_once_one_does_the_work(crowd: Any, old: str) -> None:
    before = rows(old)
    assert crowd(old) == [0, 0, 0, len(REVISIONS) - 1]
    assert rows(old) == before
    assert differences(old) == []


# -- refusals ---------------------------------------------------------------------------------------


def refuses(url: str, found: str, /, **arguments: Any) -> None:
    """Migrating raises a RevisionError with its four parts, and touches nothing."""
    before = raw.everything(url)
    with pytest.raises(RevisionError, match=found) as error:
        pharmdb.migrate(url, **arguments)
    text = str(error.value)
    positions = [text.index(f"{part}:") for part in ("expected", "found", "unchanged", "next")]
    assert positions == sorted(positions)
    assert all(
        (error.value.expected, error.value.found, error.value.unchanged, error.value.command or error.value.note)
    )
    assert raw.everything(url) == before


@pytest.mark.parametrize("arguments", [{}, {"revision": "base"}, {"message": "add x"}])
def test_a_database_newer_than_the_code_is_refused(seeded: str, scripts: Path, arguments: dict[str, str]) -> None:
    files = sorted(scripts.iterdir())
    with raw.session(seeded) as session:
        session.execute("UPDATE alembic_version SET version_num = 'fedcba987654'")
    refuses(seeded, "fedcba987654, written by newer code", **arguments)
    assert sorted(p for p in scripts.iterdir() if p.suffix) == files


@pytest.mark.parametrize("state", ["no table", "an empty table"])
def test_a_database_with_tables_that_no_revision_made_is_refused(seeded: str, state: str) -> None:
    with raw.session(seeded) as session:
        session.execute("DROP TABLE alembic_version" if state == "no table" else "DELETE FROM alembic_version")
    refuses(seeded, "no revision created")


def test_another_programs_database_is_refused(empty: str) -> None:
    with raw.session(empty) as session:
        session.execute("CREATE TABLE invoices (id INTEGER)")
    refuses(empty, "invoices")


@pytest.mark.parametrize("revision", ["nonsense", "fedcba987654", "+99", "-99", "head+1", "8f1c:2d7e", "'; DROP", ""])
def test_an_unknown_revision_is_refused(seeded: str, revision: str) -> None:
    refuses(seeded, f"found: +{re.escape(repr(revision))}", revision=revision)


@pytest.mark.parametrize("revision", ["5", "5a3", "5a3+1", "h", "7b1"])
def test_a_few_characters_are_no_revision(migrated: str, revision: str) -> None:
    before = raw.everything(migrated)
    refuses(migrated, f"found: +{re.escape(repr(revision))}", revision=revision)
    assert raw.everything(migrated) == before


def test_four_characters_are(migrated: str) -> None:
    assert pharmdb.migrate(migrated, revision=HARDENED[:4]).after == HARDENED


@pytest.mark.parametrize("revision", ["nonsense", "+99", "-1"])
def test_an_unknown_revision_is_refused_on_an_empty_database(databases: Any, dialect: str, revision: str) -> None:
    url = databases.empty(dialect)
    pharmdb.migrate(url, revision="base")
    refuses(url, f"found: +{re.escape(repr(revision))}", revision=revision)


@pytest.mark.parametrize("revision_", ["head", "heads"])
def test_two_newest_revisions_are_refused(seeded: str, scripts: Path, revision_: str) -> None:
    revision(scripts, "pass", name="ffff00000001")
    revision(scripts, "pass", name="ffff00000002")
    refuses(seeded, "ffff00000001, ffff00000002", revision=revision_)


# -- a new revision from the models ------------------------------------------------------------------


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> sa.MetaData:
    """A copy of the models that a test may change; pharmdb compares databases with it."""
    copy = sa.MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.sorted_tables:
        table.to_metadata(copy)
    monkeypatch.setitem(drift.COMPARISON, "target_metadata", copy)
    monkeypatch.setattr(drift, "Base", SimpleNamespace(metadata=copy))
    return copy


def add_note(models: sa.MetaData) -> None:
    models.tables["attempts"].append_column(sa.Column("note", sa.Text()))


def new_files(scripts: Path) -> list[str]:
    known = {path.name for path in (Path(pharmdb.__file__).parents[1] / "migrations" / "versions").iterdir()}
    return sorted({path.name for path in scripts.iterdir()} - known - {"__pycache__"})


def test_a_message_writes_one_revision_from_the_models_and_applies_it(
    seeded: str, scripts: Path, models: sa.MetaData
) -> None:
    before = rows(seeded)
    add_note(models)
    assert [d[:3] for d in differences(seeded)] == [("column", "attempts", "note")]
    report = pharmdb.migrate(seeded, message="Add a note to attempts")
    (name,) = new_files(scripts)
    assert re.fullmatch(r"20\d{6}_add_a_note_to_attempts\.py", name)
    assert report.written == f"migrations/versions/{name}"
    assert [step[2:] for step in report.steps] == [("up", "Add a note to attempts")]
    assert (report.before, report.differences) == (HEAD, ())
    assert differences(seeded) == []
    text = (scripts / name).read_text()
    assert "pharmdb" not in text, "a revision is frozen: it imports nothing of ours"
    pharmdb.migrate(seeded, revision="-1")
    assert rows(seeded) == before
    assert [d[:3] for d in differences(seeded)] == [("column", "attempts", "note")]
    assert pharmdb.migrate(seeded).differences == ()


def test_a_revision_with_the_types_of_the_models_works_on_both_databases(
    migrated: str, scripts: Path, models: sa.MetaData
) -> None:
    for column in ("last_attempt_at", "correct_count", "tag"):
        old = models.tables["progress_by_tag"].columns[column]
        models.tables["bookmarks"].append_column(sa.Column(f"new_{column}", old.type))
    for column in ("answers", "score"):
        models.tables["bookmarks"].append_column(sa.Column(column, models.tables["attempts"].columns[column].type))
    active = models.tables["dataset_overrides"].columns["is_active"]
    models.tables["bookmarks"].append_column(
        sa.Column("is_open", active.type, server_default=sa.text("false"), nullable=False)
    )
    models.tables["bookmarks"].append_column(sa.Column("seen_at", old.type, index=True))
    report = pharmdb.migrate(migrated, message="more columns")
    assert report.differences == ()
    pharmdb.migrate(migrated, revision="-1")
    assert len(differences(migrated)) == 8


def test_without_a_difference_no_revision_is_written(migrated: str, scripts: Path) -> None:
    report = pharmdb.migrate(migrated, message="nothing new")
    assert (report.written, report.steps, new_files(scripts)) == ("", (), [])


def test_a_second_revision_of_the_same_name_is_refused_and_the_first_stays(
    migrated: str, scripts: Path, models: sa.MetaData
) -> None:
    message = "add a column, with a message that is longer than forty letters"
    add_note(models)
    pharmdb.migrate(migrated, message=message)
    (name,) = new_files(scripts)
    text = (scripts / name).read_text()
    models.tables["attempts"].append_column(sa.Column("other", sa.Text()))
    with pytest.raises(ParameterError, match=re.escape(name)):
        pharmdb.migrate(migrated, message=message)
    assert (scripts / name).read_text() == text
    pharmdb.migrate(migrated, message=message + " 2")
    assert len(new_files(scripts)) == 2
    assert differences(migrated) == []


def test_a_revision_that_cannot_be_applied_is_not_left_behind(seeded: str, scripts: Path, models: sa.MetaData) -> None:
    before = raw.everything(seeded)
    models.tables["users"].append_column(sa.Column("nickname", sa.Text(), nullable=False))
    with pytest.raises(sa.exc.DBAPIError):
        pharmdb.migrate(seeded, message="add a nickname")
    assert raw.everything(seeded) == before
    assert new_files(scripts) == []


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    "message",
    [
        'say "hi"',
        "it's",
        '"""',
        "two\nlines",
        "line\n",
        "back\\slash",
        "${now}",
        "%(here)s",
        "<% import os %>",
        "../../etc/x",
        "x" * 81,
        " ",
        "...",
        "\0",
    ],
)
def test_a_message_that_is_no_plain_line_is_refused(
    migrated: str, scripts: Path, models: sa.MetaData, message: str
) -> None:
    add_note(models)
    before = raw.everything(migrated)
    with pytest.raises(ParameterError):
        pharmdb.migrate(migrated, message=message)
    assert raw.everything(migrated) == before
    assert new_files(scripts) == []


def test_a_message_together_with_a_revision_is_refused(migrated: str, scripts: Path) -> None:
    with pytest.raises(ParameterError):
        pharmdb.migrate(migrated, message="add x", revision=OLD)
    assert new_files(scripts) == []


def test_no_revision_is_written_from_a_production_database(
    migrated: str, scripts: Path, models: sa.MetaData, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_note(models)
    monkeypatch.setenv("PHARMDB_ENV", "production")
    with pytest.raises(ProtectedError):
        pharmdb.migrate(migrated, message="add x")
    assert new_files(scripts) == []
    assert pharmdb.migrate(migrated).after == HEAD


# -- the bare alembic command -----------------------------------------------------------------------


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=settings.SOURCE,
        env=os.environ | {"PHARMDB_URL": url, "PHARMDB_ENV": "test"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_bare_alembic_command_gives_the_same_schema_and_stamp(empty: str, migrated: str) -> None:
    done = alembic(empty, "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert schema(empty) == schema(migrated)
    with raw.session(empty) as session:
        assert session.execute("SELECT name FROM pharmdb_environment").fetchall() == [("test",)]
    assert alembic(empty, "current").stdout.strip() == f"{HEAD} (head)"


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_bare_alembic_command_refuses_another_programs_database_too(empty: str) -> None:
    with raw.session(empty) as session:
        session.execute("CREATE TABLE invoices (id INTEGER)")
    before = raw.everything(empty)
    done = alembic(empty, "upgrade", "head")
    assert done.returncode != 0
    assert "invoices" in done.stderr
    assert raw.everything(empty) == before


def test_a_message_never_drops_a_table_that_is_no_models(seeded: str, scripts: Path, models: sa.MetaData) -> None:
    with raw.session(seeded) as session:
        session.execute("CREATE TABLE notes (text VARCHAR(20))")
        session.execute("INSERT INTO notes VALUES ('keep me')")
    add_note(models)
    report = pharmdb.migrate(seeded, message="add note")
    assert [difference[:3] for difference in report.differences] == [("table", "notes", "notes")]
    with raw.session(seeded) as session:
        assert [tuple(row) for row in session.execute("SELECT text FROM notes")] == [("keep me",)]


def test_a_revision_that_drops_a_column_is_written_and_not_applied(
    old: str, scripts: Path, models: sa.MetaData
) -> None:
    pharmdb.migrate(old)
    with raw.session(old) as session:
        session.execute("ALTER TABLE bookmarks ADD COLUMN note VARCHAR(20)" if "postgresql" in old else NOTE)
    report = pharmdb.migrate(old, message="rename note")
    assert report.dropped == ("bookmarks.note",)
    assert len(new_files(scripts)) == 1
    assert report.after == HEAD
    with raw.session(old) as session:
        session.execute("SELECT note FROM bookmarks")


NOTE = "ALTER TABLE bookmarks ADD COLUMN note TEXT"


def test_a_revision_that_fails_after_it_was_written_leaves_no_file(
    migrated: str, scripts: Path, models: sa.MetaData, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = raw.everything(migrated)
    add_note(models)
    monkeypatch.setattr(environments, "stamp_environment", lambda connection: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pharmdb.migrate(migrated, message="add note")
    assert new_files(scripts) == []
    assert raw.everything(migrated) == before


@pytest.fixture
def both(databases: Any, dialect: str) -> list[str]:
    """The URLs of two databases with rows, one of each dialect; the first one is of `dialect`."""
    return [at(databases.migrated(each), HEAD) for each in sorted(DIALECTS, key=lambda name: name != dialect)]


@pytest.fixture
def tables(models: sa.MetaData) -> sa.MetaData:
    """Three more tables, with every type of column and every kind of check that the models have."""
    for name in ("attempts", "progress_by_tag", "dataset_overrides"):
        made = models.tables[name].to_metadata(models, name=f"new_{name}")
        items: list[Any] = [*made.indexes, *made.constraints]
        for item in items:
            item.name = str(item.name).replace(name, made.name, 1)
    return models


def test_a_revision_for_new_tables_applies_on_both_databases_in_both_directions(
    both: list[str], scripts: Path, tables: sa.MetaData
) -> None:
    assert pharmdb.migrate(both[0], message="three tables").differences == ()
    for url in both:
        before = rows(url)
        for step in ("head", "-1", "head"):
            pharmdb.migrate(url, revision=step)
        assert differences(url) == []
        assert rows(url) == before
        with raw.session(url) as session:
            for table, changes in BROKEN.items():
                for broken in changes:
                    with pytest.raises(raw.REFUSED):
                        session.execute(insert(table, **broken).replace(table, f"new_{table}", 1))
                session.execute(insert(table).replace(table, f"new_{table}", 1))


# Values that a new table refuses.
BROKEN: dict[str, list[dict[str, str]]] = {
    "attempts": [
        {"created_at": "'never'"},
        {"score": "101"},
        {"entity_type": "'drug'"},
        {"answers": "'{'"},
        {"answers": "NULL"},
        {"user_id": "4711"},
    ],
    "progress_by_tag": [{"correct_count": "-1"}, {"last_attempt_at": "'10000-01-01 00:00:00+00'"}],
    "dataset_overrides": [{"is_active": "2"}, {"json_text": "'{'"}, {"updated_at": "'infinity'"}],
}


def checked(models: sa.MetaData) -> None:
    """The models have a new column with checks, a new check for both databases and one for each, and lack one."""
    table, new = models.tables["bookmarks"], models.tables["attempts"]
    table.append_column(sa.Column("opened_at", new.columns["created_at"].type))
    table.append_column(sa.Column("notes", new.columns["feedback"].type))
    for check in list(new.constraints):
        if isinstance(check, sa.CheckConstraint) and check.name in ("ck_attempts_created_at", "ck_attempts_feedback"):
            old = str(check.name).removeprefix("ck_attempts_")
            column = {"created_at": "opened_at", "feedback": "notes"}[old]
            sql = str(check.sqltext).replace(old, column)
            table.append_constraint(sa.CheckConstraint(sql, name=column, info=check.info))
    table.append_constraint(sa.CheckConstraint("length(entity_id) > 0", name="entity_id"))
    score = next(each for each in new.constraints if each.name == "ck_attempts_score")
    new.constraints.discard(score)


def test_new_and_removed_checks_are_written_for_both_databases(
    both: list[str], scripts: Path, models: sa.MetaData
) -> None:
    checked(models)
    assert pharmdb.migrate(both[0], message="checks").differences == ()
    for url in both:
        pharmdb.migrate(url)
        pharmdb.migrate(url, revision="-1")
        with raw.session(url) as session:
            session.execute(insert("bookmarks", entity_id="''"))
            session.execute("DELETE FROM bookmarks WHERE entity_id = ''")
            if url == both[0]:
                with pytest.raises(raw.REFUSED):
                    session.execute(insert("attempts", score="101"))
        pharmdb.migrate(url)
        assert differences(url) == []
        with raw.session(url) as session:
            session.execute(insert("attempts", score="101"))
            for broken in ({"entity_id": "''"}, {"opened_at": "'never'"}, {"notes": "'{'"}):
                with pytest.raises(raw.REFUSED):
                    session.execute(insert("bookmarks", **broken))


def test_a_changed_check_is_no_silent_success(migrated: str, scripts: Path) -> None:
    table: Any = Bookmark.__table__
    check = sa.CheckConstraint("length(entity_id) > 0", name="entity_id")
    table.append_constraint(check)
    try:
        assert pharmdb.migrate(migrated, message="check entity").outcome["ok"].tolist() == [True]
        check.sqltext = sa.text("length(entity_id) > 1")
        report = pharmdb.migrate(migrated, message="check entity again")
    finally:
        table.constraints.discard(check)
    assert report.outcome["ok"].tolist() == [False]
    assert "1 differences must be written by hand" in report.changed


def test_production_never_goes_back_to_base(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    pharmdb.migrate(old)
    before = raw.everything(old)
    with pytest.raises(ProtectedError):
        pharmdb.migrate(old, revision="base")
    assert raw.everything(old) == before


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_documents_keep_every_digit_on_the_way_down_and_up(migrated: str) -> None:
    with raw.session(migrated) as session:
        raw.fill(session)
        for document in ("12345678901234567890", "0.1234567890123456789", "1e999"):
            session.execute(raw.insert("attempts", answers=f"'{document}'"))
    before = rows(migrated)
    pharmdb.migrate(migrated, revision="-2")
    pharmdb.migrate(migrated)
    assert rows(migrated) == before


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_an_infinite_score_is_set_aside(old: str) -> None:
    pharmdb.migrate(old, revision=REVISIONS[0])
    with raw.session(old) as session:
        session.execute(raw.insert("attempts", score="9e999"))
    report = pharmdb.migrate(old)
    assert [(table, count) for table, _, count in report.rejects] == [("attempts", 1)]


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_view_and_a_trigger_come_through_the_rebuild(migrated: str) -> None:
    with raw.session(migrated) as session:
        session.execute("CREATE VIEW addresses AS SELECT email FROM users")
        session.execute("CREATE TRIGGER t AFTER INSERT ON bookmarks BEGIN SELECT 1; END")
    before = schema(migrated)
    pharmdb.migrate(migrated, revision="-2")
    pharmdb.migrate(migrated)
    assert schema(migrated) == before


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_column_that_no_revision_knows_is_never_dropped_silently(migrated: str) -> None:
    with raw.session(migrated) as session:
        session.execute(NOTE)
    before = raw.everything(migrated)
    with pytest.raises(RevisionError, match="note"):
        pharmdb.migrate(migrated, revision="-2")
    assert raw.everything(migrated) == before


def test_an_installed_package_writes_no_revision(
    migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(settings.SOURCE / "migrations", tmp_path / "migrations", ignore=ignored)
    monkeypatch.setattr(settings, "SOURCE", tmp_path)
    with pytest.raises(ParameterError) as caught:
        pharmdb.migrate(migrated, message="add x")
    assert str(tmp_path) in caught.value.found
    assert pharmdb.migrate(migrated).steps == ()
