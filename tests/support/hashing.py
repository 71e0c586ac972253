"""Hashing is slow on purpose, and not what most tests are about: for them each password is hashed and verified once."""

from __future__ import annotations

from functools import cache

import pytest

from pharmdb.seeding import passwords

hash_once = cache(passwords.hash_password)
_verify_once = cache(passwords.verify_password)


@pytest.fixture(autouse=True)
def _hashed_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.node.get_closest_marker("real_hashing"):
        monkeypatch.setattr(passwords, "hash_password", hash_once)
        monkeypatch.setattr(passwords, "verify_password", _verify_once)
