"""Parameters of a console statement, such as `:name`: found as tokens, and given their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from pharmdb.errors import ParameterError
from pharmdb.studio_app.tokens import Token


def named(statement: str, tokens: Sequence[Token]) -> list[Token]:
    """The parameters, each as one token with its name; `::type` and `[1:2]` are none."""
    return list(_named(statement, tokens))


def _named(statement: str, tokens: Sequence[Token]) -> Iterator[Token]:
    for mark, word in pairwise(tokens):
        before = statement[mark.start - 1] if mark.start else " "
        if (
            mark.text == ":"
            and word.kind == "word"
            and mark.end == word.start
            and not (before in ":]" or before.isalnum())
        ):
            yield Token("parameter", f":{word.text}", word.text, mark.start, word.end)


def given(statement: str, tokens: Sequence[Token], values: Mapping[str, str | None]) -> dict[str, str | None]:
    """The values of the statement's parameters; None is NULL. Raises ParameterError if one is missing."""
    wanted = [token.name for token in named(statement, tokens)]
    if missing := [name for name in wanted if name not in values]:
        raise ParameterError(
            expected=f"a value for :{missing[0]}",
            found="none",
            note="type it below the statement, or choose NULL or empty text there",
        )
    return {name: values[name] for name in wanted}


def with_literals(statement: str, tokens: Sequence[Token], literals: Mapping[str, str]) -> str:
    """The statement with a literal in place of each parameter.

    In parentheses, so that it joins neither a text before it nor an `E`, under whose rules it would end elsewhere.
    """
    for token in reversed(named(statement, tokens)):
        statement = f"{statement[: token.start]} ({literals[token.name]}) {statement[token.end :]}"
    return statement
