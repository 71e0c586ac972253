"""JSON in two shapes: the value itself, or, as the application stores it, a JSON string that holds it (JSON.stringify).

Readers see the value in both cases. A string that does not hold JSON is a value of its own. Only one level is decoded.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from pharmdb.schema.canonical import DEEPEST, decoder, is_too_deep
from pharmdb.types import DOCUMENT

WHITE_SPACE = " \t\r\n"
_SURROGATE = re.compile("[\ud800-\udfff]")
# Longer documents are rarely repeated, and would fill the memory.
_SHORT = 1000


class TooDeepError(ValueError):
    """JSON nested more than DEEPEST levels deep."""


def _any_number(digits: str) -> int:
    return 0


_loads = decoder()
# Python refuses to parse an int of more than 4,300 digits, but it is valid JSON.
_loads_long = decoder(parse_int=_any_number)


def parse(document: str) -> Any:
    """The value; where it has a number of thousands of digits, its integers become 0.

    Raises TooDeepError, which no string is whatever it holds, or ValueError if it isn't JSON.
    """
    if not is_string(document) and is_too_deep(document):
        raise TooDeepError
    try:
        return _loads(document)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        # Few frames are left on the caller's stack.
        raise TooDeepError from None
    except ValueError:
        return _loads_long(document)


def is_string(document: str) -> bool:
    """Whether a JSON document is a string."""
    return document.lstrip(WHITE_SPACE).startswith('"')


def decoded(value: Any) -> Any:
    """A value of a JSON column in either shape: what a string that holds JSON means; any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except ValueError:
        return value


def decoded_text(document: str) -> str:
    """Like `decoded`, for a JSON document as text. The result is the text that the string holds, as it was written."""
    if not is_string(document):
        return document
    return _short(document) if len(document) <= _SHORT else _decoded_text(document)


def _decoded_text(document: str) -> str:
    try:
        found = parse(document)
        parse(found)
    except ValueError:
        return document
    # A database can't store a lone surrogate, but it can store its escape sequence.
    text: str = found
    return text if text.isascii() else _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


_short = lru_cache(maxsize=4096)(_decoded_text)


# SQL that tells whether valid JSON in a column, {x}, is a string; it reads one character of it, or its type.
IS_STRING = {
    "sqlite": "substr(ltrim({x}, char(9, 10, 13, 32)), 1, 1) = '\"'",
    "postgresql": "jsonb_typeof({x}) = 'string'",
}


class _JSONValue(FunctionElement[Any]):
    type = DOCUMENT
    inherit_cache = True


def json_value(column: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """SQL for the value of a JSON column in either shape, to select, compare or group by: json_value(Attempt.answers).

    It raises no error, whatever a string holds. On PostgreSQL, where each string takes about 30 µs, a string stays one
    if it holds JSON that JSONB can't store, or numbers with exponents of four digits.
    """
    return _JSONValue(column)


_FORMS = {}
# What is not JSON, in a damaged file, has no type.
_FORMS["sqlite"] = """
CASE WHEN json_valid({x}) AND json_type({x}) = 'text' AND json_valid(json_extract({x}, '$'))
THEN json_extract({x}, '$') ELSE {x} END"""

# PostgreSQL has a test for JSON that raises no error only from version 16 on. So regular expressions cut the text into
# tokens, and then replace the innermost arrays and objects by 0, again and again, until a single 0 is left.
_STRING = r'"(?:[^"\\\u0001-\u001f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"'
_SCALAR = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null"
_TOKENS = rf"^(?:{_STRING}|{_SCALAR}|[][{{}},: \t\n\r])*$"
_INNERMOST = r"\[(?:0(?:,0)*)?\]|\{(?:k0(?:,k0)*)?\}"
# What JSONB can't store: NUL, half a surrogate pair, numbers beyond numeric's limits.
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_NO_CHARACTER = r"\\u(?:0000|[dD][89a-fA-F])"
_FORMS["postgresql"] = rf"""
CASE WHEN jsonb_typeof({{x}}) = 'string' AND (
  SELECT CASE WHEN length(d) <= 10000000 AND d ~ '{_TOKENS}'
    -- An escaped backslash is no beginning of an escape.
    AND regexp_replace(replace(d, '\\', '-'), '{_PAIR}', '', 'g') !~ '{_NO_CHARACTER}'
  THEN (
    WITH RECURSIVE bare AS (SELECT regexp_replace(d, '{_STRING}', '"', 'g') AS t), level AS (
      SELECT replace(replace(regexp_replace(regexp_replace(
        t, '{_SCALAR}', '0', 'g'), '[ \t\n\r]+', '', 'g'), '":', 'k'), '"', '0') AS t, 0 AS depth
      FROM bare WHERE t !~ '[eE][+-]?[0-9]{{4}}' AND (length(t) <= 15000 OR t !~ '[0-9]{{255}}')
      UNION ALL
      SELECT regexp_replace(t, '{_INNERMOST}', '0', 'g'), depth + 1
      FROM level WHERE t ~ '{_INNERMOST}' AND depth < {DEEPEST}
    ) SELECT t = '0' FROM level ORDER BY depth DESC LIMIT 1
  ) END
  FROM (SELECT {{x}} #>> '{{}}' AS d OFFSET 0) AS content
) THEN CAST({{x}} #>> '{{}}' AS jsonb) ELSE {{x}} END"""


@compiles(_JSONValue)
def _compiled(element: _JSONValue, compiler: Any, **kw: Any) -> str:
    (column,) = element.clauses
    return f"({_FORMS[compiler.dialect.name]})".replace("{x}", compiler.process(column, **kw))
