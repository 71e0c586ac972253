"""Converts arrays of simulated activity to rows (tuples) as the database stores them, without Python loops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cache, cached_property
from operator import add
from typing import Any

import numpy as np

from pharmdb.cohorts import simulation
from pharmdb.cohorts.simulation import Array
from pharmdb.learning import catalogue

Rows = tuple[str, tuple[str, ...], int, Iterator[tuple[Any, ...]]]

USER_COLUMNS = ("email", "password_hash", "role", "created_at")
# The languages of every 256 learners.
_LANGUAGES = ("en",) * 176 + ("de",) * 28 + ("es",) * 20 + ("fr",) * 16 + ("pt",) * 16
# The size of a group; the first learner of each is its tutor, an ADMIN with one override.
_GROUP = 500


def email(number: int) -> str:
    """The learner's address, which receives no mail: RFC 2606 reserves .invalid."""
    return f"learner{number:06d}@cohort.invalid"


@dataclass(frozen=True, eq=False)
class Batch:
    """The learners `first` to `last`, except those that already exist."""

    first: int
    last: int
    days: int
    random_seed: int
    there: frozenset[int] = frozenset()

    def without(self, there: set[int]) -> Batch:
        return replace(self, there=frozenset(there))

    def __bool__(self) -> bool:
        return bool(self.numbers)

    @cached_property
    def numbers(self) -> list[int]:
        return [n for n in range(self.first, self.last + 1) if n not in self.there]

    @cached_property
    def _work(self) -> simulation.Work:
        return simulation.simulate(catalogue.read(), np.array(self.numbers), self.days, self.random_seed)

    def signed_up(self, numbers: list[int]) -> dict[int, str]:
        """The sign-up times of these learners, in SQLite's format."""
        seconds, _ = simulation.signed_up(np.array(numbers), self.random_seed)
        return dict(zip(numbers, map(_before, seconds.tolist()), strict=True))

    def users(self) -> Iterator[tuple[str, ...]]:
        """The users' rows. The password hash is "!", which no password matches, so nobody can log in."""
        when = map(_before, self._work.signed_up.tolist())
        roles = ("ADMIN" if _is_tutor(number) else "USER" for number in self.numbers)
        return zip(map(email, self.numbers), ("!" for _ in self.numbers), roles, when, strict=True)

    def belongings(self, ids: dict[int, int]) -> Iterator[Rows]:
        """For each other table: its name, columns, number of rows, and rows; `ids` are the users' ids."""
        work = self._work
        places = np.array([ids[number] for number in self.numbers])
        when = list(map(_before, work.signed_up.tolist()))
        languages = (_LANGUAGES[n] for n in work.language.tolist())
        yield (
            "user_settings",
            ("user_id", "language", "created_at", "updated_at"),
            len(places),
            zip(places.tolist(), languages, when, when, strict=True),
        )
        yield from (_bookmarks(work, places), _attempts(work, places), _progress(work, places), _items(work, places))
        overrides = [
            _override(number, ids[number], when[place])
            for place, number in enumerate(self.numbers)
            if _is_tutor(number)
        ]
        columns = ("name", "description", "json_text", "is_active", "created_by_id", "created_at", "updated_at")
        yield ("dataset_overrides", columns, len(overrides), iter(overrides))


def _is_tutor(number: int) -> bool:
    return number % _GROUP == 1


def _texts(values: Any) -> Array:
    """An array of Python strings, so that repeated values share one object."""
    found = list(values)
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array


def _before(seconds: int) -> str:
    """The time that is this many seconds before the course begins."""
    days, left = divmod(-seconds, 86400)
    return f"{simulation.START + timedelta(days=days)}{_clock()[left]}"


@cache
def _clock() -> Array:
    hours, minutes = range(24), range(60)
    return _texts(f"T{h:02d}:{m:02d}:{s:02d}.000+00:00" for h in hours for m in minutes for s in minutes)


@cache
def _dates(count: int) -> Array:
    return _texts((simulation.START + timedelta(days=n)).isoformat() for n in range(count))


