"""A small catalogue of its own."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "modules.csv": "entity_type,module\nquestion,Question Bank\ncase,caseReasoning\n",
    "blocks.csv": "course_block,title\nblock-1,Heart\n",
    "tags.csv": "course_block,tag\nblock-1,beta blockers\nblock-1,ACE\n",
    # One id for two entities, of different types.
    "entities.csv": (
        "entity_type,entity_id,course_block,tags,title,feedback\n"
        "question,q1,block-1,beta blockers;ACE,First,\n"
        'case,q1,block-1,ACE,Second,"{""next"": ""x""}"\n'
    ),
    "answers.csv": (
        "entity_type,entity_id,answers,score\n"
        'question,q1,"{""selected"": ""a""}",100\n'
        'question,q1,"{""selected"": ""ß""}",0\n'
        'case,q1,"[""1"", 2.5]",65\n'
        'case,q1,"""3""",0\n'
    ),
}


def small(folder: Path, **changed: str) -> Path:
    """Writes the catalogue, with other contents for the files that are named, without their .csv."""
    for name, content in (FILES | {f"{name}.csv": text for name, text in changed.items()}).items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder
