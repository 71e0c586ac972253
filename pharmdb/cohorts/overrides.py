"""A dataset override of a tutor: one course block of the catalogue as a dataset in the application's form."""

from __future__ import annotations

import json
from typing import Any

from pharmdb.learning.catalogue import Catalogue, Entity
from pharmdb.learning.sm2 import CORRECT_FROM

# The application's limits, in characters.
LONGEST_NAME, LONGEST_DESCRIPTION = 255, 1000


def override(catalogue: Catalogue, number: int, tutor: str) -> tuple[str, str, str]:
    """Name, description and JSON text of the override for a group of learners, counted from 0; blocks take turns."""
    block, title = list(catalogue.blocks.items())[number % len(catalogue.blocks)]
    entities = [entity for entity in catalogue.entities if entity.block == block]
    dataset = {
        "courseBlocks": [{"id": block, "title": _text(title), "description": _text(title)}],
        "drugs": [],
        "questions": [_question(entity) for entity in entities if entity.kind == "question"],
        "cases": [_case(entity) for entity in entities if entity.kind == "case"],
        "interactions": [],
        "doseTemplates": [_dose_template(entity) for entity in entities if entity.kind == "calc"],
    }
    description = f"{title}, for group {number + 1}"
    return f"by {tutor}"[:LONGEST_NAME], description[:LONGEST_DESCRIPTION], json.dumps(dataset, ensure_ascii=False)


def _text(text: str) -> dict[str, str]:
    """A text in the application's two languages. The catalogue has one."""
    return {"en": text, "cs": text}


def _question(entity: Entity) -> dict[str, Any]:
    options = [{"id": id_, "text": _text(f"Option {id_}"), "correct": right} for id_, right, _ in _choices(entity)]
    stem = _text(entity.title)
    return {"id": entity.id, "stem": stem, "options": options, "explanation": stem} | _place(entity)


def _case(entity: Entity) -> dict[str, Any]:
    choices = _choices(entity)
    missed = ("contraindicationsMissed", "interactionsMissed", "monitoringMissing")
    feedback = json.loads(entity.feedback or "null")
    found = feedback if isinstance(feedback, dict) else {}
    correct = max(score for _, _, score in choices) if choices else 0
    rest = 100 - correct
    rubric = {
        "correctChoiceId": next((id_ for id_, right, _ in choices if right), ""),
        **{part: [str(each) for each in found.get(part) or ()] for part in missed},
        "scoring": {"correct": correct, "safety": rest - rest // 3, "monitoring": rest // 3},
    }
    return {
        "id": entity.id,
        "stem": _text(entity.title),
        "patient": {},
        "vitals": {},
        "choices": [
            {"id": id_, "option": _text(f"Choice {id_}"), "explanation": _text(f"Choice {id_}")} for id_, *_ in choices
        ],
        "rubric": rubric,
    } | _place(entity)


def _dose_template(entity: Entity) -> dict[str, Any]:
    title = _text(entity.title)
    return {"id": entity.id, "title": title, "inputs": [], "formula": title, "example": title, "tags": [*entity.tags]}


def _place(entity: Entity) -> dict[str, Any]:
    return {"courseBlockId": entity.block, "tags": [*entity.tags]}


def _choices(entity: Entity) -> list[tuple[str, bool, float]]:
    """Id, whether it is right, and score of each answer of the form {"selected": id}."""
    found = []
    for answer in entity.answers:
        document = json.loads(answer.document)
        if isinstance(document, dict) and isinstance(id_ := document.get("selected"), str):
            found.append((id_, answer.score >= CORRECT_FROM, answer.score))
    return found
