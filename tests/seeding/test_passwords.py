"""Hashes: bcrypt for new ones, argon2id ones verify, and no hash at all makes a check raise."""

from __future__ import annotations

import re
from functools import cache

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib.hash import argon2

from pharmdb.seeding import passwords

# In the form of the old system: prefix 2a, cost 10.
OLD_HASH = "$2a$10$nxSwXylqQ0137.bA7XuZZersLkihgHOOowZ2Te9AFbOUr02.upIyy"

pytestmark = pytest.mark.real_hashing


def bcrypt_hash(password: str) -> str:
    """As the old system made it: what is beyond 72 bytes is dropped."""
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix=b"2a")).decode()


@cache
def argon2id_hash(password: str) -> str:
    hashed: str = argon2.using(time_cost=1, memory_cost=64, parallelism=1).hash(password)
    return hashed


@pytest.mark.parametrize("password", ["Password123!", " ", "žluťoučký kůň 🐎", "漢字", "x" * 71, "a\nb", "\x7f"])
def test_a_hash_verifies_its_password_and_no_other(password: str) -> None:
    hashed = passwords.hash_password(password)
    assert passwords.verify_password(password, hashed)
    assert not passwords.verify_password(password + "x", hashed)
    assert not passwords.verify_password(password[1:], hashed)


def test_the_same_letters_composed_otherwise_are_another_password() -> None:
    assert not passwords.verify_password("e\u0301", passwords.hash_password("\u00e9"))


def test_new_hashes_are_bcrypt_as_the_application_makes_them() -> None:
    assert re.fullmatch(r"\$2b\$10\$[A-Za-z0-9./]{53}", passwords.hash_password("Password123!"))


@pytest.mark.parametrize("password", ["a" * 72, "é" * 36, "🐎" * 18])
def test_72_bytes_are_hashed_and_every_one_counts(password: str) -> None:
    hashed = passwords.hash_password(password)
    assert bcrypt.checkpw(password.encode(), hashed.encode())
    assert not passwords.verify_password(password[:-1], hashed)


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("a" * 73, "longer than 72 bytes"),
        ("é" * 37, "longer than 72 bytes"),
        ("a\0b", "contains a NUL character"),
        ("a\ud800", "not valid Unicode"),
    ],
)
def test_what_bcrypt_would_truncate_or_refuse_is_told(password: str, reason: str) -> None:
    assert passwords.unfit(password) == reason
    with pytest.raises(ValueError, match=reason):
        passwords.hash_password(password)
    assert not passwords.verify_password(password, OLD_HASH)


def test_every_hash_has_a_salt_of_its_own() -> None:
    assert passwords.hash_password("Password123!") != passwords.hash_password("Password123!")


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
@pytest.mark.parametrize("password", ["Password123!", "žluťoučký kůň"])
def test_bcrypt_hashes_of_the_old_system_verify(prefix: str, password: str) -> None:
    hashed = bcrypt_hash(password).replace("$2a$", f"${prefix}$")
    assert hashed.startswith(f"${prefix}$")
    assert passwords.scheme(hashed) == "bcrypt"
    assert passwords.verify_password(password, hashed)
    assert not passwords.verify_password(password.lower() + "?", hashed)


@pytest.mark.parametrize("password", ["a" * 73, "é" * 50, "a" + "é" * 50, "🐎" * 30])
def test_bcrypt_looks_at_the_first_72_bytes(password: str) -> None:
    hashed = bcrypt_hash(password)
    assert passwords.verify_password(password, hashed)
    assert passwords.verify_password(password + "and more", hashed)
    assert not passwords.verify_password(password[:10], hashed)


def test_argon2id_looks_at_all_bytes() -> None:
    assert not passwords.verify_password("a" * 100 + "c", argon2id_hash("a" * 100 + "b"))


@pytest.mark.parametrize(
    ("password_hash", "scheme"),
    [
        ("", "unknown"),
        ("Password123!", "unknown"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "unknown"),
        ("$1$salt$hash", "unknown"),
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "argon2"),
        ("$2b$04$" + "a" * 53, "bcrypt"),
    ],
)
def test_the_scheme_of_a_hash(password_hash: str, scheme: str) -> None:
    assert passwords.scheme(password_hash) == scheme


@pytest.mark.parametrize(
    "password_hash",
    [
        "",
        "$",
        "x",
        "\0",
        "ž",
        "Password123!",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$$",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$",
        "$argon2id$v=19$m=0,t=0,p=0$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=19$m=many,t=2,p=1$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=99$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        "$argon2id$v=19$m=99999999999999999999,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=19$m=64,t=1,p=1$not base64!$aGFzaA",
        "$2a$",
        "$2a$10$",
        "$2a$10$tooshort",
        "$2a$99$" + "." * 53,
        "$2a$04$" + "!" * 53,
        "$2z$04$" + "a" * 53,
    ],
)
def test_a_malformed_hash_verifies_nothing_and_raises_nothing(password_hash: str) -> None:
    assert passwords.verify_password("Password123!", password_hash) is False
    assert passwords.verify_password("", password_hash) is False
    assert isinstance(passwords.scheme(password_hash), str)


@pytest.mark.filterwarnings("ignore::passlib.exc.PasslibHashWarning")
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_a_damaged_hash_raises_nothing(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([argon2id_hash("Password123!"), OLD_HASH]))
    # Not the parameters: damage there may ask for hours or for terabytes.
    start = data.draw(st.integers(whole.rindex("$") - 15, len(whole) - 1))
    removed = data.draw(st.integers(0, 9))
    inserted = data.draw(st.text("$,=./ab19ž \0", max_size=9))
    damaged = whole[:start] + inserted + whole[start + removed :]
    assert passwords.verify_password("Password123?", damaged) is False


def test_a_stored_hash_of_the_old_system_verifies() -> None:
    assert passwords.verify_password("Password123!", OLD_HASH)
    assert not passwords.verify_password("password123!", OLD_HASH)
