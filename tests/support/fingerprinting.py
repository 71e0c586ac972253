"""Fingerprints row by row and in batches, which must be the same, and rows for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

import pharmdb
from pharmdb.database import bulk
from pharmdb.schema import fingerprint_batches
from pharmdb.schema.fingerprint_batches import Block

# Nothing forbids an id below 0.
FIRST = -1
NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


@contextmanager
def batches(rows: int) -> Iterator[None]:
    """Every table with rows is read in batches of so many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint_batches, "BATCH", rows)
        patch.setattr(fingerprint_batches, "FEW", 0)
        yield


def prints(connection: Connection, users: Any = None) -> list[str]:
    """The fingerprints of all and of the seed, which must be the same row by row and in batches of two sizes."""
    found = set()

    def note() -> None:
        found.add(tuple(pharmdb.fingerprint(connection, seed=seed, users=users) for seed in (False, True)))

    # None of the tables has so many rows that batches would be used.
    note()
    for rows in (10**4, 2):
        with batches(rows):
            note()
    assert len(found) == 1
    return list(found.pop())


def attempts(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Adds attempts: user, entity_id, answers, score, feedback, seconds after noon."""
    columns = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
    ready = [
        (FIRST + user, "case", entity, answers, score, feedback, time(seconds))
        for user, entity, answers, score, feedback, seconds in rows
    ]
    bulk.insert(connection, "attempts", columns, ready)


def time(seconds: int) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


@pytest.fixture
def row_by_row(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables of which some rows were read row by row after all."""
    found: list[str] = []
    read: Callable[..., None] = fingerprint_batches.read

    def watched(connection: Connection, model: Any, *rest: Any) -> None:
        *others, one_by_one, add = rest

        def noting(condition: Any) -> Iterator[Block]:
            found.append(model.__tablename__)
            blocks: Iterator[Block] = one_by_one(condition)
            return blocks

        read(connection, model, *others, noting, add)

    monkeypatch.setattr(fingerprint_batches, "read", watched)
    return found
