"""The seed: creates what is missing, renews what the guide says, and leaves everything else physically alone."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.synchronize
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib.hash import argon2
from sqlalchemy import Engine, delete, event, insert, select, update
from support import raw
from support.databases import DIALECTS, Databases
from support.processes import warm
from support.seeds import (
    KNOWN_GOOD,
    PROGRESS_HEADER,
    USER_PROGRESS,
    USERS,
    USERS_HEADER,
    _rows,
    counts,
    folder,
    progress,
    user,
    users,
)

import pharmdb
from pharmdb import csv_marks
from pharmdb import progress as progress_bars
from pharmdb.database import targets, transactions, upserts
from pharmdb.errors import ProtectedError, RevisionError, SeedError, UnavailableError
from pharmdb.models import MODELS, ProgressByTag, User, UserSettings
from pharmdb.seeding import passwords, seeding
from pharmdb.types import milliseconds

DEMO, ADMIN = "demo@pharmtrainer.test", "admin@pharmtrainer.test"
PASSWORDS = {DEMO: "Password123!", ADMIN: "AdminPassword123!"}
ROLES = {DEMO: "USER", ADMIN: "ADMIN"}
PROGRESS = [
    ("calculations", "pharmacokinetics", "dosing"),
    ("cases", "pulmonary", "asthma"),
    ("questions", "cardiology", "arrhythmias"),
    ("questions", "cardiology", "hypertension"),
]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def change(url: str, *statements: Any) -> None:
    with transactions.writing(targets.target(url)) as connection:
        for statement in statements:
            connection.execute(statement)


def look(url: str, statement: Any) -> list[tuple[Any, ...]]:
    with transactions.reading(targets.target(url)) as connection:
        return [tuple(row) for row in connection.execute(statement)]


# -- what it makes ------------------------------------------------------------------------------------


def test_the_guides_users_with_their_passwords_settings_and_progress(migrated: str) -> None:
    before = datetime.now(UTC)
    report = pharmdb.seed(migrated)
    after = datetime.now(UTC)
    found = users(migrated)
    assert {email: user.role for email, user in found.items()} == ROLES
    for email, account in found.items():
        assert account.password_hash.startswith("$2b$10$")
        assert passwords.verify_password(PASSWORDS[email], account.password_hash)
        others = [password for other, password in PASSWORDS.items() if other != email]
        assert not passwords.verify_password(others[0], account.password_hash)
    owners = select(User.email, UserSettings.language).join(UserSettings, UserSettings.user_id == User.id)
    assert sorted(look(migrated, owners)) == [(ADMIN, "en"), (DEMO, "en")]
    rows = progress(migrated)
    assert [(row.module, row.course_block, row.tag) for row in rows] == PROGRESS
    for row in rows:
        assert row.user_id == found[DEMO].id
        assert (row.correct_count, row.wrong_count) == (0, 0)
        assert before <= row.last_attempt_at <= after
    assert counts(report) == {"users": (2, 0, 0), "user_settings": (2, 0, 0), "progress_by_tag": (4, 0, 0)}
    assert report.fingerprint == KNOWN_GOOD
    assert report.outcome["ok"].tolist() == [True]
    assert report.outcome["changed"].tolist() == ["8 rows created, 0 updated"]
    for model in MODELS[2:4] + MODELS[5:]:
        assert _rows(migrated, model) == []


def test_a_second_run_renews_last_attempt_at_and_nothing_else(migrated: str) -> None:
    pharmdb.seed(migrated)
    before = {model: _rows(migrated, model) for model in MODELS}
    report = pharmdb.seed(migrated)
    after = {model: _rows(migrated, model) for model in MODELS}
    assert counts(report) == {"users": (0, 0, 2), "user_settings": (0, 0, 2), "progress_by_tag": (0, 4, 0)}
    assert report.fingerprint == KNOWN_GOOD
    for model in MODELS:
        if model is ProgressByTag:
            was = [row._asdict() | {"last_attempt_at": None} for row in before[model]]
            assert [row._asdict() | {"last_attempt_at": None} for row in after[model]] == was
        else:
            assert after[model] == before[model]
    times = {row.id: row.last_attempt_at for row in before[ProgressByTag]}
    for row in after[ProgressByTag]:
        assert row.last_attempt_at > times[row.id]


def test_a_second_run_writes_no_row_that_need_not_change(migrated: str) -> None:
    pharmdb.seed(migrated)
    with raw.session(migrated) as session:
        if migrated.startswith("sqlite"):
            for table in ("users", "user_settings"):
                for verb in ("INSERT", "UPDATE", "DELETE"):
                    session.execute(
                        f"CREATE TRIGGER no_{verb}_{table} AFTER {verb} ON {table} "
                        f"BEGIN SELECT raise(ABORT, '{verb} of {table}'); END"
                    )
            pharmdb.seed(migrated)
        else:
            versions = "SELECT 'users', id, xmin::text, ctid::text FROM users UNION ALL " + (
                "SELECT 'user_settings', id, xmin::text, ctid::text FROM user_settings ORDER BY 1, 2"
            )
            before = session.execute(versions).fetchall()
            pharmdb.seed(migrated)
            assert session.execute(versions).fetchall() == before


def test_one_upsert_statement_for_each_table(migrated: str) -> None:
    for _ in range(2):
        with statements() as seen:
            pharmdb.seed(migrated)
        reading = ("SELECT", "WITH", "BEGIN", "PRAGMA", "LOCK")
        writes = [sql for sql in seen if not sql.lstrip().upper().startswith(reading)]
        assert [sql.split()[2] for sql in writes] == ["users", "user_settings", "progress_by_tag"]
        assert all(sql.startswith("INSERT INTO") and "ON CONFLICT" in sql for sql in writes)


@contextmanager
def statements() -> Iterator[list[str]]:
    """What any engine executes inside."""
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_the_operations_name_each_row_and_are_logged(migrated: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pharmdb"):
        report = pharmdb.seed(migrated)
    rows = report.operations
    assert rows.columns.tolist() == ["table", "key", "action", "detail"]
    assert rows["table"].value_counts().to_dict() == {"users": 2, "user_settings": 2, "progress_by_tag": 4}
    assert rows["action"].unique().tolist() == ["created"]
    assert f"{DEMO} cases/pulmonary/asthma" in rows["key"].tolist()
    logged = [record.getMessage() for record in caplog.records if record.name == "pharmdb.seeding.seeding"]
    assert len(logged) == len(rows)
    for table, key, action, _ in rows.itertuples(index=False):
        assert any(line.startswith(f"{table}: {action} {key}") for line in logged)
    secrets = [*PASSWORDS.values(), *(user.password_hash for user in users(migrated).values())]
    assert not any(secret in line for secret in secrets for line in logged)


# -- what it preserves --------------------------------------------------------------------------------


@pytest.mark.parametrize(("demo", "admin"), [("ADMIN", "USER"), ("USER", "USER"), ("ADMIN", "ADMIN")])
def test_roles_of_existing_users_are_preserved(seeded: str, demo: str, admin: str) -> None:
    change(
        seeded,
        update(User).where(User.email == DEMO).values(role=demo),
        update(User).where(User.email == ADMIN).values(role=admin),
    )
    pharmdb.seed(seeded)
    assert {email: user.role for email, user in users(seeded).items()} == {DEMO: demo, ADMIN: admin}


def test_what_a_learner_has_earned_is_kept(seeded: str) -> None:
    change(seeded, update(ProgressByTag).values(correct_count=41, wrong_count=7, last_attempt_at=LONG_AGO))
    report = pharmdb.seed(seeded)
    assert counts(report)["progress_by_tag"] == (0, 4, 0)
    for row in progress(seeded):
        assert (row.correct_count, row.wrong_count) == (41, 7)
        assert row.last_attempt_at > LONG_AGO


def test_rows_that_are_no_seed_rows_are_left_alone(migrated: str) -> None:
    with raw.session(migrated) as session:
        raw.fill(session)
        before = raw.content(session)
        pharmdb.seed(migrated)
        after = raw.content(session)
    for table, rows in before.items():
        assert set(map(repr, rows)) <= set(map(repr, after[table]))
    with transactions.reading(targets.target(migrated)) as connection:
        assert pharmdb.fingerprint(connection, seed=True) != KNOWN_GOOD


def test_missing_settings_are_added_and_existing_ones_kept(seeded: str) -> None:
    ids = {email: user.id for email, user in users(seeded).items()}
    change(
        seeded,
        delete(UserSettings).where(UserSettings.user_id == ids[ADMIN]),
        update(UserSettings).values(language="cs", updated_at=LONG_AGO),
    )
    report = pharmdb.seed(seeded)
    assert counts(report)["user_settings"] == (1, 0, 1)
    found = {row.user_id: row for row in _rows(seeded, UserSettings)}
    assert (found[ids[DEMO]].language, found[ids[DEMO]].updated_at) == ("cs", LONG_AGO)
    assert found[ids[ADMIN]].language == "en"


def test_missing_progress_is_added(seeded: str) -> None:
    change(seeded, delete(ProgressByTag).where(ProgressByTag.module == "questions"))
    assert counts(pharmdb.seed(seeded))["progress_by_tag"] == (2, 2, 0)
    assert len(progress(seeded)) == 4


def test_a_deleted_user_comes_back_with_everything(seeded: str) -> None:
    change(seeded, delete(User).where(User.email == DEMO))
    report = pharmdb.seed(seeded)
    assert counts(report) == {"users": (1, 0, 1), "user_settings": (1, 0, 1), "progress_by_tag": (4, 0, 0)}
    assert report.fingerprint == KNOWN_GOOD


# -- passwords ----------------------------------------------------------------------------------------


def old_bcrypt(password: str, cost: int = 10) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost, prefix=b"2a")).decode()


def store_hash(url: str, password_hash: str) -> None:
    change(url, update(User).where(User.email == DEMO).values(password_hash=password_hash))


def detail(report: seeding.SeedReport) -> tuple[str, str]:
    """The action on the demo user, and why."""
    rows = report.operations
    found = rows[(rows["table"] == "users") & (rows["key"] == DEMO)]
    return found["action"].item(), found["detail"].item()


@pytest.mark.parametrize(
    "hasher",
    [
        pytest.param(argon2.using(time_cost=1, memory_cost=64, parallelism=1), id="weaker argon2id"),
        pytest.param(argon2.using(time_cost=3, memory_cost=4096, parallelism=2, salt_size=32), id="other argon2id"),
        pytest.param(argon2.using(type="I", time_cost=1, memory_cost=64, parallelism=1), id="argon2i"),
    ],
)
def test_an_argon2_hash_that_verifies_is_left_alone(seeded: str, hasher: Any) -> None:
    stored = hasher.hash(PASSWORDS[DEMO])
    store_hash(seeded, stored)
    report = pharmdb.seed(seeded)
    assert users(seeded)[DEMO].password_hash == stored
    assert counts(report)["users"] == (0, 0, 2)
    assert detail(report) == ("unchanged", "")


@pytest.mark.parametrize("prefix", ["$2a$10$", "$2b$10$", "$2y$10$"])
def test_a_bcrypt_hash_of_the_applications_own_seed_is_left_alone(seeded: str, prefix: str) -> None:
    stored = old_bcrypt(PASSWORDS[DEMO]).replace("$2a$10$", prefix)
    assert stored.startswith(prefix)
    store_hash(seeded, stored)
    report = pharmdb.seed(seeded)
    assert users(seeded)[DEMO].password_hash == stored
    assert counts(report)["users"] == (0, 0, 2)
    assert detail(report) == ("unchanged", "")


def test_the_application_verifies_what_is_seeded(seeded: str) -> None:
    for email, account in users(seeded).items():
        # Its own seed then changes nothing: bcryptjs compares in the same way.
        assert bcrypt.checkpw(PASSWORDS[email].encode(), account.password_hash.encode())


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(argon2.using(time_cost=1, memory_cost=64, parallelism=1).hash("another"), id="argon2"),
        pytest.param(old_bcrypt("another", 4), id="bcrypt"),
        pytest.param("", id="empty"),
        pytest.param("garbage", id="garbage"),
        pytest.param("$argon2id$v=19$m=1,t=1", id="cut off"),
        pytest.param("$2a$10$tooshort", id="bcrypt cut off"),
        pytest.param(PASSWORDS[DEMO], id="the password itself"),
    ],
)
def test_a_hash_that_does_not_verify_is_set_back_and_the_report_says_so(seeded: str, stored: str) -> None:
    store_hash(seeded, stored)
    report = pharmdb.seed(seeded)
    assert passwords.verify_password(PASSWORDS[DEMO], users(seeded)[DEMO].password_hash)
    assert counts(report)["users"] == (0, 1, 1)
    assert detail(report) == ("updated", "password reset to the documented one")
    assert report.fingerprint == KNOWN_GOOD


# -- other seed files ---------------------------------------------------------------------------------


def test_a_new_line_in_a_file_is_a_new_row_without_code(seeded: str, tmp_path: Path) -> None:
    for name in ("users.csv", "progress.csv"):
        (tmp_path / name).write_bytes((seeding.SEED_DIRECTORY / name).read_bytes())
    with (tmp_path / "users.csv").open("a") as file:
        file.write("new@example.org,Secret-of-mine-1,ADMIN,cs\n")
    with (tmp_path / "progress.csv").open("a") as file:
        file.write("new@example.org,cases,renal,diuretics,3,4\n")
    report = pharmdb.seed(seeded, seed_dir=str(tmp_path))
    assert counts(report) == {"users": (1, 0, 2), "user_settings": (1, 0, 2), "progress_by_tag": (1, 4, 0)}
    new = users(seeded)["new@example.org"]
    assert new.role == "ADMIN"
    assert passwords.verify_password("Secret-of-mine-1", new.password_hash)
    assert [row.language for row in _rows(seeded, UserSettings) if row.user_id == new.id] == ["cs"]
    (row,) = [row for row in progress(seeded) if row.user_id == new.id]
    assert (row.module, row.course_block, row.tag, row.correct_count, row.wrong_count) == (
        *("cases", "renal", "diuretics"),
        *(3, 4),
    )


def test_three_thousand_progress_rows(migrated: str, tmp_path: Path) -> None:
    lines = "".join(f"own@example.org,questions,block {n % 7},tag {n},{n},0\n" for n in range(3000))
    seed_dir = folder(tmp_path, progress_csv=f"{PROGRESS_HEADER}\n{lines}")
    assert counts(pharmdb.seed(migrated, seed_dir=seed_dir))["progress_by_tag"] == (3000, 0, 0)
    assert counts(pharmdb.seed(migrated, seed_dir=seed_dir))["progress_by_tag"] == (0, 3000, 0)
    rows = progress(migrated)
    assert len(rows) == 3000
    assert all(row.tag == f"tag {row.correct_count}" for row in rows)


@pytest.mark.parametrize(
    ("users_csv", "progress_csv"),
    [
        pytest.param(USERS, f"{PROGRESS_HEADER}\n", id="header only"),
        pytest.param("\ufeff" + USERS, "\ufeff" + USER_PROGRESS, id="byte order mark"),
        pytest.param(USERS.replace("\n", "\r\n"), USER_PROGRESS.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(USERS.rstrip(), USER_PROGRESS.rstrip(), id="no line end"),
        pytest.param(USERS.replace("\n", "\n\n"), USER_PROGRESS + "\n\n", id="empty lines"),
        pytest.param(
            "role,language,password,email\nUSER,en,Secret-of-mine-1,own@example.org\n",
            USER_PROGRESS,
            id="columns in another order",
        ),
        pytest.param(
            USERS.replace("Secret-of-mine-1", '"a ""quoted"", secret"'), USER_PROGRESS, id="quotes and commas"
        ),
        pytest.param(USERS, USER_PROGRESS.replace("diuretics", "β-blockers 🩺"), id="a tag beyond ASCII"),
    ],
)
def test_files_without_a_fault(migrated: str, tmp_path: Path, users_csv: str, progress_csv: str) -> None:
    pharmdb.seed(migrated, seed_dir=folder(tmp_path, users_csv, progress_csv))
    assert list(users(migrated)) == ["own@example.org"]
    assert len(progress(migrated)) == progress_csv.count("own@")


def test_files_without_a_row(migrated: str, tmp_path: Path) -> None:
    report = pharmdb.seed(migrated, seed_dir=folder(tmp_path, USERS_HEADER, PROGRESS_HEADER))
    assert counts(report) == {"users": (0, 0, 0), "user_settings": (0, 0, 0), "progress_by_tag": (0, 0, 0)}


def test_a_relative_seed_dir_starts_at_the_projects_root(
    migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pharmdb.seed(migrated, seed_dir="data/seed").fingerprint == KNOWN_GOOD


def learned(**values: str) -> str:
    row = {"user_email": "own@example.org", "module": "questions", "course_block": "renal", "tag": "diuretics"}
    row |= {"correct_count": "0", "wrong_count": "0"} | values
    return f"{PROGRESS_HEADER}\n{','.join(row.values())}\n"


Problems = list[tuple[str, int, str, str, str]]
NOT_EMAIL = "not an e-mail address"
NOT_LANGUAGE = "not two to five letters"
MALFORMED = ("", "own", "own@", "@example.org", "a@b@c", "a b@example.org", " own@example.org", "kůň@example.org")
U, P = "users.csv", "progress.csv"
FAULTS: dict[str, tuple[str | bytes | None, str | bytes | None, Problems]] = {
    "unknown column": (
        "email,password,role,language,age\nown@example.org,Secret-of-mine-1,USER,en,7\n",
        USER_PROGRESS,
        [(U, 1, "age", "age", "unknown column")],
    ),
    "column in another case": (
        USERS.replace("role", "Role"),
        USER_PROGRESS,
        [(U, 1, "Role", "Role", "unknown column"), (U, 1, "role", "role", "missing column")],
    ),
    "missing column": (USERS.replace(",role", ""), USER_PROGRESS, [(U, 1, "role", "role", "missing column")]),
    "column given twice": (
        USERS.replace("role,language", "role,role,language"),
        USER_PROGRESS,
        [(U, 1, "role", "role", "duplicate column")],
    ),
    "no header": (
        "own@example.org,Secret-of-mine-1,USER,en\n",
        USER_PROGRESS,
        [(U, 1, "", "", f"no header line: {USERS_HEADER}")],
    ),
    "unknown role": (user(role="ROOT"), USER_PROGRESS, [(U, 2, "role", "ROOT", "not a role: USER or ADMIN")]),
    "role in lower case": (user(role="user"), USER_PROGRESS, [(U, 2, "role", "user", "not a role: USER or ADMIN")]),
    "empty role": (user(role=""), USER_PROGRESS, [(U, 2, "role", "", "not a role: USER or ADMIN")]),
    "no password": (user(password=""), USER_PROGRESS, [(U, 2, "password", "***", "empty")]),
    "password with white space": (
        user(password=" Secret-of-mine-1"),
        USER_PROGRESS,
        [(U, 2, "password", "***", "leading or trailing white space")],
    ),
    "password too long": (
        user(password="é" * 2049),
        USER_PROGRESS,
        [(U, 2, "password", "***", "longer than 72 bytes")],
    ),
    **{
        f"language {value!r}": (user(language=value), USER_PROGRESS, [(U, 2, "language", value, NOT_LANGUAGE)])
        for value in ("", "e", "english", "en-GB", "č1")
    },
    "the same user twice": (
        USERS + "other@example.org,Secret-of-mine-1,USER,en\n" + "own@example.org,Secret-of-mine-2,ADMIN,cs\n",
        USER_PROGRESS,
        [(U, 4, "email", "own@example.org", "duplicate key, first in line 2")],
    ),
    "the same progress twice": (
        USERS,
        USER_PROGRESS + "own@example.org,questions,renal,diuretics,5,5\n",
        [(P, 3, "tag", "own@example.org, questions, renal, diuretics", "duplicate key, first in line 2")],
    ),
    "negative count": (USERS, learned(correct_count="-1"), [(P, 2, "correct_count", "-1", "negative")]),
    "count one too large": (
        USERS,
        learned(wrong_count="2147483648"),
        [(P, 2, "wrong_count", "2147483648", "above 2147483647")],
    ),
    "count of five thousand digits": (
        USERS,
        learned(wrong_count="9" * 5000),
        [(P, 2, "wrong_count", "9" * 5000, "above 2147483647")],
    ),
    **{
        f"count {value!r}": (
            USERS,
            learned(correct_count=value),
            [(P, 2, "correct_count", value, "not a whole number")],
        )
        for value in ("", "many", "1.0", "1e3", " 1", "+1", "0x1", "1_000", "٣", "--1")
    },
    "progress of an unknown user": (
        USERS,
        learned(user_email="nobody@example.org"),
        [(P, 2, "user_email", "nobody@example.org", "no such user in users.csv")],
    ),
    "white space around": (
        USERS,
        learned(tag="diuretics "),
        [(P, 2, "tag", "diuretics ", "leading or trailing white space")],
    ),
    "white space only": (USERS, learned(module="\t"), [(P, 2, "module", "\t", "empty")]),
    "empty text": (USERS, learned(course_block=""), [(P, 2, "course_block", "", "empty")]),
    "NUL": (USERS, learned(tag="a\0b"), [(P, 2, "tag", "a\0b", "contains a NUL character")]),
    "NUL in a password": (
        user(password="a\0b"),
        USER_PROGRESS,
        [(U, 2, "password", "***", "contains a NUL character")],
    ),
    "empty file": ("", USER_PROGRESS, [(U, 1, "", "", "the file is empty")]),
    "empty progress": (USERS, "", [(P, 1, "", "", "the file is empty")]),
    "byte order mark only": (USERS, "\ufeff", [(P, 1, "", "", "the file is empty")]),
    "Latin-1": (
        USERS,
        learned(tag="b\xeata").encode("latin-1"),
        [(P, 2, "", repr(b"\xea"), "not UTF-8")],
    ),
    "UTF-16": (USERS.encode("utf-16"), USER_PROGRESS, [(U, 1, "", repr(b"\xff"), "not UTF-8")]),
    "missing file": (USERS, None, [(P, 0, "", "{directory}/progress.csv", "no such file")]),
    "too many cells": (
        USERS + "more@example.org,Secret-of-mine-1,USER,en,\n",
        USER_PROGRESS,
        [(U, 3, "", "***", "5 values for 4 columns")],
    ),
    "too few cells": (
        USERS,
        USER_PROGRESS + "own@example.org,cases,renal,diuretics,0\n",
        [(P, 3, "", "own@example.org,cases,renal,diuretics,0", "5 values for 6 columns")],
    ),
    "a line of white space": (USERS, USER_PROGRESS + "  \n", [(P, 3, "", "  ", "1 values for 6 columns")]),
    "quote that never ends": (
        USERS,
        USER_PROGRESS + 'own@example.org,"cases,renal,diuretics,0,0\n',
        [(P, 3, "", "", "not CSV: unexpected end of data")],
    ),
    "text after a quote": (
        USERS,
        USER_PROGRESS + 'own@example.org,"cases"x,renal,diuretics,0,0\n',
        [(P, 3, "", "", "not CSV: ',' expected after '\"'")],
    ),
    "line numbers after a quoted line end": (
        USERS,
        f'{PROGRESS_HEADER}\nown@example.org,"two\nlines",renal,diuretics,0,0\n\nown@example.org,x,renal,diuretics,-1,0\n',
        [(P, 2, "module", "two\nlines", "contains a line break"), (P, 5, "correct_count", "-1", "negative")],
    ),
    "line number of a row of two lines": (
        USERS,
        f'{PROGRESS_HEADER}\nown@example.org,"two\nlines",renal,diuretics,0,-5\n',
        [(P, 2, "module", "two\nlines", "contains a line break"), (P, 2, "wrong_count", "-5", "negative")],
    ),
    **{
        f"separated by {called}": (
            USERS.replace(",", separator),
            USER_PROGRESS.replace(",", separator),
            [(file, 1, "", "", f"separated by {called}: separate the values by commas") for file in (P, U)],
        )
        for separator, called in csv_marks.SEPARATORS.items()
    },
    **{
        f"a line {line!r}": (
            f"{line}\n{USERS}",
            USER_PROGRESS,
            [(U, 1, "", "", "a line that sets the separator: delete it, and separate the values by commas")],
        )
        for line in ("sep=;", "SEP=,", "\ufeffsep=\t")
    },
    "empty rows at the end": (
        USERS + ",,,\n" * 1000,
        USER_PROGRESS + ",, ,,,\n",
        [(P, 3, "", "", "1 empty row: delete it"), (U, 3, "", "", "1000 empty rows: delete them")],
    ),
    "empty rows in between": (
        USERS,
        f"{PROGRESS_HEADER}\n,,,,,\n,,,,,\nown@example.org,questions,renal,diuretics,-1,0\n",
        [(P, 2, "", "", "2 empty rows: delete them"), (P, 4, "correct_count", "-1", "negative")],
    ),
    "empty columns": (
        USERS.replace("\n", ",,\n"),
        USER_PROGRESS,
        [(U, 1, "", "", "2 empty column(s) at the end: delete them")],
    ),
    "a column with a mark in its name": (
        USERS.replace("role", "ro\u200ble"),
        USER_PROGRESS,
        [(U, 1, "", "", "column 'ro\\u200ble': contains U+200B ZERO WIDTH SPACE")],
    ),
    **{
        f"{name} in a key": (USERS, learned(tag=f"a{value}b"), [(P, 2, "tag", f"a{value}b", reason)])
        for name, value, reason in (
            ("a no-break space", "\u00a0", "contains U+00A0 NO-BREAK SPACE"),
            ("a zero-width space", "\u200b", "contains U+200B ZERO WIDTH SPACE"),
            ("a byte order mark", "\ufeff", "contains U+FEFF ZERO WIDTH NO-BREAK SPACE"),
            ("a soft hyphen", "\u00ad", "contains U+00AD SOFT HYPHEN"),
            ("a line separator", "\u2028", "contains U+2028 LINE SEPARATOR"),
            ("a tabulator", "\t", "contains U+0009 CONTROL CHARACTER"),
            ("an accent of its own", "e\u0301", "not in composed form (NFC), from U+0065 LATIN SMALL LETTER E on"),
        )
    },
    **{
        f"a mark in {column}": (
            user(**{column: f"{value}\u200b"}),
            f"{PROGRESS_HEADER}\n",
            [(U, 2, column, f"{shown or value}\u200b"[: 3 if shown else None], "contains U+200B ZERO WIDTH SPACE")],
        )
        for column, value, shown in (
            ("email", "own@example.org", ""),
            ("password", "Secret-of-mine-1", "***"),
            ("role", "USER", ""),
            ("language", "en", ""),
        )
    },
    "a no-break space in a count": (
        USERS,
        learned(correct_count="1\u00a0000"),
        [(P, 2, "correct_count", "1\u00a0000", "contains U+00A0 NO-BREAK SPACE")],
    ),
    **{
        f"e-mail {email!r}": (user(email=email), f"{PROGRESS_HEADER}\n", [(U, 2, "email", email, NOT_EMAIL)])
        for email in MALFORMED
    },
    "e-mail in upper case": (
        user(email="Own@example.org"),
        f"{PROGRESS_HEADER}\n",
        [(U, 2, "email", "Own@example.org", "not lower case")],
    ),
    "e-mail of progress in upper case": (
        USERS,
        learned(user_email="OWN@example.org"),
        [(P, 2, "user_email", "OWN@example.org", "not lower case")],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_by_file_line_column_value_and_reason(name: str, tmp_path: Path) -> None:
    users_csv, progress_csv, problems = FAULTS[name]
    directory = folder(tmp_path, users_csv, progress_csv)
    with pytest.raises(SeedError) as caught:
        seeding.read(directory)
    expected = [
        (file, line, column, value.format(directory=directory), why) for file, line, column, value, why in problems
    ]
    assert caught.value.problems == expected
    assert "Secret-of-mine" not in str(caught.value)
    for file, line, *_, reason in expected:
        assert f"{file}:{line}: " in str(caught.value)
        assert reason in str(caught.value)


def test_an_unknown_file_in_the_folder(tmp_path: Path) -> None:
    directory = folder(tmp_path)
    (tmp_path / "drugs.csv").write_text("name\n")
    (tmp_path / "notes.txt").write_text("not a seed file, and no matter")
    with pytest.raises(SeedError) as caught:
        seeding.read(directory)
    assert caught.value.problems == [("drugs.csv", 0, "", "drugs.csv", "not a seed file: users.csv, progress.csv")]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SeedError) as caught:
        seeding.read(tmp_path / "nowhere")
    assert [problem[4] for problem in caught.value.problems] == ["no such file", "no such file"]


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    directory = folder(tmp_path, None)
    (tmp_path / "users.csv").mkdir()
    with pytest.raises(SeedError) as caught:
        seeding.read(directory)
    assert [(p[0], p[1]) for p in caught.value.problems] == [("users.csv", 0)]


def test_all_faults_are_told_at_once_and_nothing_is_written(seeded: str, tmp_path: Path) -> None:
    directory = folder(
        tmp_path,
        f"{USERS_HEADER}\n"
        "own@example.org,Secret-of-mine-1,USER,en\n"
        "Other@example.org,,ROOT,e\n"
        "own@example.org,Secret-of-mine-1,USER,en\n"
        "third@example.org,Secret-of-mine-1,USER\n",
        f"{PROGRESS_HEADER}\n"
        "nobody@example.org,cases,,diuretics,-1,x\n"
        "own@example.org,cases,renal,diuretics,0,0\n"
        "own@example.org,cases,renal,diuretics,99999999999,0\n",
    )
    (tmp_path / "extra.csv").touch()
    before = raw.everything(seeded)
    with pytest.raises(SeedError) as caught:
        pharmdb.seed(seeded, seed_dir=directory)
    assert [problem[:4] for problem in caught.value.problems] == [
        ("extra.csv", 0, "", "extra.csv"),
        (P, 2, "course_block", ""),
        (P, 2, "correct_count", "-1"),
        (P, 2, "wrong_count", "x"),
        (P, 2, "user_email", "nobody@example.org"),
        (P, 4, "correct_count", "99999999999"),
        (P, 4, "tag", "own@example.org, cases, renal, diuretics"),
        (U, 3, "email", "Other@example.org"),
        (U, 3, "password", "***"),
        (U, 3, "role", "ROOT"),
        (U, 3, "language", "e"),
        (U, 4, "email", "own@example.org"),
        (U, 5, "", "***"),
    ]
    assert "13 problem(s)" in str(caught.value)
    assert "nothing was written" in str(caught.value)
    assert "Secret-of-mine" not in str(caught.value)
    assert raw.everything(seeded) == before


def test_a_message_stays_readable_with_a_thousand_faults(tmp_path: Path) -> None:
    directory = folder(tmp_path, progress_csv=PROGRESS_HEADER + "\nx" * 1000)
    with pytest.raises(SeedError) as caught:
        seeding.read(directory)
    assert len(caught.value.problems) == 1000
    assert "and 800 more" in str(caught.value)


# -- where it refuses ---------------------------------------------------------------------------------


def declare_production(url: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "PHARMDB_ENV":
        monkeypatch.setenv("PHARMDB_ENV", "production")
    else:
        with raw.session(url) as session:
            session.execute("UPDATE pharmdb_environment SET name = 'production'")


production = pytest.mark.parametrize("how", ["PHARMDB_ENV", "the database itself"])


@production
@pytest.mark.parametrize("state", ["migrated", "seeded"])
def test_the_default_accounts_never_reach_production(
    databases: Databases, dialect: str, state: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = getattr(databases, state)(dialect)
    declare_production(url, how, monkeypatch)
    before = raw.everything(url)
    with pytest.raises(ProtectedError, match="no default account"):
        pharmdb.seed(url)
    assert raw.everything(url) == before


@production
def test_accounts_of_ones_own_may_be_seeded_in_production(
    migrated: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_production(migrated, how, monkeypatch)
    report = pharmdb.seed(migrated, seed_dir=folder(tmp_path))
    assert counts(report)["users"] == (1, 0, 0)
    assert list(users(migrated)) == ["own@example.org"]


@production
@pytest.mark.parametrize(
    "users_csv",
    [
        user(password="Password123!"),
        user(password="AdminPassword123!"),
        user(email=ADMIN),
        USERS + f"{DEMO},Secret-of-mine-1,USER,en\n",
    ],
    ids=["the demo password", "the admin password", "the admin account", "the demo account among others"],
)
def test_no_documented_account_or_password_in_production_under_any_name(
    migrated: str, how: str, users_csv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare_production(migrated, how, monkeypatch)
    before = raw.everything(migrated)
    with pytest.raises(ProtectedError) as caught:
        pharmdb.seed(migrated, seed_dir=folder(tmp_path, users_csv, f"{PROGRESS_HEADER}\n"))
    assert "Password123" not in str(caught.value)
    assert raw.everything(migrated) == before


@pytest.mark.parametrize("revision", ["base", "+1", "+2"])
def test_a_schema_that_is_not_at_head_is_refused(empty: str, revision: str) -> None:
    if revision != "base":
        pharmdb.migrate(empty, revision=revision)
    elif empty.startswith("sqlite"):
        raw.path(empty).touch()
    before = raw.everything(empty)
    with pytest.raises(RevisionError) as caught:
        pharmdb.seed(empty)
    assert caught.value.command.startswith("pharmdb migrate")
    assert raw.everything(empty) == before


def test_a_missing_file_is_refused_and_not_made(databases: Databases) -> None:
    url = databases.empty("sqlite")
    with pytest.raises(UnavailableError, match="no file"):
        pharmdb.seed(url)
    assert list(raw.path(url).parent.glob(raw.path(url).name + "*")) == []


def test_a_missing_database_on_a_server_is_refused(databases: Databases) -> None:
    url = databases.empty("postgresql").replace("/test_", "/no_test_")
    with pytest.raises(UnavailableError, match="does not exist"):
        pharmdb.seed(url)


def test_a_failure_in_the_middle_leaves_nothing(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kw: Any) -> str:
        raise RuntimeError("after the last upsert")

    before = raw.everything(migrated)
    monkeypatch.setattr(seeding, "fingerprint", fail)
    with pytest.raises(RuntimeError, match="after the last upsert"):
        pharmdb.seed(migrated)
    assert raw.everything(migrated) == before


def test_a_hash_that_changes_under_the_seed_is_looked_at_again(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the hashes, which is outside the lock, and the upsert."""
    hash_passwords = seeding.hash_passwords
    calls: list[list[str]] = []

    def meddle(seed: seeding.Seed, stored: Any) -> Any:
        decided = hash_passwords(seed, stored)
        calls.append([row["email"] for row in seed.users])
        if len(calls) == 1:
            store_hash(seeded, "garbage")
        return decided

    monkeypatch.setattr(seeding, "hash_passwords", meddle)
    pharmdb.seed(seeded)
    assert [sorted(emails) for emails in calls] == [[ADMIN, DEMO], [DEMO]]
    assert passwords.verify_password(PASSWORDS[DEMO], users(seeded)[DEMO].password_hash)