def _times(day: Array, second: Array) -> Iterator[str]:
    dates = _dates(1000 * (1 + int(day.max(initial=0)) // 1000))
    return map(add, dates[day].tolist(), _clock()[second].tolist())


@dataclass(frozen=True, eq=False)
class _Documents:
    """Texts by entity; `answers`, `feedback` and `score` are indexed by (entity, right, variant) as one number."""

    kind: Array
    id: Array
    answers: Array
    feedback: Array
    score: Array
    modules: Array
    blocks: Array
    tags: Array


@cache
def _documents() -> _Documents:
    contents = catalogue.read()
    stuff = simulation.material(contents)
    answers, feedback, scores = [], [], []
    for number, entity in enumerate(contents.entities):
        for right in (0, 1):
            for variant in range(8):
                score = int(simulation.SCORES[stuff.kind[number], right, variant])
                # The seconds that the answer took are appended later.
                answers.append(json.dumps(_answer(entity, right, variant, score))[:-1] + ', "seconds": ')
                feedback.append(json.dumps(_feedback(entity, right, score)))
                scores.append(float(score))
    progress = zip(*stuff.progress, strict=True)
    return _Documents(
        _texts(entity.kind for entity in contents.entities),
        _texts(entity.id for entity in contents.entities),
        _texts(answers),
        _texts(feedback),
        np.array(scores),
        *map(_texts, progress),
    )


def _answer(entity: catalogue.Entity, right: int, variant: int, score: int) -> dict[str, Any]:
    solution = int(simulation.own_words(f"answer {entity.id}", 1)[0])
    if entity.kind == "question":
        best = solution % 5
        return {"choice": "ABCDE"[best if right else (best + 1 + variant % 4) % 5]}
    if entity.kind == "case":
        steps = [solution >> 3 * step & 3 for step in range(4)]
        missed = 4 - score // 25
        # The variant determines which steps are missed.
        wrong = {(variant + n) % 4 for n in range(missed)}
        return {"steps": ["ABCD"[(best + (n in wrong)) % 4] for n, best in enumerate(steps)]}
    factor = {100: "1", 80: "1.05", 60: "1", 40: "10", 20: "2", 0: "7.3"}[score]
    value = (Decimal(entity.answer) * Decimal(factor)).normalize()
    return {"value": float(value), "unit": "" if score == 60 else entity.unit}


def _feedback(entity: catalogue.Entity, right: int, score: int) -> dict[str, Any]:
    if entity.kind == "question":
        return {"correct": bool(right), "topic": entity.title}
    if entity.kind == "case":
        return {"correct": bool(right), "steps_right": score // 25, "topic": entity.title}
    solution = f"{entity.answer} {entity.unit}"
    return {"correct": bool(right), "remark": _REMARKS[score], "solution": solution, "topic": entity.title}


_REMARKS = {
    100: "right",
    80: "rounded too early",
    60: "the unit is missing",
    40: "wrong by a power of ten",
    20: "wrong by a factor of two",
    0: "another formula is needed",
}


@cache
def _seconds() -> Array:
    return _texts(f"{n}}}" for n in range(300))


def _attempts(work: simulation.Work, ids: Array) -> Rows:
    columns = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
    return ("attempts", columns, len(work.attempts["learner"]), _attempt_rows(work.attempts, ids))


def _attempt_rows(found: dict[str, Array], ids: Array, size: int = 10_000) -> Iterator[tuple[Any, ...]]:
    # In parts, because Python objects take ten times as much memory as the arrays.
    texts = _documents()
    for begin in range(0, len(found["learner"]), size):
        part = {name: values[begin : begin + size] for name, values in found.items()}
        entity = part["entity"]
        document = (entity * 2 + part["right"]) * 8 + part["variant"]
        yield from zip(
            ids[part["learner"]].tolist(),
            texts.kind[entity].tolist(),
            texts.id[entity].tolist(),
            map(add, texts.answers[document].tolist(), _seconds()[part["seconds"]].tolist()),
            texts.score[document].tolist(),
            texts.feedback[document].tolist(),
            _times(part["day"], part["second"]),
            strict=True,
        )


def _progress(work: simulation.Work, ids: Array) -> Rows:
    """The attempts' counts and latest times, by learner, module, block and tag."""
    stuff, texts, found = simulation.material(catalogue.read()), _documents(), work.attempts
    width = len(stuff.progress)
    keys = stuff.keys[found["entity"]]
    attempt, column = np.nonzero(keys >= 0)
    cell = found["learner"][attempt].astype(np.int64) * width + keys[attempt, column]
    total = np.bincount(cell, minlength=len(ids) * width)
    correct = np.bincount(cell[found["right"][attempt] == 1], minlength=len(ids) * width)
    newest = np.zeros(len(ids) * width, dtype=np.int64)
    np.maximum.at(newest, cell, found["day"][attempt].astype(np.int64) * 86400 + found["second"][attempt])
    (there,) = np.nonzero(total)
    learner, key = there // width, there % width
    rows = zip(
        ids[learner].tolist(),
        texts.modules[key].tolist(),
        texts.blocks[key].tolist(),
        texts.tags[key].tolist(),
        correct[there].tolist(),
        (total - correct)[there].tolist(),
        _times(newest[there] // 86400, newest[there] % 86400),
        strict=True,
    )
    columns = ("user_id", "module", "course_block", "tag", "correct_count", "wrong_count", "last_attempt_at")
    return ("progress_by_tag", columns, len(there), rows)


def _items(work: simulation.Work, ids: Array) -> Rows:
    """The review items; each is due at the time of day of its last review."""
    texts, found = _documents(), work.items
    rows = zip(
        ids[found["learner"]].tolist(),
        texts.kind[found["entity"]].tolist(),
        texts.id[found["entity"]].tolist(),
        # Division is correctly rounded on every machine.
        (found["ease"] / 100.0).tolist(),
        found["interval"].tolist(),
        _times(found["day"] + found["interval"], found["second"]),
        _times(found["day"], found["second"]),
        strict=True,
    )
    columns = (
        *("user_id", "entity_type", "entity_id", "ease_factor"),
        *("interval_days", "next_review_at", "last_reviewed_at"),
    )
    return ("spaced_repetition_items", columns, len(found["learner"]), rows)


def _bookmarks(work: simulation.Work, ids: Array) -> Rows:
    """The bookmarks; no learner bookmarks an entity twice."""
    texts, found = _documents(), work.attempts
    (noted,) = np.nonzero(found["noted"])
    _, first = np.unique(found["learner"][noted].astype(np.int64) * 2**20 + found["entity"][noted], return_index=True)
    noted = noted[np.sort(first)]
    entity = found["entity"][noted]
    rows = zip(
        ids[found["learner"][noted]].tolist(),
        texts.kind[entity].tolist(),
        texts.id[entity].tolist(),
        _times(found["day"][noted], found["second"][noted]),
        strict=True,
    )
    return ("bookmarks", ("user_id", "entity_type", "entity_id", "created_at"), len(noted), rows)


def _override(number: int, id_: int, when: str) -> tuple[Any, ...]:
    group = number // _GROUP + 1
    entities = catalogue.read().entities
    entity = entities[group * 37 % len(entities)]
    document = json.dumps({"entity_id": entity.id, "title": f"{entity.title} (group {group})"})
    return (f"by {email(number)}", f"Another title for group {group}", document, group % 2 == 1, id_, when, when)
