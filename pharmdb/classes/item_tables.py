"""Tables of what a class works on: blocks, tags, items and their answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from pharmdb.classes import counting, definitions, rasch
from pharmdb.classes.counting import Counts, Labels
from pharmdb.classes.first_answers import FirstAnswers
from pharmdb.classes.intervals import Array, against, percent, wilson, with_shares
from pharmdb.classes.material import Material
from pharmdb.classes.streaming import OTHER, Attempts

if TYPE_CHECKING:
    import pandas as pd

# Answers of fewer learners could tell who gave them.
FEWEST = 5
# One learner's attempts in a block that give a share: its interval says how little is known.
LEAST_OWN = 5
LONGEST_SHOWN = 60
# Percent of right first answers, and correlations (Ebel and Frisbie, "Essentials of Educational Measurement", 1991).
TOO_EASY, TOO_HARD, WEAK = 95, 25, 0.1
_ADDRESS = re.compile(r"\S+@\S+")


def labels(attempts: Attempts, material: Material) -> tuple[Labels, list[str], list[tuple[str, str]]]:
    """By item its block and its tags, as numbers in two lists: blocks, and (block, tag), in the catalogue's order."""
    blocks = list(material.catalogue.blocks)
    used = dict.fromkeys((e.block, tag) for e in material.catalogue.entities for tag in e.tags)
    tags = sorted(used, key=lambda key: (blocks.index(key[0]), key[1]))
    numbers = {key: number for number, key in enumerate(tags)}
    found = [material.entities.get(key) for key in attempts.items]
    width = max((len(entity.tags) for entity in found if entity), default=1)
    of = np.full((len(found), max(width, 1)), -2)
    for row, entity in zip(of, found, strict=True):
        own = [numbers[entity.block, tag] for tag in entity.tags] if entity else [-1]
        row[: len(own)] = own
    block = np.array([blocks.index(entity.block) if entity else -1 for entity in found], dtype=np.int64)
    return Labels(block, of), blocks, tags


def blocks(counts: Counts, names: list[str], material: Material, whole: float, least: int) -> pd.DataFrame:
    """The table `blocks`; `whole` is the accuracy of all attempts."""
    import pandas as pd

    keys, attempts, correct, learners = counts.blocks.sums()
    data = pd.DataFrame({"learners": learners, "attempts": attempts, "correct": correct})
    data = _compared(data, "attempts", whole, least)
    block: list[Any] = [names[key] if key >= 0 else None for key in keys.tolist()]
    title: list[Any] = [material.catalogue.blocks[name] if name else None for name in block]
    data = data.assign(course_block=block, title=title)
    return definitions.table("blocks", _last_unknown(data, keys))


def tags(counts: Counts, names: list[tuple[str, str]], whole: float, least: int) -> pd.DataFrame:
    """The table `tags`; `whole` is the accuracy of all attempts."""
    import pandas as pd

    keys, attempts, correct, learners = counts.tags.sums()
    data = pd.DataFrame({"learners": learners, "answers": attempts, "correct": correct})
    data = _compared(data, "answers", whole, least)
    found: list[tuple[Any, Any]] = [names[key] if key >= 0 else (None, None) for key in keys.tolist()]
    data = data.assign(course_block=[block for block, _ in found], tag=[tag for _, tag in found])
    return definitions.table("tags", _last_unknown(data, keys))


def _compared(data: pd.DataFrame, of: str, whole: float, least: int) -> pd.DataFrame:
    data = with_shares(data, of, least)
    total = np.where(data[of] >= max(least, 1), data[of], 0)
    low, high = wilson(data["correct"].to_numpy(), total)
    return data.assign(against=against(low, high, whole))


def _last_unknown(data: pd.DataFrame, keys: Array) -> pd.DataFrame:
    return data.iloc[np.argsort(keys < 0, kind="stable")]


def own_blocks(counts: Counts, names: list[str], least: int) -> pd.DataFrame:
    """The table `learner_blocks`."""
    import pandas as pd

    least = min(least, LEAST_OWN)
    keys, attempts, correct, _ = counts.own_blocks.sums()
    all_keys, all_attempts, all_correct, _ = counts.blocks.sums()
    place = np.searchsorted(all_keys, keys)
    whole = all_correct[place] / all_attempts[place]
    data = with_shares(pd.DataFrame({"attempts": attempts, "correct": correct}), "attempts", least)
    low, high = wilson(correct, np.where(attempts >= max(least, 1), attempts, 0))
    words = [
        against(low[[n]], high[[n]], share)[0] if attempts[n] >= max(least, 1) else "too few"
        for n, share in enumerate(whole.tolist())
    ]
    names_: list[Any] = [names[key] if key >= 0 else None for key in keys.tolist()]
    data = data.assign(course_block=names_, class_accuracy=percent(whole), against=words)
    return definitions.table("learner_blocks", _last_unknown(data, keys))


def scaled(counts: Counts, least: int) -> Array:
    """The number of each item that gets a place in the Rasch model, or -1: enough learners, not all or none right."""
    learners, right = counts.items.learners, counts.items.right
    good = np.flatnonzero((learners >= max(least, 1)) & (right > 0) & (right < learners))
    good = np.sort(good[np.argsort(-learners[good], kind="stable")][: rasch.MOST_ITEMS])
    numbers = np.full(len(learners), -1)
    numbers[good] = np.arange(len(good))
    return numbers


