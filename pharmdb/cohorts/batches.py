"""Converts arrays of simulated activity to rows (tuples) as the database stores them, without Python loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache, cached_property, lru_cache
from operator import add
from typing import Any

import numpy as np

from pharmdb.cohorts import overrides, simulation
from pharmdb.cohorts.simulation import Array
from pharmdb.learning.catalogue import Catalogue

Rows = tuple[str, tuple[str, ...], int, Iterator[tuple[Any, ...]]]

USER_COLUMNS = ("email", "password_hash", "role", "created_at")
# The application's languages, of every 256 learners.
_LANGUAGES = ("en",) * 176 + ("cs",) * 80
# The size of a group; the first learner of each is its tutor, an ADMIN with one override. It is inactive: at most one
# may be active in a database, and synthetic data must not replace what the application's users see.
_GROUP = 500
_OVERRIDE_COLUMNS = ("name", "description", "json_text", "is_active", "created_by_id", "created_at", "updated_at")


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
    catalogue: Catalogue
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
        return simulation.simulate(self.catalogue, np.array(self.numbers), self.days, self.random_seed)

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
        texts = _documents(self.catalogue)
        yield _bookmarks(work, places, texts)
        yield _attempts(work, places, texts)
        yield _progress(work, places, texts, simulation.material(self.catalogue))
        yield _items(work, places, texts)
        tutors = [(number, when[place]) for place, number in enumerate(self.numbers) if _is_tutor(number)]
        # Generated one by one: each holds a whole course block.
        rows = (
            (*overrides.override(self.catalogue, number // _GROUP, email(number)), False, ids[number], at, at)
            for number, at in tutors
        )
        yield ("dataset_overrides", _OVERRIDE_COLUMNS, len(tutors), rows)


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
    """Texts by entity, by answer, and by progress row."""

    kind: Array
    id: Array
    feedback: Array
    answers: Array
    score: Array
    modules: Array
    blocks: Array
    tags: Array


@lru_cache(maxsize=2)
def _documents(catalogue: Catalogue) -> _Documents:
    entities = catalogue.entities
    answers = [answer for entity in entities for answer in simulation.answers_of(entity)]
    progress = zip(*simulation.material(catalogue).progress, strict=True)
    return _Documents(
        _texts(entity.kind for entity in entities),
        _texts(entity.id for entity in entities),
        _texts(entity.feedback for entity in entities),
        _texts(answer.document for answer in answers),
        np.array([answer.score for answer in answers]),
        *map(_texts, progress),
    )


def _attempts(work: simulation.Work, ids: Array, texts: _Documents) -> Rows:
    columns = ("user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")
    return ("attempts", columns, len(work.attempts["learner"]), _attempt_rows(work.attempts, ids, texts))


def _attempt_rows(
    found: dict[str, Array], ids: Array, texts: _Documents, size: int = 10_000
) -> Iterator[tuple[Any, ...]]:
    # In parts, because Python objects take ten times as much memory as the arrays.
    for begin in range(0, len(found["learner"]), size):
        part = {name: values[begin : begin + size] for name, values in found.items()}
        entity, answer = part["entity"], part["answer"]
        yield from zip(
            ids[part["learner"]].tolist(),
            texts.kind[entity].tolist(),
            texts.id[entity].tolist(),
            texts.answers[answer].tolist(),
            texts.score[answer].tolist(),
            texts.feedback[entity].tolist(),
            _times(part["day"], part["second"]),
            strict=True,
        )


def _progress(work: simulation.Work, ids: Array, texts: _Documents, stuff: simulation.Material) -> Rows:
    """The attempts' counts and latest times, by learner, module, block and tag."""
    found, width = work.attempts, len(stuff.progress)
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


def _items(work: simulation.Work, ids: Array, texts: _Documents) -> Rows:
    """The review items; each is due at the time of day of its last review."""
    found = work.items
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


def _bookmarks(work: simulation.Work, ids: Array, texts: _Documents) -> Rows:
    """The bookmarks; no learner bookmarks an entity twice."""
    found = work.attempts
    (noted,) = np.nonzero(found["noted"])
    _, first = np.unique(
        found["learner"][noted].astype(np.int64) * len(texts.id) + found["entity"][noted], return_index=True
    )
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
