"""One streaming pass over the attempts: numbers in place of texts, in parts, each with all attempts of some learners.

Only parts are ever sorted or held in memory. Those of a large class wait in files in a temporary folder, as 21 bytes
for each attempt; they hold no address and no answer.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from sqlalchemy import Connection

from pharmdb.classes.intervals import Array
from pharmdb.classes.material import Key, Material
from pharmdb.classes.population import Population, Terms, members
from pharmdb.database import servers, targets
from pharmdb.errors import DamagedError
from pharmdb.learning import joined
from pharmdb.learning.joined import Column
from pharmdb.learning.sm2 import CORRECT_FROM
from pharmdb.models import ATTEMPT_ENTITY_TYPES
from pharmdb.schema import json_values
from pharmdb.types import UTCDateTime

# Attempts in a part, on average.
PART = 400_000
# Different answers of an item that are told apart; longer ones are free text.
MOST_ANSWERS, LONGEST_ANSWER = 50, 400
OTHER = None

RECORD = np.dtype([("user", "<i4"), ("item", "<i4"), ("answer", "<i4"), ("right", "u1"), ("time", "<i8")])


@dataclass
class Attempts:
    """What the pass found. `user` is a position in the class, `item` and `answer` in these lists, `time` is UTC in
    microseconds. `scores` counts attempts by range of ten points."""

    items: list[Key]
    answers: list[tuple[int, str | None]]
    count: int
    oldest: int
    newest: int
    score_sum: Array
    scores: Array
    # Where what is too large for the memory may be kept, until `close`; None for a small class.
    folder: Path | None
    _parts: list[Any] = field(repr=False)
    _stack: ExitStack = field(repr=False)

    def parts(self) -> Iterator[Array]:
        """All attempts of some learners at a time: records ordered by user, time, and then id."""
        for part in self._parts:
            records = np.fromfile(part, dtype=RECORD) if isinstance(part, Path) else part
            user, time = records["user"], records["time"]
            ordered = (user[1:] > user[:-1]) | ((user[1:] == user[:-1]) & (time[1:] >= time[:-1]))
            if not ordered.all():
                records = records[np.lexsort((time, user))]
            if len(records):
                yield records

    def __enter__(self) -> Attempts:
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the folder."""
        self._stack.close()


