"""Values as JSON in a fingerprint: one by one, and many at a time with what was seen before kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from pharmdb.schema import canonical


def text(value: Any) -> str:
    """A JSON string; NULL is null."""
    if value is None:
        return "null"
    # In a damaged file a column can hold any type of value; it still gets a fingerprint.
    return encode_basestring_ascii(value if isinstance(value, str) else repr(value))


def real(value: Any) -> str:
    """The shortest decimal of a double, as Python writes it."""
    # SQLite has no -0.0
    return repr(value + 0.0) if isinstance(value, (int, float)) else text(value)


@lru_cache(maxsize=4096)
def document(value: Any) -> str:
    """Canonical JSON, or what isn't JSON or nested too deep, as a JSON string."""
    try:
        # A draft may be any text, nested to any depth.
        plain = isinstance(value, str) and canonical.is_too_deep(value)
        return text(value if plain else canonical.canonical_json(value))
    except (ValueError, TypeError, RecursionError):
        return text(value)


class Reals(dict[Any, str]):
    """Doubles, or their decimals, → as JSON."""

    def __missing__(self, key: Any) -> str:
        return self.setdefault(key, real(float(key)))


class Documents:
    """Writes documents as `document` does, many at a time; keeps those that are repeated, up to `most` characters."""

    def __init__(self, most: int, fixed: dict[str, str]) -> None:
        self.most, self.fixed, self.kept, self.characters = most, fixed, dict(fixed), 0

    def written(self, documents: Sequence[str]) -> list[str]:
        """These documents."""
        try:
            return list(map(self.kept.__getitem__, documents))
        except KeyError:
            unknown = set(documents).difference(self.kept)
        together = canonical.canonical_texts(unknown)
        found = {key: encode_basestring_ascii(together[key]) if key in together else document(key) for key in unknown}
        written = [found[key] if key in found else self.kept[key] for key in documents]
        if len(unknown) > len(documents) // 2:
            # They are hardly ever repeated.
            return written
        self.characters += sum(map(len, unknown))
        if self.characters > self.most:
            self.kept, self.characters = dict(self.fixed), 0
        self.kept.update(found)
        return written
