"""A text where a yes or no or a number is meant is refused by every public function, before anything is done."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import pharmdb
from pharmdb.errors import ParameterError

TYPED = [
    (name, parameter.name, parameter.annotation)
    for name in pharmdb.__all__
    for function in [getattr(pharmdb, name)]
    if inspect.isfunction(function)
    for parameter in inspect.signature(function).parameters.values()
    if parameter.annotation in ("bool", "int") and parameter.kind is parameter.KEYWORD_ONLY
]
WRONG = {"bool": ["false", "no", "", 0, None], "int": ["90", True, 9.0, None]}


@pytest.mark.parametrize(("name", "parameter", "annotation"), TYPED)
def test_a_value_of_another_type_is_refused(name: str, parameter: str, annotation: str) -> None:
    function = getattr(pharmdb, name)
    needed: dict[str, Any] = {
        each.name: ""
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    for value in WRONG[annotation]:
        with pytest.raises(ParameterError) as error:
            function(**needed | {parameter: value})
        assert parameter in error.value.expected
        assert repr(value) in error.value.found


def test_there_are_such_parameters() -> None:
    assert {("reset", "backup", "bool"), ("upgrade", "dry_run", "bool"), ("inspect", "days", "int")} <= set(TYPED)
