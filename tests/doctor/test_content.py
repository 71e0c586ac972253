"""The doctor on password hashes: the application verifies bcrypt, and nothing else."""

from __future__ import annotations

from pathlib import Path

import bcrypt
import pytest
from passlib.hash import argon2
from support import legacy, raw
from support.databases import Databases

import pharmdb
from pharmdb.doctor import content
from pharmdb.doctor.context import Context
from pharmdb.doctor.results import OK, WARN, Finding

DEMO, ADMIN, PASSWORD = "demo@pharmtrainer.test", "admin@pharmtrainer.test", "Password123!"
ARGON2 = argon2.using(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)


def hashes(url: str) -> Finding:
    (found,) = [each for each in pharmdb.check(url).findings if each.check == "password hashes"]
    return found


def store(url: str, password_hash: str, where: str = "true") -> None:
    raw.run(url, f"UPDATE users SET password_hash = '{password_hash}' WHERE {where}")


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_nothing_is_said_of_a_bcrypt_hash(seeded: str, prefix: str) -> None:
    made = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    store(seeded, made.replace("$2b$", prefix), f"email = '{DEMO}'")
    assert hashes(seeded) == Finding("password hashes", OK, "all bcrypt")


def test_an_account_that_is_barred_is_no_fault(seeded: str) -> None:
    store(seeded, "!")
    assert hashes(seeded).state == OK


def test_who_can_not_log_in_is_counted_and_the_seed_is_no_remedy(seeded: str) -> None:
    store(seeded, ARGON2)
    found = hashes(seeded)
    command = f"pharmdb account --user-email {ADMIN} --action set-password"
    assert (found.state, found.remedy.partition(" --database-url")[0]) == (WARN, command)
    assert found.found == "2 accounts can't log in to the application: 2 argon2"
    assert "pharmdb account --database-url " in found.note
    pharmdb.seed(seeded)
    assert raw.ask(seeded, f"SELECT password_hash FROM users WHERE email = '{DEMO}'") == [(ARGON2,)]


def test_both_kinds_are_told_apart(seeded: str) -> None:
    store(seeded, ARGON2, f"email = '{DEMO}'")
    store(seeded, "$2x$10$other", f"email <> '{DEMO}'")
    assert hashes(seeded).found == "2 accounts can't log in to the application: 1 argon2, 1 of an unknown form"
    assert hashes(seeded).remedy.partition(" --")[0].endswith("pharmdb seed")


def test_an_old_database_is_not_told_to_seed_over_its_own_accounts(databases: Databases, tmp_path: Path) -> None:
    url = databases.empty("sqlite")
    assert pharmdb.upgrade(str(legacy.sample(tmp_path)), url).outcome["ok"].all()
    (seed,) = [each for each in pharmdb.check(url).findings if each.check == "seed"]
    assert (seed.state, seed.remedy) == (OK, "")
    raw.run(url, "DELETE FROM pharmdb_upgrades")
    (seed,) = [each for each in pharmdb.check(url).findings if each.check == "seed"]
    assert seed.state == WARN


def test_both_shapes_of_json_in_a_column_are_a_note(seeded: str) -> None:
    def shapes() -> Finding:
        target = pharmdb.target(seeded)
        with pharmdb.reading(target) as connection:
            (found,) = content.check_json_shapes(Context(connection, target, "test", whole=True))
        return found

    def add(answers: str, feedback: str) -> None:
        raw.run(seeded, raw.insert("attempts", user_id="1", answers=f"'{answers}'", feedback=feedback))

    assert (shapes().state, shapes().found) == (OK, "one in each column")
    add('"{}"', "NULL")
    add(' "{}"', "'\"[]\"'")
    assert shapes().found == "one in each column"
    add("[1]", "NULL")
    assert (shapes().state, shapes().remedy) == (OK, "")
    assert "attempts.answers has 1 plain values and 2 JSON strings" in shapes().found
    assert "feedback" not in shapes().found
