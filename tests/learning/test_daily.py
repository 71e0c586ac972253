"""Progress for each tag and day: what a plain count of the same attempts gives, on both databases."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import insert, select

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.learning import catalogue, frames
from pharmdb.models import Attempt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TWO_TAGS = next(entity for entity in catalogue.read().entities if len(entity.tags) > 1)


def attempt(entity_type: str, entity_id: str, score: float, at: datetime, user_id: int = 1) -> dict[str, object]:
    row = {"user_id": user_id, "entity_type": entity_type, "entity_id": entity_id}
    return row | {"answers": {}, "score": score, "created_at": at}


def fill(url: str, rows: list[dict[str, object]]) -> None:
    with transactions.writing(targets.target(url)) as connection:
        connection.execute(insert(Attempt), rows)


def daily(url: str, **options: object) -> pd.DataFrame:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.daily_progress(connection, **options)  # type: ignore[arg-type]


def test_it_is_the_plain_count_of_a_cohort(migrated: str) -> None:
    pharmdb.cohort(migrated, learners=12, days=20)
    contents = catalogue.read()
    known = {(entity.kind, entity.id): entity for entity in contents.entities}
    expected: Counter[tuple[object, ...]] = Counter()
    with pharmdb.reading(pharmdb.target(migrated)) as connection:
        attempts = list(connection.execute(select(Attempt)).mappings())
        progress = frames.progress_frame(connection)
    for row in attempts:
        entity = known[row["entity_type"], row["entity_id"]]
        for tag in entity.tags:
            key = (row["created_at"].date(), contents.modules[entity.kind], entity.block, tag)
            expected[(*key, row["score"] >= 50)] += 1
    found = daily(migrated)
    counted: Counter[tuple[object, ...]] = Counter()
    for day, module, block, tag, correct, wrong in found.itertuples(index=False):
        counted[day.date(), module, block, tag, True] += correct
        counted[day.date(), module, block, tag, False] += wrong
    assert +counted == expected
    # Over all days it is what the progress rows of these learners say.
    assert (found["correct_count"].sum(), found["wrong_count"].sum()) == (
        progress["correct_count"].sum(),
        progress["wrong_count"].sum(),
    )
    keys = list(found[["day", "module", "course_block", "tag"]].itertuples(index=False, name=None))
    assert keys == sorted(set(keys))


def test_an_attempt_counts_for_each_tag_on_its_day_in_utc(seeded: str) -> None:
    midnight = NOON.replace(hour=0)
    fill(
        seeded,
        [
            attempt(TWO_TAGS.kind, TWO_TAGS.id, 50, midnight - timedelta(milliseconds=1)),
            attempt(TWO_TAGS.kind, TWO_TAGS.id, 49.999, midnight),
            attempt(TWO_TAGS.kind, TWO_TAGS.id, 100, NOON, user_id=2),
        ],
    )
    found = daily(seeded)
    assert set(found["tag"]) == set(TWO_TAGS.tags)
    for _, rows in found.groupby("tag"):
        assert [str(day.date()) for day in rows["day"]] == ["2026-02-28", "2026-03-01"]
        assert rows["correct_count"].tolist() == [1, 1]
        assert rows["wrong_count"].tolist() == [0, 1]
    of_one = daily(seeded, user_id=2, since=NOON)
    assert of_one["correct_count"].tolist() == [1] * len(TWO_TAGS.tags)
    with pytest.raises(ValueError, match="zone"):
        daily(seeded, since=datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_entity_that_the_catalogue_does_not_know_stands_without_a_tag(seeded: str) -> None:
    fill(seeded, [attempt("case", "a  case of\nits own", 80, NOON), attempt("question", "", 10, NOON)])
    found = daily(seeded)
    assert found[["module", "course_block", "tag"]].isna().all(axis=None)
    assert found[["correct_count", "wrong_count"]].to_numpy().tolist() == [[1, 1]]


def test_the_dtypes_hold_with_rows_and_without(seeded: str) -> None:
    expected = {"day": "datetime64[s]", **dict.fromkeys(("module", "course_block", "tag"), "str")}
    expected |= dict.fromkeys(("correct_count", "wrong_count"), "Int64")
    assert {name: str(dtype) for name, dtype in daily(seeded).dtypes.items()} == expected
    fill(seeded, [attempt(TWO_TAGS.kind, TWO_TAGS.id, 100, NOON)])
    assert {name: str(dtype) for name, dtype in daily(seeded).dtypes.items()} == expected
