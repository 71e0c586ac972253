"""Simulates what each synthetic learner does from day to day, as arrays. No database, no clock, no global state.

A learner's activity depends only on (VERSION, random_seed, the learner's number). It is the same on every machine,
because

- each learner has a random stream of their own, the raw 64-bit words of Philox4x64-10 (Salmon et al., "Parallel Random
  Numbers: As Easy as 1, 2, 3", 2011) keyed by these numbers. NumPy guarantees the words of its bit generators for all
  versions, but not the numbers that a `Generator` derives from them, so none is used;
- all arithmetic is on integers: logits in 64ths, probabilities in units of 2**-24 or 2**-16, ease factors in
  hundredths, times in seconds. The one transcendental function, the logistic curve, is a table computed with
  `decimal`, whose standard requires correct rounding.

Each day uses words from a fixed position of the stream. So a larger cohort begins with the learners of a smaller one,
and a longer period begins with the attempts of a shorter one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.random import Philox

from pharmdb.learning import sm2
from pharmdb.learning.catalogue import Answer, Catalogue, Entity

# Increase it with every change that affects a row.
VERSION = 3
# The Monday on which the course begins. Fixed, so that the rows don't depend on today's date.
START = date(2025, 9, 1)
# The most attempts in one session; a learner has at most one session a day.
LANES = 16

Array = np.ndarray[Any, np.dtype[Any]]

_PROFILE = 6
_PER_DAY = 2 + LANES
# The number of different orders in which learners see the new entities of a block.
_ORDERS = 64
_NEVER = np.int32(2**30)

# The probability of a session in percent of a learner's usual one, Monday to Sunday; and the hours (UTC) at which
# sessions begin, weighted by repetition. Even a session of 16 cases that begins at 21:59 ends before midnight.
_WEEKDAYS = (115, 120, 120, 110, 75, 55, 105)
_HOURS = (
    (
        *(7, 8, 8, 9, 9, 10, 10, 11, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17, 17, 18, 18, 18, 18),
        *(19, 19, 19, 19, 19, 20, 20, 20, 20, 20, 21, 21, 21),
    ),
    (8, 9, 10, 10, 10, 11, 11, 11, 11, 12, 12, 13, 14, 14, 15, 15, 15, 16, 16, 17, 17, 18, 19, 20, 20, 21),
)
# The minimum seconds for an answer, and how many more it may take: question, case, calc.
_LEAST, _MORE = np.array([10, 60, 40]), np.array([80, 180, 180])
KINDS = ("question", "case", "calc")


def words(key: tuple[int, int], count: int) -> Array:
    """The first words of the stream with this key."""
    raw: Array = Philox(key=np.array(key, dtype=np.uint64)).random_raw(count)
    return raw


def _field(raw: Array, shift: int, width: int) -> Array:
    found: Array = ((raw >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.int64)
    return found


def _bell(raw: Array) -> Array:
    """Approximately standard normal, in 64ths: the sum of the twelve 16-bit fractions in three words, minus 6."""
    total = sum(_field(raw[..., word], 16 * part, 16) for word in range(3) for part in range(4))
    found: Array = (np.asarray(total) - 6 * 65536) >> 10
    return found


@cache
def logistic() -> Array:
    """1 / (1 + e**-x) in units of 2**-24, for x from -8 to 8 in steps of 1/64."""
    return np.array([int(2**24 / (1 + (Decimal(-step) / 64).exp())) for step in range(-512, 513)])


@dataclass(frozen=True, eq=False)
class Material:
    """The catalogue as arrays, with one position per entity: `kind` is an index into KINDS, `difficulty` is in 64ths of
    a logit, `keys` are indexes of its progress rows in `progress`, padded with -1. (entity, 0) of `answers` and `first`
    is about wrong answers, (entity, 1) about right ones: how many there are, and the position of the first one in
    `grades`, the SM-2 grades of all answers."""

    kind: Array
    difficulty: Array
    keys: Array
    progress: tuple[tuple[str, str, str], ...]
    answers: Array
    first: Array
    grades: Array
    # (order, block, position) -> entity, and the number of entities of each block.
    orders: Array
    sizes: Array


@lru_cache(maxsize=2)
def material(catalogue: Catalogue) -> Material:
    """Builds the arrays. An entity's difficulty depends only on its id, so a new entity does not affect others."""
    entities = catalogue.entities
    kind = np.array([KINDS.index(entity.kind) for entity in entities])
    streams = np.stack([own_words(entity.id, 3) for entity in entities])
    progress = sorted(catalogue.progress_keys)
    place = {key: number for number, key in enumerate(progress)}
    keys = np.full((len(entities), max(len(e.tags) for e in entities)), -1)
    for number, entity in enumerate(entities):
        for column, tag in enumerate(entity.tags):
            keys[number, column] = place[catalogue.modules[entity.kind], entity.block, tag]
    blocks = list(catalogue.blocks)
    members = [[n for n, e in enumerate(entities) if e.block == block] for block in blocks]
    orders = np.zeros((_ORDERS, len(members), max(map(len, members))), dtype=np.int64)
    for block, member in enumerate(members):
        for order in range(_ORDERS):
            draws = own_words(f"{blocks[block]} {order}", len(member))
            orders[order, block, : len(member)] = np.array(member)[np.argsort(draws, kind="stable")]
    scores = [answer.score for entity in entities for answer in answers_of(entity)]
    right = np.array([sum(answer.score >= sm2.CORRECT_FROM for answer in entity.answers) for entity in entities])
    answers = np.stack([np.array([len(entity.answers) for entity in entities]) - right, right], axis=1)
    first = (np.cumsum(answers) - answers.ravel()).reshape(answers.shape)
    # Cases and calculations are a little harder than questions.
    difficulty = _bell(streams) * 7 // 8 + np.array([0, 20, 28])[kind]
    return Material(
        kind,
        difficulty,
        keys,
        tuple(progress),
        answers,
        first,
        np.array([sm2.grade(score) for score in scores]),
        orders,
        np.array([len(m) for m in members]),
    )


