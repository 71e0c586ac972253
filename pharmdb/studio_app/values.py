"""Converts values to text and back: the page shows and edits text, the database gets values that fit the column."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

from pharmdb.types import time_text

# The kinds of values, independent of the databases' type names. "raw" is any other PostgreSQL type, which PostgreSQL
# itself parses from text; "any" is an SQLite column that accepts every value.
KINDS = ("text", "integer", "number", "boolean", "datetime", "date", "enum", "json", "bytes", "raw", "any")

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_RANGES = {"smallint": 2**15, "integer": 2**31}


class UnfitError(ValueError):
    """A value that doesn't fit its column; the message is a sentence."""


class OtherValueError(UnfitError):
    """An UnfitError whose message completes "it takes …": what fits, and what doesn't."""


def kind_of_sqlite(declared: str) -> str:
    """The kind of an SQLite column, by SQLite's rules for type affinity and by type names common in other programs."""
    name = declared.upper()
    if "BOOL" in name:
        return "boolean"
    if "INT" in name:
        return "integer"
    if any(word in name for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in name:
        return "bytes"
    return "number" if any(word in name for word in ("REAL", "FLOA", "DOUB")) else "any"


def kind_of_postgresql(type_: str) -> str:
    """The kind of a PostgreSQL column; `type_` is written as by format_type."""
    name = re.sub(r"\(.*?\)", "", type_)
    if name.endswith("[]"):
        return "raw"
    kinds = {
        "text": ("text", "character varying", "character", "name", "citext"),
        "integer": ("smallint", "integer", "bigint"),
        "number": ("real", "double precision", "numeric"),
        "boolean": ("boolean",),
        "datetime": ("timestamp with time zone", "timestamp without time zone"),
        "date": ("date",),
        "json": ("json", "jsonb"),
        "bytes": ("bytea",),
    }
    return next((kind for kind, names in kinds.items() if name in names), "raw")


def shown(value: Any, kind: str) -> str | None:
    """A driver's value as the page shows it; None for NULL. The same on both databases."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if kind == "boolean" and value in (0, 1, "true", "false"):
        return "true" if value in (1, "true") else "false"
    if kind == "datetime" and isinstance(value, str):
        return _short_time(value)
    if isinstance(value, float):
        # The same form as PostgreSQL's.
        return repr(value).removesuffix(".0") if kind == "number" else repr(value)
    return str(value)


def _short_time(text: str) -> str:
    """2026-01-31 23:59:00.5, of PostgreSQL's text and of ours on SQLite."""
    text = text.replace("T", " ", 1).removesuffix("+00:00").removesuffix("+00")
    return text.rstrip("0").removesuffix(".") if "." in text else text


def parsed(text: str, kind: str, *, sqlite: bool, type_: str = "", values: tuple[str, ...] = ()) -> Any:
    """Converts typed text for the driver. On PostgreSQL that is text, which the statement casts.

    Raises UnfitError with a sentence that says what fits.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UnfitError("a lone surrogate can't be stored") from None
    if "\0" in text and not sqlite:
        raise UnfitError("PostgreSQL can't store NUL characters")
    if kind in ("text", "raw", "any"):
        return text
    if kind == "bytes":
        raise UnfitError("bytes can't be typed here")
    if kind == "enum":
        return _one_of(text, values)
    if kind == "json":
        return _json(text)
    value = _READERS[kind](text.strip(), type_)
    if sqlite:
        return int(value) if kind == "boolean" else value
    return str(value).lower() if kind == "boolean" else str(value)


def _one_of(text: str, values: tuple[str, ...]) -> str:
    if text not in values:
        raise OtherValueError(f"one of {', '.join(values)}, not {_quoted(text)}")
    return text


def _json(text: str) -> str:
    def refuse(constant: str) -> None:
        raise UnfitError(f"JSON has no {constant}")

    try:
        json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise UnfitError(
            f"not JSON: {error.msg[0].lower()}{error.msg[1:]}, line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise UnfitError("JSON that is nested too deeply") from None
    return text


def _integer(text: str, type_: str) -> int:
    limit = _RANGES.get(type_, 2**63)
    if not _INTEGER.fullmatch(text):
        raise OtherValueError(f"a whole number, not {_quoted(text)}")
    value = int(text)
    if not -limit <= value < limit:
        raise OtherValueError(f"a whole number from {-limit} to {limit - 1}, not {text}")
    return value


def _number(text: str, type_: str) -> float | str:
    if not _NUMBER.fullmatch(text) or float(text) in (float("inf"), float("-inf")):
        raise OtherValueError(f"a number, not {_quoted(text)}")
    # numeric can have more digits than a float.
    return text if type_.startswith("numeric") else float(text)


def _boolean(text: str, type_: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise OtherValueError(f"true or false, not {_quoted(text)}")
    return words[text.lower()]


def _datetime(text: str, type_: str) -> str:
    """A time without a time zone is taken as UTC, like all times on the page. SQLite's and ours have milliseconds."""
    try:
        value = datetime.fromisoformat(text)
        utc = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise OtherValueError(f"a time like 2026-01-31 23:59:00, not {_quoted(text)}") from None
    if not type_.startswith("timestamp") or type_ == "timestamp(3) with time zone":
        return time_text(utc)
    plain = utc.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"{plain}+00" if type_.endswith("with time zone") else plain


def _date(text: str, type_: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise OtherValueError(f"a date like 2026-01-31, not {_quoted(text)}") from None


_READERS: dict[str, Any] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "datetime": _datetime,
    "date": _date,
}


def _quoted(text: str) -> str:
    return f"“{text}”" if len(text) <= 60 else f"“{text[:60]}…”"


def lowered(text: str) -> str:
    """The text with ASCII letters in lower case, for `contains`; the same on both databases."""
    return re.sub("[A-Z]+", lambda match: match[0].lower(), text)


def to_wire(value: Any) -> str | None:
    """A driver's value as text that keeps its type; used for positions in a page's address."""
    if value is None:
        return None
    tag = {int: "i", float: "f", bytes: "b"}.get(type(value), "t")
    return f"{tag}:{value.hex() if isinstance(value, (bytes, float)) else value}"


def from_wire(text: str | None) -> Any:
    """The inverse of `to_wire`. Raises UnfitError for malformed text, because addresses can be typed."""
    if text is None:
        return None
    readers: dict[str, Any] = {"i": int, "f": float.fromhex, "b": bytes.fromhex, "t": str}
    tag, _, rest = text.partition(":")
    try:
        return readers[tag](rest)
    except (KeyError, ValueError):
        raise UnfitError("the address contains a position that can't be read") from None
