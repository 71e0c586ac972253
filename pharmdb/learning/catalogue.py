"""What learners practise: modules, course blocks, tags and entities, from data/catalogue/*.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from pharmdb import settings


@dataclass(frozen=True)
class Entity:
    """One question, case or calculation. Only a calculation has `answer` and `unit`; for others they are ""."""

    id: str
    kind: str
    block: str
    tags: tuple[str, ...]
    title: str
    answer: str
    unit: str


@dataclass(frozen=True, eq=False)
class Catalogue:
    """`modules`: entity type -> module. `blocks`: in course order. `tags`: tag -> block."""

    modules: dict[str, str]
    blocks: tuple[str, ...]
    tags: dict[str, str]
    entities: tuple[Entity, ...]


@cache
def read() -> Catalogue:
    """Reads the project's catalogue."""
    return Catalogue(
        {row["entity_type"]: row["module"] for row in _rows("modules")},
        tuple(row["course_block"] for row in _rows("blocks")),
        {row["tag"]: row["course_block"] for row in _rows("tags")},
        tuple(
            Entity(
                row["entity_id"],
                row["entity_type"],
                row["course_block"],
                tuple(row["tags"].split()),
                row["title"],
                row["answer"],
                row["unit"],
            )
            for row in _rows("entities")
        ),
    )


def _rows(name: str) -> list[dict[str, str]]:
    with (settings.data("catalogue") / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