def answers_of(entity: Entity) -> list[Answer]:
    """The wrong answers, then the right ones."""
    return sorted(entity.answers, key=lambda answer: answer.score >= sm2.CORRECT_FROM)


def own_words(name: str, count: int) -> Array:
    """The first words of the stream that is keyed by a name."""
    return words((VERSION, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")), count)


@dataclass(frozen=True, eq=False)
class Work:
    """What some learners did. `learner` indexes `numbers`, `entity` indexes the catalogue, `second` is of the day.

    Attempts, sorted by learner and time: learner, entity, day, second, right (0 or 1), answer (its position in
    Material.grades), noted (1: bookmarked afterwards).
    Items, sorted by learner and entity: item_learner, item_entity, ease (hundredths), interval (days), item_day,
    item_second.
    """

    numbers: Array
    signed_up: Array
    language: Array
    attempts: dict[str, Array]
    items: dict[str, Array]


def signed_up(numbers: Array, random_seed: int) -> tuple[Array, Array]:
    """When each learner signed up, in seconds before START (up to three weeks), and a number from 0 to 255 that selects
    their language."""
    return _signed_up(np.stack([words(_key(n, random_seed), _PROFILE) for n in numbers.tolist()]))


def _signed_up(profile: Array) -> tuple[Array, Array]:
    before: Array = 1 + (_field(profile[:, 4], 0, 24) * (21 * 86400) >> 24)
    return before, _field(profile[:, 4], 32, 8)


def _key(number: int, random_seed: int) -> tuple[int, int]:
    return (VERSION << 32 | random_seed, number)


def simulate(catalogue: Catalogue, numbers: Array, days: int, random_seed: int) -> Work:
    """Simulates these learners' work for some days from START on.

    Whether an answer is right follows the Rasch model (Rasch, "Probabilistic Models for Some Intelligence and
    Attainment Tests", 1960): P(right) = 1 / (1 + exp(-(ability - difficulty))). Initial abilities are approximately
    normal (mean 0.2, standard deviation 1 logit) and grow with practice, by 1.5 n / (n + 60) logits after n attempts.
    An entity answered before is easier for a while, by up to 3 logits times R = 1 / (1 + t / (9 S)), the forgetting
    curve of FSRS-4 (Ye, 2022), with t the days since the last answer and S the review interval. Which of the entity's
    right or wrong answers is given is uniformly random.

    Each week has its own block. Up to half of a session is due reviews, longest overdue first; the rest is new entities
    of the week's block. After each day a learner drops out with an individual probability of up to 2 %.
    """
    stuff = material(catalogue)
    raw = np.stack([words(_key(n, random_seed), _PROFILE + days * _PER_DAY) for n in numbers.tolist()])
    profile, daily = raw[:, :_PROFILE], raw[:, _PROFILE:].reshape(len(numbers), days, _PER_DAY)
    active = _sessions(profile, daily[:, :, 0])
    state = _State(stuff, profile)
    for day in range(days):
        rows = np.flatnonzero(active[:, day])
        if len(rows):
            state.session(rows, day, daily[rows, day])
    return Work(numbers, *_signed_up(profile), state.attempts(), state.items())


def _sessions(profile: Array, first: Array) -> Array:
    """Whether each learner has a session on each day."""
    eagerness = _field(profile[:, 3], 0, 16)
    # On 4 to 40 of 100 days; low rates are more common than high ones.
    rate = 2600 + ((eagerness * eagerness >> 16) * 23600 >> 16)
    days = first.shape[1]
    weight = np.array(_WEEKDAYS)[np.arange(days) % 7]
    wants = _field(first, 0, 16) < rate[:, None] * weight // 100
    leaves = _field(first, 16, 16) < (_field(profile[:, 3], 16, 16) * 1311 >> 16)[:, None]
    gone = np.logical_or.accumulate(leaves, axis=1)
    # A learner who drops out does so after the day's session.
    wants[:, 1:] &= ~gone[:, :-1]
    found: Array = wants
    return found


class _State:
    """What the learners know at one point in time."""

    def __init__(self, stuff: Material, profile: Array) -> None:
        shape = (len(profile), len(stuff.kind))
        self._stuff = stuff
        self._ability = 13 + _bell(profile[:, :3])
        self._order = _field(profile[:, 5], 0, 6)
        self._met = np.zeros((len(profile), len(stuff.sizes)), dtype=np.int64)
        self._practised = np.zeros(len(profile), dtype=np.int64)
        self._due = np.full(shape, _NEVER)
        self._interval, self._day, self._second = (np.zeros(shape, dtype=np.int32) for _ in range(3))
        self._repetitions = np.zeros(shape, dtype=np.int16)
        self._ease = np.full(shape, sm2.NEW.ease, dtype=np.int16)
        self._done: dict[str, list[Array]] = {name: [] for name in _ATTEMPT}

    def session(self, rows: Array, day: int, raw: Array) -> None:
        """Simulates one day's sessions of these learners."""
        stuff = self._stuff
        plan = self._plan(rows, day, 4 + (_field(raw[:, 1], 16, 8) * 13 >> 8))
        place, lane = np.nonzero(plan >= 0)
        entity, learner = plan[place, lane], rows[place]
        drawn = raw[place, 2 + lane]
        practised = self._practised[learner] + lane
        strength = 9 * self._interval[learner, entity].astype(np.int64)
        away = day - self._day[learner, entity]
        memory = np.where(strength > 0, 192 * strength // np.maximum(strength + away, 1), 0)
        logit = self._ability[learner] + 96 * practised // (practised + 60) + memory - stuff.difficulty[entity]
        right = _field(drawn, 40, 24) < logistic()[np.clip(logit, -512, 512) + 512]
        is_right = right.astype(np.int64)
        answer = stuff.first[entity, is_right] + (_field(drawn, 0, 16) * stuff.answers[entity, is_right] >> 16)
        slowness, kind = _field(drawn, 29, 8), stuff.kind[entity]
        seconds = _LEAST[kind] + (slowness * _MORE[kind] >> 8)
        took = np.zeros(plan.shape, dtype=np.int64)
        took[place, lane] = seconds
        hours = np.array(_HOURS[day % 7 >= 5])
        begin = hours[_field(raw[:, 0], 32, 16) * len(hours) >> 16] * 3600 + (_field(raw[:, 1], 0, 16) * 3600 >> 16)
        second = begin[place] + np.cumsum(took, axis=1)[place, lane]
        # About one wrong answer in twelve is bookmarked.
        noted = ~right & (_field(drawn, 16, 8) < 21)
        self._review(learner, entity, day, second, stuff.grades[answer])
        self._practised[rows] += (plan >= 0).sum(axis=1)
        found = (learner, entity, np.full(len(entity), day), second, right, answer, noted)
        for name, values in zip(_ATTEMPT, found, strict=True):
            self._done[name].append(values.astype(np.int32))

    def _plan(self, rows: Array, day: int, length: Array) -> Array:
        """The entities of each session, padded with -1."""
        plan = np.full((len(rows), LANES), -1)
        due = self._due[rows]
        place, entity = np.nonzero(due <= day)
        width = due.shape[1]
        queue = np.sort((place * (day + 1) + due[place, entity]) * width + entity)
        place, entity = queue // width // (day + 1), queue % width
        rank = np.arange(len(place)) - np.searchsorted(place, place)
        taken = rank < (length // 2)[place]
        plan[place[taken], rank[taken]] = entity[taken]
        reviews = np.bincount(place[taken], minlength=len(rows))
        block = day // 7 % len(self._stuff.sizes)
        met = self._met[rows, block]
        new = np.minimum(length - reviews, self._stuff.sizes[block] - met)
        lanes = np.arange(LANES)
        place, lane = np.nonzero((lanes >= reviews[:, None]) & (lanes < (reviews + new)[:, None]))
        plan[place, lane] = self._stuff.orders[self._order[rows][place], block, met[place] + lane - reviews[place]]
        self._met[rows, block] += new
        return plan

    def _review(self, learner: Array, entity: Array, day: int, second: Array, graded: Array) -> None:
        """Updates the review items by SM-2."""
        kept: tuple[Array, ...] = (self._ease, self._interval, self._repetitions)
        item = sm2.Item(*(values[learner, entity].astype(np.int64) for values in kept))
        for values, now in zip(kept, sm2.review(item, graded, NUMPY), strict=True):
            values[learner, entity] = now
        self._due[learner, entity] = day + self._interval[learner, entity]
        self._day[learner, entity], self._second[learner, entity] = day, second

    def attempts(self) -> dict[str, Array]:
        if not self._done["learner"]:
            return {name: np.zeros(0, dtype=np.int32) for name in _ATTEMPT}
        joined = {name: np.concatenate(parts) for name, parts in self._done.items()}
        # The parts are in order of day, so a stable sort keeps each learner's attempts in order of time.
        order = np.argsort(joined["learner"], kind="stable")
        return {name: values[order] for name, values in joined.items()}

    def items(self) -> dict[str, Array]:
        learner, entity = np.nonzero(self._due < _NEVER)
        values = (self._ease, self._interval, self._day, self._second)
        found = (learner, entity, *(v[learner, entity] for v in values))
        names = ("learner", "entity", "ease", "interval", "day", "second")
        return dict(zip(names, found, strict=True))


_ATTEMPT = ("learner", "entity", "day", "second", "right", "answer", "noted")
NUMPY = sm2.Arithmetic(np.where, np.minimum, np.maximum)
