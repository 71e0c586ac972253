"""A catalogue of one's own: read as it is written, or every mistake in it by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.catalogues import FILES, small

from pharmdb.errors import CatalogueError
from pharmdb.learning import catalogue
from pharmdb.learning.catalogue import Answer


def problems(folder: Path, **changed: str) -> list[tuple[str, int, str, str]]:
    """File, line, column and reason of each mistake."""
    with pytest.raises(CatalogueError) as caught:
        catalogue.read(small(folder, **changed))
    assert caught.value.unchanged == "nothing was written"
    return [(file, line, column, reason) for file, line, column, _, reason in caught.value.problems]


def test_it_is_read_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path)
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path.parent))
    found = catalogue.read(tmp_path.name)
    assert found.modules == {"question": "Question Bank", "case": "caseReasoning"}
    assert found.blocks == {"block-1": "Heart"}
    question, case = found.entities
    assert question.tags == ("beta blockers", "ACE")
    assert question.feedback is None
    assert case.answers == (Answer('["1", 2.5]', 65), Answer('"3"', 0))
    # It is read again, not remembered: somebody may be working on it.
    small(tmp_path, blocks="course_block,title\nblock-1,Vessels\n")
    assert catalogue.read(tmp_path.name).blocks == {"block-1": "Vessels"}


def test_all_mistakes_of_all_files_are_listed_by_line(tmp_path: Path) -> None:
    (tmp_path / "drugs.csv").touch()
    found = problems(
        tmp_path,
        modules="entity_type,module\nquestion,Question Bank\nquestion,\ndrug,x\n",
        blocks="course_block,title\nblock-1,Heart\nblock-2,Nobody\n",
        tags="course_block,tag\nblock-1,ACE\nblock-3,x\n",
        entities=FILES["entities.csv"] + "question,q2,block-2x,ACE;ACE,T,\nquestion,q1,block-1,ACE,T,{\n",
        answers=FILES["answers.csv"].replace(",65", ",101") + "case,q9,1,0\ncase,q1, ,1\n",
    )
    assert found == [
        ("answers.csv", 4, "score", "not a number from 0 to 100"),
        ("answers.csv", 6, "entity_id", "not in entities.csv"),
        ("answers.csv", 7, "answers", "not JSON"),
        ("blocks.csv", 3, "course_block", "no entity in this block"),
        ("drugs.csv", 0, "", "not a catalogue file: " + ", ".join(catalogue.FILES)),
        ("entities.csv", 2, "tags", "not in tags.csv"),
        ("entities.csv", 3, "entity_type", "not in modules.csv"),
        ("entities.csv", 3, "entity_id", "no right answer in answers.csv, with a score of 50 or more"),
        ("entities.csv", 4, "tags", "a tag is repeated"),
        ("entities.csv", 4, "course_block", "not in blocks.csv"),
        ("entities.csv", 4, "entity_id", "no right answer in answers.csv, with a score of 50 or more"),
        ("entities.csv", 4, "entity_id", "no wrong answer in answers.csv, with a score below 50"),
        ("entities.csv", 5, "feedback", "not JSON"),
        ("entities.csv", 5, "", "duplicate key, first in line 2"),
        ("modules.csv", 3, "module", "empty"),
        ("modules.csv", 3, "", "duplicate key, first in line 2"),
        ("modules.csv", 4, "entity_type", "not an entity type: question, case, calc"),
        ("tags.csv", 3, "course_block", "not in blocks.csv"),
    ]


@pytest.mark.parametrize(
    "document",
    ["NaN", "1e999", '"\\ud800"', '"\\u0000"', '"\\\\\\u0000"', "[" * 5000 + "]" * 5000, "{'a': 1}", "1 2"],
    ids=lambda document: document[:12],
)
def test_what_a_database_would_not_store_is_no_answer(tmp_path: Path, document: str) -> None:
    cell = document.replace('"', '""')
    found = problems(tmp_path, answers=FILES["answers.csv"] + f'case,q1,"{cell}",0\n')
    assert [problem[:3] for problem in found] == [("answers.csv", 6, "answers")]


def test_text_that_only_looks_like_a_nul_is_an_answer(tmp_path: Path) -> None:
    small(tmp_path, answers=FILES["answers.csv"] + 'case,q1,"""\\\\u0000""",0\n')
    assert catalogue.read(tmp_path).entities[1].answers[-1].document == r'"\\u0000"'


def test_right_answers_alone_are_not_enough(tmp_path: Path) -> None:
    answers = FILES["answers.csv"].replace(",0\n", ",50\n")
    reason = "no wrong answer in answers.csv, with a score below 50"
    assert problems(tmp_path, answers=answers) == [("entities.csv", n, "entity_id", reason) for n in (2, 3)]


def test_a_file_that_cannot_be_read_brings_no_mistakes_of_others(tmp_path: Path) -> None:
    for name in ("blocks", "entities", "answers"):
        assert problems(tmp_path, **{name: "x,y\n1,2\n"})[0][:2] == (f"{name}.csv", 1)
        assert {file for file, *_ in problems(tmp_path, **{name: "x,y\n1,2\n"})} == {f"{name}.csv"}


def test_a_folder_that_is_not_there_and_one_without_entities(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError) as caught:
        catalogue.read(tmp_path / "nowhere")
    assert {problem[0] for problem in caught.value.problems} == set(catalogue.FILES)
    head = {name: text.partition("\n")[0] + "\n" for name, text in FILES.items()}
    found = problems(tmp_path, **{name.removesuffix(".csv"): text for name, text in head.items()})
    assert found == [("entities.csv", 0, "", "no entities")]
