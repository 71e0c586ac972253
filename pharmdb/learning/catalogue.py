"""What learners practise: modules, course blocks, tags, entities and their answers, from a folder of CSV files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pharmdb import csv_reading, settings
from pharmdb.csv_faults import UNKNOWN, Faults
from pharmdb.csv_reading import text
from pharmdb.errors import CatalogueError
from pharmdb.learning.sm2 import CORRECT_FROM
from pharmdb.models import ATTEMPT_ENTITY_TYPES


class Answer(NamedTuple):
    """One answer that learners give: a JSON document, and its score."""

    document: str
    score: float


@dataclass(frozen=True)
class Entity:
    """One question, case or calculation. `feedback` is a JSON document, or None."""

    kind: str
    id: str
    block: str
    tags: tuple[str, ...]
    title: str
    feedback: str | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, eq=False)
class Catalogue:
    """`modules`: entity type -> module. `blocks`: course block -> title, in course order. `tags`: (block, tag)."""

    modules: dict[str, str]
    blocks: dict[str, str]
    tags: frozenset[tuple[str, str]]
    entities: tuple[Entity, ...]

    @property
    def progress_keys(self) -> set[tuple[str, str, str]]:
        """(module, course block, tag) of each progress row that answers lead to."""
        return {(self.modules[e.kind], e.block, tag) for e in self.entities for tag in e.tags}


def read(folder: str | Path = "") -> Catalogue:
    """Reads a catalogue (default data/catalogue; relative to settings.home()).

    Raises CatalogueError with all mistakes by file, line, column, value and reason.
    """
    return _read(settings.home() / Path(folder).expanduser()) if folder else _own()


@cache
def _own() -> Catalogue:
    return _read(settings.data("catalogue"))


# -- values -------------------------------------------------------------------------------------------


def _kind(value: str) -> str:
    if value not in ATTEMPT_ENTITY_TYPES:
        raise ValueError(f"not an entity type: {', '.join(ATTEMPT_ENTITY_TYPES)}")
    return value


def _tags(value: str) -> tuple[str, ...]:
    tags = tuple(map(text, value.split(";")))
    if len(set(tags)) < len(tags):
        raise ValueError("a tag is repeated")
    return tags


def _document(value: str) -> str:
    """JSON that both databases can store."""
    try:
        document = json.dumps(json.loads(value), allow_nan=False)
        json.dumps(json.loads(value), ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if r"\u0000" in document.replace(r"\\", ""):
        raise ValueError("contains a NUL character")
    return document


def _feedback(value: str) -> str:
    return _document(value) if value else ""


def _score(value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,15})?", value) or float(value) > 100:
        raise ValueError("not a number from 0 to 100")
    return float(value)


MODULES, BLOCKS, TAGS, ENTITIES, ANSWERS = ("modules.csv", "blocks.csv", "tags.csv", "entities.csv", "answers.csv")
# file -> its columns with their parsers
FILES: dict[str, csv_reading.Columns] = {
    MODULES: {"entity_type": _kind, "module": text},
    BLOCKS: {"course_block": text, "title": text},
    TAGS: {"course_block": text, "tag": text},
    ENTITIES: {
        "entity_type": _kind,
        "entity_id": text,
        "course_block": text,
        "tags": _tags,
        "title": text,
        "feedback": _feedback,
    },
    ANSWERS: {"entity_type": _kind, "entity_id": text, "answers": _document, "score": _score},
}


# -- files --------------------------------------------------------------------------------------------

_Row = dict[str, Any]
# A column, the file that its value refers to, and the key of the row there.
_Reference = tuple[str, str, tuple[str, ...]]


def _read(folder: Path) -> Catalogue:
    files = _Files(folder)
    modules = files.rows(MODULES, 1)
    blocks = files.rows(BLOCKS, 1)
    tags = files.rows(TAGS, 2, lambda row: [("course_block", BLOCKS, (row["course_block"],))])
    entities = files.rows(ENTITIES, 2, _of_entity)
    answers = files.rows(ANSWERS, 3, lambda row: [("entity_id", ENTITIES, (row["entity_type"], row["entity_id"]))])
    given: dict[tuple[str, str], list[Answer]] = {}
    for row in answers:
        given.setdefault((row["entity_type"], row["entity_id"]), []).append(Answer(row["answers"], row["score"]))
    files.require_entities([row["course_block"] for row in entities])
    files.require_answers(given)
    files.refuse_faults()
    return Catalogue(
        {row["entity_type"]: row["module"] for row in modules},
        {row["course_block"]: row["title"] for row in blocks},
        frozenset((row["course_block"], row["tag"]) for row in tags),
        tuple(
            Entity(
                row["entity_type"],
                row["entity_id"],
                row["course_block"],
                row["tags"],
                row["title"],
                row["feedback"] or None,
                tuple(given[row["entity_type"], row["entity_id"]]),
            )
            for row in entities
        ),
    )


def _of_entity(row: _Row) -> Iterator[_Reference]:
    yield "entity_type", MODULES, (row["entity_type"],)
    yield "course_block", BLOCKS, (row["course_block"],)
    for tag in row["tags"] or ():
        yield "tags", TAGS, (row["course_block"], tag)


class _Files:
    """The files of one folder, and the mistakes in them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._faults = Faults()
        # file -> key -> line; None for a file that could not be read to its end, whose keys are not all known.
        self._keys: dict[str, dict[tuple[str, ...], int] | None] = {}
        csv_reading.unexpected(folder, FILES, "catalogue", self._faults)

    def rows(self, name: str, width: int, refer: Callable[[_Row], Iterable[_Reference]] = lambda row: ()) -> list[_Row]:
        """The rows with a valid key, which is in the first `width` columns; what they refer to is read before."""
        found, keys = [], dict[tuple[str, ...], int]()
        self._keys[name] = keys
        try:
            for line, *values in csv_reading.rows(self._folder / name, FILES[name], self._faults):
                key, row = tuple(values[:width]), dict(zip(FILES[name], values, strict=True))
                for column, file, other in refer(row):
                    known = self._keys[file]
                    if known is not None and other not in known and None not in other:
                        self._faults.add(name, line, column, other[-1], f"not in {file}")
                if None not in key:
                    found.append(row)
                    if (first := keys.setdefault(key, line)) != line:
                        shown = ", ".join(key)
                        self._faults.add(name, line, "", shown, f"duplicate key, first in line {first}")
        except csv_reading.UnreadableError:
            self._keys[name] = None
        return found

    def require_entities(self, used: list[str]) -> None:
        """In each block."""
        if (entities := self._keys[ENTITIES]) is None:
            return
        if not entities:
            self._faults.add(ENTITIES, 0, "", "", "no entities")
        for (block,), line in (self._keys[BLOCKS] or {}).items():
            if block not in used:
                self._faults.add(BLOCKS, line, "course_block", block, "no entity in this block", UNKNOWN)

    def require_answers(self, given: dict[tuple[str, str], list[Answer]]) -> None:
        """A right and a wrong one for each entity: learners make mistakes."""
        if self._keys[ANSWERS] is None:
            return
        for (kind, id_), line in (self._keys[ENTITIES] or {}).items():
            scores = [answer.score for answer in given.get((kind, id_), ()) if answer.score is not None]
            if not any(score >= CORRECT_FROM for score in scores):
                reason = f"no right answer in {ANSWERS}, with a score of {CORRECT_FROM} or more"
                self._faults.add(ENTITIES, line, "entity_id", id_, reason, UNKNOWN)
            if not any(score < CORRECT_FROM for score in scores):
                reason = f"no wrong answer in {ANSWERS}, with a score below {CORRECT_FROM}"
                self._faults.add(ENTITIES, line, "entity_id", id_, reason, UNKNOWN)

    def refuse_faults(self) -> None:
        if self._faults.count:
            problems = self._faults.problems()
            more = self._faults.count - len(problems)
            raise CatalogueError(problems, directory=str(self._folder), more=more)
