"""Values as JSON in a fingerprint: one by one, and a column of many at a time."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from pharmdb.schema import canonical

# The separator between values, a control character that text hardly ever contains, and the stand-in for NULL, which
# nobody can have written.
CUT, NULL = "\x1e", f"\x1f{secrets.token_hex(4)}"
_CUT, _NULL = CUT.encode(), NULL.encode()
# The bytes of text that is JSON as it is, between quotes.
_PLAIN = bytes(set(range(ord(" "), ord("~") + 1)) - set(b'"\\')) + _CUT + _NULL[:1]
_DIGITS = b"0123456789" + _CUT
# Characters of a document that is worth keeping: thousands of longer ones would fill the memory.
_SHORT = 2_000
# Bytes of a column's values that are kept, and about what each takes besides its text.
_KEPT, _EACH = 64_000_000, 150


def text(value: Any) -> str:
    """A JSON string; NULL is null."""
    if value is None:
        return "null"
    # In a damaged file a column can hold any type of value; it still gets a fingerprint.
    return encode_basestring_ascii(value if isinstance(value, str) else repr(value))


def real(value: Any) -> str:
    """The shortest decimal of a double, as Python writes it; a whole number below 2⁶³ as an integer."""
    if not isinstance(value, (int, float)):
        return text(value)
    return str(int(value)) if abs(value) < 2**63 and value == int(value) else repr(float(value))


def integer(value: Any) -> str:
    """An integer, or true or false."""
    return canonical.encode(value) if isinstance(value, int) else real(value)


def document(value: Any) -> str:
    """Canonical JSON, or what isn't JSON or nested too deep, as a JSON string."""
    short = not isinstance(value, (str, bytes)) or len(value) <= _SHORT
    return _short_document(value) if short else _document(value)


def _document(value: Any) -> str:
    try:
        # A draft may be any text, nested to any depth.
        plain = isinstance(value, str) and canonical.is_too_deep(value)
        return text(value if plain else canonical.canonical_json(value))
    except (ValueError, TypeError, RecursionError):
        return text(value)


_short_document = lru_cache(maxsize=4096)(_document)


class AlikeError(Exception):
    """Values that were joined can't be told apart."""


class Values(ABC):
    """Writes the values of a column, which a database has joined with CUT between them."""

    def lines(self, joined: bytes, rows: int) -> bytes:
        """Each value as JSON and a line feed. Raises AlikeError if these are not as many values as rows."""
        if joined.count(_CUT) != rows - 1:
            raise AlikeError
        return self.written(joined)

    @abstractmethod
    def written(self, joined: bytes) -> bytes:
        """Each value as JSON and a line feed."""


class Integers(Values):
    """Integers, as they are."""

    def written(self, joined: bytes) -> bytes:
        return joined.replace(_CUT, b"\n") + b"\n"


class Texts(Values):
    """Text or times, NULL among them if the column is nullable."""

    def __init__(self, *, nullable: bool) -> None:
        self.nullable = nullable

    def written(self, joined: bytes) -> bytes:
        if not joined.translate(None, _PLAIN):
            lines = b'"' + joined.replace(_CUT, b'"\n"') + b'"\n'
            if self.nullable:
                lines = lines.replace(b'"' + _NULL + b'"', b"null")
            if _NULL[:1] not in lines:
                return lines
        try:
            values = joined.decode().split(CUT)
        except UnicodeDecodeError:
            # Read row by row, this is the database's own error.
            raise AlikeError from None
        written = [text(None if value == NULL else value) for value in values]
        return "\n".join([*written, ""]).encode()


class _Kept(Values):
    """Values that are written one by one, and kept as long as they are repeated."""

    def __init__(self) -> None:
        self.kept = {_NULL: b"null"}
        self.bytes = 0

    def written(self, joined: bytes) -> bytes:
        values = joined.split(_CUT)
        try:
            lines = list(map(self.kept.__getitem__, values))
        except KeyError:
            found = self.made(set(values).difference(self.kept))
            lines = [found[value] if value in found else self.kept[value] for value in values]
            self._keep(found, rows=len(values))
        return b"\n".join([*lines, b""])

    @abstractmethod
    def made(self, values: set[bytes]) -> dict[bytes, bytes]:
        """These values as JSON."""

    def _keep(self, found: dict[bytes, bytes], rows: int) -> None:
        if len(found) > rows // 2:
            # They are hardly ever repeated.
            return
        self.bytes += sum(map(len, found)) + sum(map(len, found.values())) + _EACH * len(found)
        if self.bytes > _KEPT:
            self.kept, self.bytes = {_NULL: b"null"}, 0
        self.kept.update(found)


class Reals(_Kept):
    """Doubles, as decimals that represent them exactly: digits alone are an integer."""

    def written(self, joined: bytes) -> bytes:
        if not joined.translate(None, _DIGITS):
            return joined.replace(_CUT, b"\n") + b"\n"
        return super().written(joined)

    def made(self, values: set[bytes]) -> dict[bytes, bytes]:
        return {value: real(float(value)).encode() for value in values}


class Documents(_Kept):
    """JSON documents."""

    def made(self, values: set[bytes]) -> dict[bytes, bytes]:
        try:
            texts = {value.decode(): value for value in values}
        except UnicodeDecodeError:
            raise AlikeError from None
        together = canonical.canonical_texts(texts)
        return {
            value: (encode_basestring_ascii(together[text_]) if text_ in together else document(text_)).encode()
            for text_, value in texts.items()
        }


def sorted_together(keys: Sequence[Sequence[Any]], columns: Sequence[bytes]) -> list[bytes]:
    """The lines of all columns in the order of the keys; rows with equal keys in the order of their lines."""
    rows = sorted(zip(*keys, zip(*(column.splitlines() for column in columns), strict=True), strict=True))
    return [b"\n".join([*column, b""]) for column in zip(*(row[-1] for row in rows), strict=True)]