def items(
    attempts: Attempts, counts: Counts, material: Material, firsts: FirstAnswers, least: int
) -> tuple[pd.DataFrame, Array, Array]:
    """The table `items`, sorted by type and id; difficulties in logits by number; the number of each item, or -1."""
    import pandas as pd

    numbers = scaled(counts, least)
    size = int(numbers.max(initial=-1)) + 1
    logits, errors = rasch.difficulties(lambda: firsts.of(numbers, "items"), size)
    sums = counts.items
    enough = sums.learners >= max(least, 1)
    total = np.where(enough, sums.learners, 0)
    low, high = wilson(sums.right, total)
    difficulty = np.where(enough, percent(sums.right / np.maximum(sums.learners, 1)), np.nan)
    correlation = np.where(enough, counting.discrimination(sums), np.nan)
    logit, error = (np.where(numbers >= 0, np.append(of, np.nan)[numbers], np.nan) for of in (logits, errors))
    preferred = _preferred(attempts, counts)
    found = [material.entities.get(key) for key in attempts.items]
    data = pd.DataFrame(
        {
            "entity_type": [key.kind for key in attempts.items],
            "entity_id": [key.id for key in attempts.items],
            "title": [entity.title if entity else None for entity in found],
            "course_block": [entity.block if entity else None for entity in found],
            "attempts": sums.attempts,
            "learners": sums.learners,
            "right": sums.right,
            "difficulty": difficulty,
            "low": percent(low),
            "high": percent(high),
            "discrimination": np.round(correlation, 2) + 0.0,
            "logit": np.round(logit, 2) + 0.0,
            "logit_error": np.round(error, 2),
            "rating": [_rating(*one) for one in zip(difficulty, correlation, preferred, enough, strict=True)],
            "reason": [
                _reason(*one, least=least)
                for one in zip(sums.learners, sums.right, enough, correlation, numbers, logit, strict=True)
            ],
        }
    )
    return definitions.table("items", data.sort_values(["entity_type", "entity_id"])), logits, numbers


def _preferred(attempts: Attempts, counts: Counts) -> Array:
    """By item: whether more learners gave one and the same wrong answer than were right."""
    most = np.zeros(len(attempts.items), dtype=np.int64)
    for (item, text), learners, right in zip(
        attempts.answers, counts.answer_learners, counts.answer_right, strict=True
    ):
        if text is not OTHER and not right:
            most[item] = max(most[item], learners)
    found: Array = most > counts.items.right
    return found


def _rating(difficulty: float, correlation: float, preferred: bool, enough: bool) -> str:
    if not enough:
        return ""
    found = []
    if difficulty >= TOO_EASY:
        found.append(f"too easy ({TOO_EASY} % or more right)")
    if difficulty < TOO_HARD:
        found.append(f"too hard (less than {TOO_HARD} % right)")
    if correlation < 0:
        found.append("the better the learner, the worse: is the key right?")
    elif correlation < WEAK:
        found.append(f"hardly tells good from weak (below {WEAK})")
    if preferred:
        found.append("one wrong answer is more frequent than the right ones")
    return "; ".join(found)


def _reason(
    learners: int, right: int, enough: bool, correlation: float, number: int, logit: float, *, least: int
) -> str:
    if not enough:
        return f"fewer than {least} learners"
    if right == learners:
        return "everybody was right"
    if right == 0:
        return "nobody was right"
    if np.isnan(correlation):
        return "the learners do not differ in the rest"
    if number < 0:
        return f"only the {rasch.MOST_ITEMS} items with the most learners are in the Rasch model"
    return "" if not np.isnan(logit) else "no learner compares it with the other items"


def answers(attempts: Attempts, counts: Counts, hidden: bool) -> pd.DataFrame:
    """The table `answers`: by item, the most frequent ones first. With `hidden`, no e-mail address is shown in one.

    Answers of fewer than FEWEST learners are in one row; it is left out if they are fewer even together.
    """
    import pandas as pd

    learners, right = counts.answer_learners, counts.answer_right
    rows: dict[tuple[int, str], list[int]] = {}
    others = "other answers"
    for (item, text), given, correct in zip(attempts.answers, learners.tolist(), right.tolist(), strict=True):
        if given:
            shown = others if text is OTHER or given < FEWEST else _shown(text, hidden)
            held = rows.setdefault((item, shown), [0, 0])
            held[0], held[1] = held[0] + given, held[1] + correct
    table: list[Any] = []
    for (item, shown), (given, correct) in rows.items():
        if shown == others and given < FEWEST:
            continue
        key, all_ = attempts.items[item], int(counts.items.learners[item])
        is_right = True if correct == given else False if correct == 0 else None
        table.append((*key, shown, is_right, given, round(100 * given / all_, 1)))
    columns = list(definitions.TABLES["answers"])
    table.sort(key=lambda row: (row[0], row[1], row[2] == others, -row[4], row[2]))
    return definitions.table("answers", pd.DataFrame(table, columns=columns))


def _shown(text: str, hidden: bool) -> str:
    text = _ADDRESS.sub("…", text) if hidden else text
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
