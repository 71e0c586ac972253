"""Errors are data: fields, types, one message in four parts, no secret in any of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pharmdb import errors
from pharmdb.errors import FilesError, PharmdbError, mask

FIELDS = ("expected", "found", "unchanged", "command", "note")
TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20).filter(
    lambda text: errors.mask(text) == text
)


def kinds(base: type[PharmdbError] = PharmdbError) -> Iterator[type[PharmdbError]]:
    yield base
    for kind in base.__subclasses__():
        yield from kinds(kind)


KINDS = sorted(set(kinds()) - set(kinds(FilesError)), key=lambda kind: kind.__name__)


def test_every_typed_error_says_what_it_is_and_stands_in_one_module() -> None:
    for kind in kinds():
        assert kind.__doc__
        assert getattr(errors, kind.__name__) is kind


@pytest.mark.parametrize("kind", KINDS)
@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT)))
def test_each_field_is_kept_and_survives_another_process(kind: type[PharmdbError], parts: dict[str, str]) -> None:
    error = kind(**parts)
    again = pickle.loads(pickle.dumps(error))
    for found in (error, again):
        assert type(found) is kind
        assert {field: getattr(found, field) for field in FIELDS} == parts
    assert str(again) == str(error)


@pytest.mark.parametrize("command", ["", "pharmdb reset"])
@pytest.mark.parametrize("note", ["", "all of it goes"])
def test_the_message_has_four_labelled_parts_and_the_command_first(command: str, note: str) -> None:
    error = PharmdbError(expected="one", found="two", command=command, note=note)
    lines = [line.strip() for line in str(error).strip().splitlines()]
    assert [line.partition(":")[0] for line in lines[:4]] == ["expected", "found", "unchanged", "next"]
    advice = [lines[3].removeprefix("next:").strip(), *lines[4:]]
    assert [line for line in advice if line] == [part for part in (command, note) if part]
    assert error.unchanged == "nothing was written"


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_holds_a_password(field: str) -> None:
    parts = dict.fromkeys(("expected", "found"), "x") | {field: "postgresql://ann:canary@host/db"}
    error = PharmdbError(**parts)
    assert getattr(error, field) == "postgresql://ann:***@host/db"
    assert "canary" not in str(error) + repr(vars(error))


@pytest.mark.parametrize("value", ["canary", "'a canary'", '"a canary"'])
def test_a_password_in_the_environment_is_masked_however_it_is_quoted(value: str) -> None:
    assert mask(f"export PHARMDB_NEW_PASSWORD={value} CI=1") == "export PHARMDB_NEW_PASSWORD=*** CI=1"


def test_a_long_value_hides_nothing_that_is_said_about_it() -> None:
    value = "x" * 4000
    error = FilesError([("users.csv", 3, "email", value, "too long")], directory="seed")
    assert f"users.csv:3: email = '{'x' * 119}… (4,000 characters): too long" in str(error)
    assert error.problems[0][3] == value


def test_there_is_no_field_for_both_command_and_remark() -> None:
    assert not hasattr(PharmdbError(expected="x", found="y"), "next")
    with pytest.raises(TypeError):
        PharmdbError(expected="x", found="y", next="z")  # type: ignore[call-arg]
