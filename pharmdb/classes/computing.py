"""All tables that come from the attempts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pharmdb.classes import activity_tables, counting, definitions, item_tables, learner_tables, rasch
from pharmdb.classes.first_answers import FirstAnswers
from pharmdb.classes.intervals import percent
from pharmdb.classes.material import Material
from pharmdb.classes.population import Population, Terms
from pharmdb.classes.streaming import Attempts

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What a report is about. `names` are those of the class's learners, pseudonyms if they are `hidden`; `own` is the
    position of one learner, or None."""

    population: Population
    terms: Terms
    material: Material
    names: list[str]
    hidden: bool
    own: int | None


def tables(attempts: Attempts, asked: Asked) -> dict[str, pd.DataFrame]:
    """The tables by name, except those of reviews.py."""
    terms, least, stuff = asked.terms, asked.terms.min_attempts, asked.material
    labels, blocks, tags = item_tables.labels(attempts, stuff)
    firsts = FirstAnswers(attempts.folder)
    counts = counting.count(attempts, terms, len(asked.population), labels, asked.own, firsts)
    whole = int(counts.learners.correct.sum()) / max(attempts.count, 1)
    items, logits, numbers = item_tables.items(attempts, counts, stuff, firsts, least)
    ability = rasch.abilities(firsts.of(numbers, "learners"), logits, len(asked.population), least)
    at_risk = learner_tables.at_risk(counts, asked.names, least)
    learners = learner_tables.learners(counts, asked.names, attempts.score_sum, ability, at_risk, least)
    own = learners if asked.own is None else learner_tables.one(learners, asked.names[asked.own])
    return {
        "period": activity_tables.period(attempts, asked.population, terms, asked.hidden),
        "overview": activity_tables.overview(attempts, counts, len(asked.population), least),
        "weeks": activity_tables.weeks(counts, least),
        "blocks": item_tables.blocks(counts, blocks, stuff, whole, least),
        "tags": item_tables.tags(counts, tags, whole, least),
        "curve": activity_tables.curve(counts, least),
        "retention": activity_tables.retention(counts, least),
        "hours": activity_tables.hours(counts),
        "scores": activity_tables.scores(attempts, counts),
        "items": items,
        "answers": item_tables.answers(attempts, counts, asked.hidden),
        "learners": learners,
        "at_risk": at_risk,
        "learner": definitions.empty("learner") if asked.own is None else own,
        "learner_blocks": item_tables.own_blocks(counts, blocks, least),
    }


def notes(tables: dict[str, pd.DataFrame]) -> list[str]:
    """What a reader of the tables has to know besides."""
    blocks, total = tables["blocks"], int(tables["overview"]["attempts"].iloc[0])
    found = []
    unknown = int(blocks.loc[blocks["course_block"].isna(), "attempts"].sum())
    if unknown:
        share = float(percent(np.array(unknown / total)))
        found.append(
            f"{unknown} of {total} attempts ({share} %) are of items that the catalogue does not have, so they have no "
            "block and no tag; name the folder of the course's catalogue with --catalogue"
        )
    if tables["progress"].empty:
        found.append("the application has counted no progress by tag for these learners")
    scaled = tables["items"]["logit"].notna().sum()
    if total and not scaled:
        found.append("no item has enough first answers for the Rasch model")
    return found
