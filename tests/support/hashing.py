"""Hashing is slow on purpose, and not what most tests are about: for them each password is hashed once."""

from __future__ import annotations

from functools import cache

import pytest

from pharmdb.seeding import passwords

hash_once = cache(passwords.hash_password)


@pytest.fixture
def hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hash_password", hash_once)
