"""Splits a typed statement into tokens, as each database would."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pharmdb.errors import ParameterError

_START, _PART = r"A-Za-z_\x80-\U0010ffff", r"0-9A-Za-z_\x80-\U0010ffff"
_REST = rf"(?P<end>;)|(?P<word>[{_START}][{_PART}$]*+)|(?P<number>[0-9]++)|(?P<space>[ \t\n\r\f\v]++)|(?P<other>.)"
# The rules must be exactly the database's: a quote or comment that ended elsewhere could hide part of the statement.
_POSTGRESQL = re.compile(
    r"(?P<comment>--[^\n\r]*+)|(?P<nested>/\*)"
    r"|(?P<text>(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*+')|[bBxXnN]?'(?:[^']|'')*+'"
    rf"|\$(?P<tag>(?:[{_START}][{_PART}]*+)?)\$.*?\$(?P=tag)\$)"
    rf'|(?P<name>"(?:[^"]|"")*+")|{_REST}',
    re.DOTALL,
)
_SQLITE = re.compile(
    r"(?P<comment>--[^\n]*+|/\*.*?(?:\*/|\Z))|(?P<text>'(?:[^']|'')*+')"
    rf'|(?P<name>"(?:[^"]|"")*+"|`(?:[^`]|``)*+`|\[[^\]]*+\])|{_REST}',
    re.DOTALL,
)
_COMMENT_MARK = re.compile(r"/\*|\*/")


@dataclass(frozen=True)
class Token:
    """A token of a statement: a text, name, word, number, end (`;`) or other, from `start` to `end`.

    `name` is the identifier of a name or word: without quotes, as the database compares it.
    """

    kind: str
    text: str
    name: str
    start: int
    end: int


def tokens_of(statement: str, *, sqlite: bool) -> list[Token]:
    """A statement as tokens, without comments and spaces. Raises ParameterError for an unclosed quote or comment."""
    if "\0" in statement:
        raise ParameterError(expected="a statement without NUL", found="a NUL character", note="SELECT char(0)")
    found: list[Token] = []
    place = 0
    escaped = False
    pattern = _SQLITE if sqlite else _POSTGRESQL
    while place < len(statement):
        match = pattern.match(statement, place)
        assert match is not None
        kind, text = match.lastgroup or "", match[0]
        kind = "text" if match["text"] is not None else kind
        if kind == "nested":
            place = _end_of_comment(statement, place)
            continue
        place = match.end()
        if kind in ("comment", "space"):
            continue
        if kind == "other" and text in ("'", '"') and not sqlite:
            raise ParameterError(expected="closed quotes", found="an unclosed quote", note="close it")
        # PostgreSQL applies the escapes of E'…' also to a continuation of the text on the next line.
        if kind == "text" and escaped and text[0] == "'":
            raise ParameterError(expected="one text", found="E'…' in several parts", note="SELECT E'a' || E'b'")
        escaped = not sqlite and kind == "text" and match["escaped"] is not None
        found.append(Token(kind, text, _named(kind, text, sqlite), match.start(), place))
    return found


def _end_of_comment(statement: str, start: int) -> int:
    depth = 0
    for mark in _COMMENT_MARK.finditer(statement, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    raise ParameterError(expected="a closed comment", found="an unclosed /*", note="SELECT 1 /* a comment */")


def _named(kind: str, text: str, sqlite: bool) -> str:
    if kind == "name":
        return text[1:-1].replace(text[0] * 2, text[0]) if text[0] != "[" else text[1:-1]
    return (text if sqlite else text.lower()) if kind == "word" else ""