def test_only_what_is_new_is_hashed_on_all_cores_with_a_bar(
    seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    # Passed only by two threads at once.
    together = threading.Barrier(2)

    def hash_password(password: str) -> str:
        hashed.append(password)
        together.wait(60)
        return stored(password)

    stored = passwords.hash_password
    bars: dict[str, int | None] = {}
    counted = progress_bars.counted

    def count(items: Any, what: str, total: int | None = None, unit: str = "") -> Any:
        bars[what] = total
        return counted(items, what, total, unit)

    monkeypatch.setattr(passwords, "hash_password", hash_password)
    monkeypatch.setattr(progress_bars, "counted", count)
    users_csv = (seeding.SEED_DIRECTORY / "users.csv").read_text(encoding="utf-8")
    new = "".join(f"new{n}@example.org,Secret-of-mine-{n},USER,en\n" for n in range(2))
    report = pharmdb.seed(seeded, seed_dir=folder(tmp_path, users_csv + new, f"{PROGRESS_HEADER}\n"))
    assert counts(report)["users"] == (2, 0, 2)
    assert sorted(hashed) == ["Secret-of-mine-0", "Secret-of-mine-1"]
    assert bars["hash passwords"] == 4


@pytest.mark.real_hashing
def test_an_interruption_waits_for_no_further_hash_and_leaves_nothing(
    migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    others_write = threading.Event()

    def hash_password(password: str) -> str:
        hashed.append(password)
        assert others_write.wait(60)
        return stored(password)

    def count(items: Any, what: str, total: int | None = None, unit: str = "") -> Any:
        if what != "hash passwords":
            yield from items
            return
        # While passwords are hashed, nobody else waits for a lock.
        with transactions.writing(targets.target(migrated)) as connection:
            connection.execute(insert(User).values(email="other@example.org", password_hash="!"))
        others_write.set()
        yield next(iter(items))
        raise KeyboardInterrupt

    stored = passwords.hash_password
    monkeypatch.setattr(passwords, "hash_password", hash_password)
    monkeypatch.setattr(progress_bars, "counted", count)
    many = "".join(f"new{n}@example.org,Secret-of-mine-1,USER,en\n" for n in range(500))
    users_csv = f"email,password,role,language\n{many}"
    with pytest.raises(KeyboardInterrupt):
        pharmdb.seed(migrated, seed_dir=folder(tmp_path, users_csv, f"{PROGRESS_HEADER}\n"))
    assert len(hashed) < 100
    assert [*users(migrated)] == ["other@example.org"]


# -- several at once ----------------------------------------------------------------------------------


def _seed_when_all_are_there(
    urls: list[str], barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue[Any]
) -> None:
    for url in urls:
        barrier.wait(60)
        try:
            report = pharmdb.seed(url)
            results.put((url, report.fingerprint, counts(report)))
        except Exception as error:
            results.put((url, repr(error), {}))
            raise


def test_several_seeds_at_once(databases: Databases) -> None:
    """Four processes, on an empty and on a full database of each kind."""
    was_empty = [databases.migrated(dialect) for dialect in DIALECTS]
    urls = was_empty + [databases.seeded(dialect) for dialect in DIALECTS]
    context = warm()
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_seed_when_all_are_there, args=(urls, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    reports = [results.get(timeout=60) for _ in urls for _ in processes]
    assert [fingerprint for _, fingerprint, _ in reports] == [KNOWN_GOOD] * 16
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    for url in urls:
        # One made the rows, and none of the others wrote them again.
        done = [found for where, _, found in reports if where == url]
        made = 2 if url in was_empty else 0
        assert sum(found["users"][0] for found in done) == made
        assert sum(found["user_settings"][0] for found in done) == made
        assert sum(found["users"][1] for found in done) == 0
        found = users(url)
        assert {email: user.role for email, user in found.items()} == ROLES
        assert [(row.module, row.course_block, row.tag) for row in progress(url)] == PROGRESS
        for email, account in found.items():
            assert passwords.verify_password(PASSWORDS[email], account.password_hash)


# -- any state ----------------------------------------------------------------------------------------

HASHES: dict[str, Callable[[str], str]] = {
    "current": passwords.hash_password,
    "weak argon2id": argon2.using(time_cost=1, memory_cost=64, parallelism=1).hash,
    "bcrypt": lambda password: old_bcrypt(password, 4),
    "another password": lambda password: old_bcrypt(password + "x", 4),
    "garbage": lambda password: password[::-1],
    "empty": lambda password: "",
}
_ANY_TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
TIMES = _ANY_TIMES.map(milliseconds)
USER_STATES = st.fixed_dictionaries(
    {
        "hash": st.sampled_from(sorted(HASHES)),
        "role": st.sampled_from(["USER", "ADMIN"]),
        "created_at": TIMES,
        "settings": st.none() | st.tuples(st.sampled_from(["en", "cs", "de"]), TIMES, TIMES),
    }
)
COUNTS = st.integers(0, 2**31 - 1)
PROGRESS_STATES = st.dictionaries(st.sampled_from(PROGRESS), st.tuples(COUNTS, COUNTS, TIMES))
DAY = timedelta(days=1)


@pytest.fixture(scope="module", params=DIALECTS)
def one_database(request: pytest.FixtureRequest, databases: Databases) -> str:
    return databases.migrated(request.param)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(demo=st.none() | USER_STATES, admin=st.none() | USER_STATES, earned=PROGRESS_STATES, bystander=st.booleans())
def test_any_rows_in_any_state_give_the_same_result(
    one_database: str,
    demo: dict[str, Any] | None,
    admin: dict[str, Any] | None,
    earned: dict[tuple[str, str, str], tuple[int, int, datetime]],
    bystander: bool,
) -> None:
    url = one_database
    states = {email: state for email, state in ((DEMO, demo), (ADMIN, admin)) if state is not None}
    if demo is None:
        earned = {}
    hashes = {email: HASHES[state["hash"]](PASSWORDS[email]) for email, state in states.items()}
    with transactions.writing(targets.target(url)) as connection:
        connection.execute(delete(User))
        if bystander:
            values = {"email": "by@example.org", "password_hash": "h", "role": "USER", "created_at": LONG_AGO}
            connection.execute(insert(User).values(values))
        for email, state in states.items():
            values = {"email": email, "password_hash": hashes[email]} | {k: state[k] for k in ("role", "created_at")}
            connection.execute(insert(User).values(values))
            user_id = connection.scalar(select(User.id).where(User.email == email))
            if state["settings"]:
                language, created_at, updated_at = state["settings"]
                values = {"language": language, "created_at": created_at, "updated_at": updated_at}
                connection.execute(insert(UserSettings).values(user_id=user_id, **values))
            if email == DEMO:
                for (module, course_block, tag), (correct, wrong, time) in earned.items():
                    values = {"module": module, "course_block": course_block, "tag": tag, "last_attempt_at": time}
                    values |= {"correct_count": correct, "wrong_count": wrong, "user_id": user_id}
                    connection.execute(insert(ProgressByTag).values(values))

    report = pharmdb.seed(url)

    found = users(url)
    assert set(found) == {DEMO, ADMIN} | ({"by@example.org"} if bystander else set())
    languages = {row.user_id: row for row in _rows(url, UserSettings)}
    for email in (DEMO, ADMIN):
        assert passwords.verify_password(PASSWORDS[email], found[email].password_hash)
        before = states.get(email)
        assert found[email].role == (before["role"] if before else ROLES[email])
        if before:
            assert found[email].created_at == before["created_at"]
            if before["hash"] in ("current", "weak argon2id", "bcrypt"):
                assert found[email].password_hash == hashes[email]
        kept = before["settings"] if before else None
        row = languages[found[email].id]
        assert row.language == (kept[0] if kept else "en")
        if kept:
            assert (row.created_at, row.updated_at) == kept[1:]
    rows = progress(url)
    assert [(row.module, row.course_block, row.tag) for row in rows] == PROGRESS
    for row in rows:
        correct, wrong, _ = earned.get((row.module, row.course_block, row.tag), (0, 0, None))
        assert (row.correct_count, row.wrong_count) == (correct, wrong)
        assert abs(datetime.now(UTC) - row.last_attempt_at) < DAY
    assert counts(report)["users"][0] == 2 - len(states)
    assert counts(report)["progress_by_tag"] == (4 - len(earned), len(earned), 0)

    again = pharmdb.seed(url)
    assert counts(again) == {"users": (0, 0, 2), "user_settings": (0, 0, 2), "progress_by_tag": (0, 4, 0)}
    assert again.fingerprint == report.fingerprint
    assert users(url) == found
    assert {row.user_id: row for row in _rows(url, UserSettings)} == languages


@pytest.mark.parametrize("few", [0, upserts.FEW])
def test_a_rule_that_is_not_ours_is_told_and_nothing_is_written(
    migrated: str, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(upserts, "FEW", few)
    with raw.session(migrated) as session:
        if migrated.startswith("sqlite"):
            session.execute(
                "CREATE TRIGGER own BEFORE INSERT ON progress_by_tag BEGIN SELECT RAISE(ABORT, 'not today'); END"
            )
        else:
            session.execute("ALTER TABLE progress_by_tag ADD CONSTRAINT own CHECK (tag <> 'asthma')")
    before = raw.everything(migrated)
    with pytest.raises(RevisionError, match=r"not today|own") as error:
        pharmdb.seed(migrated)
    assert error.value.command.startswith("pharmdb doctor")
    assert raw.everything(migrated) == before


@pytest.mark.parametrize("few", [0, upserts.FEW])
def test_a_rule_in_postgresqls_sense_is_told(databases: Databases, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(upserts, "FEW", few)
    for verb in ("INSERT", "UPDATE"):
        url = databases.seeded("postgresql")
        raw.run(url, f"CREATE RULE own AS ON {verb} TO progress_by_tag DO INSTEAD NOTHING")
        before = raw.everything(url)
        with pytest.raises(RevisionError, match="progress_by_tag") as error:
            pharmdb.seed(url)
        # In the larger way the server itself says nothing.
        assert error.value.command.startswith("pharmdb doctor") or "dropped by one of" in error.value.found
        assert raw.everything(url) == before


def test_a_missing_users_progress_is_missing_whoever_has_the_same(seeded: str) -> None:
    raw.run(
        seeded,
        raw.insert("users", id="-1"),
        "UPDATE progress_by_tag SET user_id = -1",
        "DELETE FROM users WHERE id > 0",
    )
    seed = seeding.read()
    with transactions.reading(targets.target(seeded)) as connection:
        assert len(seeding.missing(connection, seed)) == len(seed.users) + len(list(seed.progress))
