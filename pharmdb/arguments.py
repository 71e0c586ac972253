"""The types of a command's arguments: papermill and other programs may pass a text where a yes or no is meant."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

from pharmdb.errors import ParameterError

P = ParamSpec("P")
R = TypeVar("R")

# By annotation: what is taken, how it is called, and an example.
_TYPES = {"bool": (bool, "True or False", False), "int": (int, "a whole number", 30)}


def checked(command: Callable[P, R]) -> Callable[P, R]:
    """Refuses a text in place of a yes or no or a number: the text "false" would count as a yes.

    The function then raises ParameterError before it does anything.
    """
    expected = {
        name: _TYPES[parameter.annotation]
        for name, parameter in signature(command).parameters.items()
        if parameter.annotation in _TYPES
    }

    @wraps(command)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        for name in expected.keys() & named.keys():
            (kind, words, example), value = expected[name], named[name]
            if type(value) is not kind:
                raise ParameterError(
                    expected=f"{name} to be {words}",
                    found=f"{name}={value!r}, a {type(value).__name__}",
                    note=f"for example {name}={example} in Python, or -p {name} {example} with papermill",
                )
        return command(*arguments, **named)

    return call
