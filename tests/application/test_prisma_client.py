"""The trainer's own code writes into pharmdb's databases, and pharmdb works on what it wrote."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select
from support import legacy
from support.databases import Databases, dsn
from support.postgres import Server
from support.trainer import Trainer

import pharmdb
from pharmdb.models import DatasetOverride, User

Trainers = Callable[..., Trainer]
EMAIL = "o'neil+test" * 5 + "@" + "sub." * 40 + "example.test"
NOW = datetime(2026, 3, 29, 2, 0, 0, 1000, tzinfo=UTC)


def progress(module: str, tag: str, correct: int, wrong: int, time: str) -> dict[str, Any]:
    counts = {"correctCount": correct, "wrongCount": wrong, "lastAttemptAt": f"2026-03-29T{time}Z"}
    return {"module": module, "courseBlock": "block-3", "tag": tag} | counts


A_DAY = {
    "email": EMAIL,
    "settings": "cs",
    "fresh": True,
    "role": "USER",
    "loggedIn": True,
    "refused": None,
    "duplicate": "P2002",
    "language": "en",
    "promoted": "ADMIN",
    "users": 1,
    "progress": [
        progress("Question Bank", "alpha", 1, 1, "02:00:00.000"),
        progress("Question Bank", "beta", 1, 0, "01:59:59.999"),
        progress("caseReasoning", "alpha", 1, 0, "02:00:00.001"),
    ],
    "range": ["q2"],
    "ordered": ["c1", "q2", "q1"],
    "wrongType": "rule",
    "wrongScore": "rule",
    "stored": [
        "string",
        {"text": "β-blocker"},
        {"rubric": "3/4", "strengths": ["dose"], "gaps": [], "next": "žluť \U0001f48a"},
    ],
    "path": [["k1", {"steps": {"value": 5}, "unit": "mg"}, None]],
    "text": ["k1"],
    "due": ["q1"],
    "notDue": [],
    "items": 2,
    "refusedDraft": "rule",
    "active": ["Summer", EMAIL],
    "draft": '\ufeff{"blocks": [',
    "edited": True,
    "left": [0, 0, 0, 0, 0, 0],
    "newId": True,
    "session": None,
    "foreign": "P2003",
}


@pytest.mark.parametrize("version", [6, 7])
def test_a_day_of_the_trainer_and_the_work_of_pharmdb_after_it(
    empty: str, dialect: str, version: int, trainers: Trainers
) -> None:
    pharmdb.migrate(empty)
    trainer = trainers(dialect, version)
    seen = trainer.run("scenario", empty)
    user_id = seen.pop("userId")
    assert seen == A_DAY

    report = pharmdb.inspect(empty, user_email=EMAIL)
    assert report.progress["correct"].to_list() == [1, 1, 1]
    assert report.overrides["name"].to_list() == ["Summer"]
    attempts, overrides = content(empty)
    assert [time.isoformat(timespec="milliseconds") for time in attempts["created_at"]] == [
        "2026-03-29T01:59:59.999+00:00",
        "2026-03-29T02:00:00.000+00:00",
        "2026-03-29T02:00:00.001+00:00",
        "2026-03-29T03:00:00.000+00:00",
    ]
    assert sorted(overrides) == ["Draft", "Spring", "Summer"]
    assert overrides["Draft"] == A_DAY["draft"]

    before = fingerprint(empty)
    taken = pharmdb.backup(empty).backup
    assert taken is not None
    assert trainer.run("times", empty, [user_id, "2026-04-01T00:00:00.000Z"])["found"] == ["now"]
    assert fingerprint(empty) != before
    pharmdb.restore(empty, backup=taken.name)
    assert fingerprint(empty) == before
    assert trainer.run("log_in", empty, [[EMAIL, "Correct horse 8"]]) == [{"id": user_id, "role": "ADMIN"}]
    # The users of the seed were never there; nothing else is to be told.
    assert [finding.check for finding in pharmdb.check(empty).findings if finding.state != "ok"] == ["seed"]


def fingerprint(url: str) -> str:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.fingerprint(connection)


def content(url: str) -> tuple[Any, dict[str, str]]:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        texts = connection.execute(select(DatasetOverride.name, DatasetOverride.json_text))
        return pharmdb.attempts_frame(connection), {row.name: row.json_text for row in texts}


def test_what_pharmdb_records_is_read_by_the_trainer(seeded: str, dialect: str, trainers: Trainers) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    with pharmdb.writing(pharmdb.target(seeded)) as connection:
        user_id = connection.execute(select(User.id).where(User.email == "demo@pharmtrainer.test")).scalar_one()
        pharmdb.record_attempt(connection, user_id, "question", "q7", answers={"selected": "b"}, score=100.0, at=east)
    read = trainers(dialect).run("times", seeded, [user_id, "2026-03-29T02:00:00.001Z"])
    # Both are found by the same time, whoever wrote it, and in whichever zone.
    assert read["found"] == ["now", "q7"]
    assert read["attempts"] == [
        ["q7", "2026-03-29T02:00:00.001Z", {"selected": "b"}],
        ["now", "2026-03-29T02:00:00.001Z", "{}"],
    ]


def test_the_users_of_the_seed_log_in(seeded: str, dialect: str, trainers: Trainers) -> None:
    pairs = [["Demo@PharmTrainer.test", "Password123!"], ["admin@pharmtrainer.test", "AdminPassword123!"]]
    sessions = trainers(dialect).run("log_in", seeded, [*pairs, ["demo@pharmtrainer.test", "password123!"]])
    assert [session and session["role"] for session in sessions] == ["USER", "ADMIN", None]


def test_a_password_that_pharmdb_sets_is_the_one_to_log_in_with(
    seeded: str, dialect: str, trainers: Trainers, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, longest = "demo@pharmtrainer.test", "ž" * 35 + "8!"
    monkeypatch.setenv("PHARMDB_NEW_PASSWORD", longest)
    pharmdb.manage_account(seeded, user_email=email, action="set-password")
    pharmdb.manage_account(seeded, user_email=email, action="promote")
    pairs = [[email, longest], [email, "Password123!"], [email, longest[:-1]]]
    assert trainers(dialect).run("log_in", seeded, pairs) == [{"id": 1, "role": "ADMIN"}, None, None]


def test_after_an_upgrade_everybody_logs_in_as_before(
    migrated: str, dialect: str, trainers: Trainers, tmp_path: Path
) -> None:
    old = legacy.sample(tmp_path)
    pharmdb.upgrade(str(old), migrated)
    sessions = trainers(dialect).run("log_in", migrated, [["Ann@Example.test", "Password123!"], ["x@y.test", "x"]])
    assert sessions == [{"id": 4, "role": "USER"}, None]


def test_times_are_right_in_a_database_of_another_zone(
    databases: Databases, server: Server, trainers: Trainers
) -> None:
    url = databases.seeded("postgresql")
    trainer = trainers("postgresql")
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET timezone TO 'Asia/Tokyo'")
    trainer.run("times", url, [1, "2026-03-29T02:00:00.001Z"])
    assert content(url)[0]["created_at"].to_list() == [NOW]

    # Without the option of pharmdb's lib/prisma.ts they would be nine hours early, as the doctor says,
    plain = trainer.without('options: "-c TimeZone=UTC",')
    plain.run("times", url, [2, "2026-03-29T02:00:00.001Z"])
    assert content(url)[0]["created_at"].to_list() == [NOW, NOW - timedelta(hours=9)]
    (warning,) = [finding for finding in pharmdb.check(url).findings if finding.check == "time zone"]
    assert (warning.state, warning.found) == ("warn", "database: Asia/Tokyo")

    # and right again after what the doctor advises.
    psql = os.environ | {"PATH": f"{server.binaries}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", warning.remedy], env=psql, check=True, capture_output=True)
    plain.run("times", url, [2, "2026-03-29T02:00:00.001Z"])
    assert content(url)[0]["created_at"].to_list() == [NOW, NOW - timedelta(hours=9), NOW]