def stream(
    connection: Connection,
    population: Population,
    terms: Terms,
    material: Material,
    total: int,
    advance: Callable[[int], object] = lambda rows: None,
) -> Attempts:
    """Reads the attempts of the class that count; there are `total` in the database.

    `advance` is called with the number of rows just read.

    Raises DamagedError if a value breaks its column's rules, OSError if the temporary folder has no room.
    """
    stack = ExitStack()
    try:
        reader = _Reader(population, material, _Parts(1 + total // PART, stack))
        conditions, values = _conditions(connection, population, terms, material)
        with undamaged(connection):
            for chunk in joined.chunks(connection, "attempts", _COLUMNS, conditions, values):
                reader.take(*_by_id(chunk))
                advance(len(chunk[0]))
    except BaseException:
        stack.close()
        raise
    return reader.found()


@contextmanager
def undamaged(connection: Connection) -> Iterator[None]:
    """Raises DamagedError for the ValueError with which a reader refuses a value that breaks its column's rules."""
    try:
        yield
    except ValueError as error:
        raise DamagedError(
            expected="values that keep the rules of their columns",
            found="a value that does not",
            command=targets.command(servers.target_of(connection), "pharmdb doctor"),
        ) from error


_COLUMNS = [
    Column("id", "integer", False),
    Column("user_id", "integer", False),
    Column("entity_type", "code", False, ATTEMPT_ENTITY_TYPES),
    Column("entity_id", "text", False),
    Column("answers", "text", False),
    Column("score", "real", False),
    Column("created_at", "time", False),
]


def _by_id(chunk: list[Array]) -> list[Array]:
    """The columns without the id, ordered by it: a table in shards comes in no order."""
    id_, *columns = chunk
    if (id_[1:] > id_[:-1]).all():
        return columns
    order = np.argsort(id_)
    return [column[order] for column in columns]


def _conditions(
    connection: Connection, population: Population, terms: Terms, material: Material
) -> tuple[list[str], dict[str, Any]]:
    """What the database can leave out. What has no condition here is left out by `_Reader`."""
    conditions, values = [], dict[str, Any]()
    for name, sign, bound in zip(("since", "before"), (">=", "<"), terms.bounds, strict=True):
        if bound is not None:
            conditions.append(f"created_at {sign} :{name}")
            values[name] = UTCDateTime().process_bind_param(bound, connection.dialect)
    if not population.all_users:
        condition, more = members(connection, population)
        conditions.append(condition)
        values |= more
    if len(material.kinds) < len(ATTEMPT_ENTITY_TYPES):
        conditions.append(material.kinds_condition)
    return conditions, values


class _Parts:
    """Records by learner: in files, if there are several parts."""

    def __init__(self, count: int, stack: ExitStack) -> None:
        self.stack, self._count = stack, count
        self.folder: Path | None = None
        self._kept: list[Array] = []
        self._files: list[BinaryIO] = []
        if count > 1:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pharmdb-class-")))
            self.paths = [self.folder / str(number) for number in range(count)]
            self._files = [stack.enter_context(path.open("wb")) for path in self.paths]

    def add(self, records: Array) -> None:
        if not self._files:
            self._kept.append(records)
            return
        part = records["user"] % self._count
        order = np.argsort(part, kind="stable")
        records, ends = records[order], np.cumsum(np.bincount(part, minlength=self._count))
        for number in np.unique(part).tolist():
            first = ends[number - 1] if number else 0
            self._files[number].write(records[first : ends[number]].tobytes())

    def all(self) -> list[Any]:
        if not self._files:
            return [np.concatenate(self._kept)] if self._kept else []
        for file in self._files:
            file.flush()
        return list(self.paths)


class _Reader:
    """Turns chunks of columns into records."""

    def __init__(self, population: Population, material: Material, parts: _Parts) -> None:
        self._population, self._material, self._parts = population, material, parts
        # The number of each item, -1 for one that does not count.
        self._items: dict[Key, int] = {}
        self._kept: list[Key] = []
        self._answers: dict[tuple[int, str | None], int] = {}
        self._told_apart: dict[int, int] = {}
        self._count, self._oldest, self._newest = 0, 2**63 - 1, -(2**63)
        self._score_sum = np.zeros(len(population))
        self._scores = np.zeros(10, dtype=np.int64)

    def take(self, user_id: Array, kind: Array, id_: Array, answers: Array, score: Array, time: Array) -> None:
        user = self._population.places(user_id)
        item = self._item_numbers(kind, id_)
        there = (user >= 0) & (item >= 0)
        if not there.all():
            user, item, answers, score, time = (values[there] for values in (user, item, answers, score, time))
        if not len(user):
            return
        records = np.empty(len(user), dtype=RECORD)
        records["user"], records["item"], records["time"] = user, item, time
        records["right"] = score >= CORRECT_FROM
        records["answer"] = self._answer_numbers(item, answers)
        self._count += len(user)
        self._oldest, self._newest = min(self._oldest, int(time.min())), max(self._newest, int(time.max()))
        self._score_sum += np.bincount(user, score, minlength=len(self._population))
        self._scores += np.bincount(np.minimum(score // 10, 9).astype(np.int64), minlength=10)
        self._parts.add(records)

    def _item_numbers(self, kind: Array, id_: Array) -> Array:
        codes, texts = _factorized(id_)
        pairs, places = np.unique(codes.astype(np.int64) * 8 + kind, return_inverse=True)
        numbers = []
        for code in pairs.tolist():
            key = Key(ATTEMPT_ENTITY_TYPES[code % 8], str(texts[code // 8]))
            number = self._items.get(key)
            if number is None:
                takes = self._material.takes(key)
                number = self._items[key] = len(self._kept) if takes else -1
                self._kept += [key] if takes else []
            numbers.append(number)
        return np.array(numbers, dtype=np.int32)[places]

    def _answer_numbers(self, item: Array, answers: Array) -> Array:
        codes, texts = _factorized(answers)
        labels = [label(str(text)) for text in texts]
        width = max(len(labels), 1)
        pairs, places = np.unique(item.astype(np.int64) * width + codes, return_inverse=True)
        numbers = []
        for code in pairs.tolist():
            number, text = code // width, labels[code % width]
            key = (number, text)
            if text is not OTHER and key not in self._answers:
                told_apart = self._told_apart[number] = self._told_apart.get(number, 0) + 1
                key = key if told_apart <= MOST_ANSWERS else (number, OTHER)
            numbers.append(self._answers.setdefault(key, len(self._answers)))
        return np.array(numbers, dtype=np.int32)[places]

    def found(self) -> Attempts:
        return Attempts(
            self._kept,
            list(self._answers),
            self._count,
            self._oldest,
            self._newest,
            self._score_sum,
            self._scores,
            self._parts.folder,
            self._parts.all(),
            self._parts.stack,
        )


def _factorized(texts: Array) -> tuple[Array, Array]:
    import pandas as pd

    codes, uniques = pd.factorize(texts)
    return np.asarray(codes), np.asarray(uniques)


def label(document: str) -> str | None:
    """An answer as a reader knows it, the same for both shapes of JSON and on both databases; OTHER for a long one.

    `{"selected": "a"}` is a; anything else that is no text or number is JSON with sorted keys.
    """
    text = json_values.decoded_text(document)
    if len(text) > LONGEST_ANSWER:
        return OTHER
    try:
        value = json.loads(text)
    except ValueError:
        return text
    while isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
