"""Converts each old value to the form in which pharmdb stores it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from pharmdb.database import ids
from pharmdb.legacy.stages import RejectedError
from pharmdb.schema import json_values
from pharmdb.schema.canonical import DEEPEST
from pharmdb.types import time_text

LARGEST = 2**31 - 1


# The same characters that the constraints revision trims.
WHITE_SPACE = " \t\r\n"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)([ T])(\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?: (?=[+-]))?(Z|[+-]\d\d(?::?\d\d)?)?")
# Less than four months around 1970, where seconds or days would end up if they were read as milliseconds.
NEAR_EPOCH = 10_000_000_000


def time(value: Any) -> str:
    """Converts milliseconds since 1970, ISO 8601 with a zone, or the database's own UTC text to our UTC text."""
    try:
        if isinstance(value, (int, float)):
            # 0 is the same moment in every unit.
            if 0 < abs(value) < NEAR_EPOCH:
                raise RejectedError("too small for milliseconds since 1970; perhaps seconds", f"{value!r}")
            found = _EPOCH + timedelta(milliseconds=value)
        elif isinstance(value, str) and (match := _TIME.fullmatch(value)):
            day, separator, clock, zone = match.groups()
            if separator == "T" and not zone:
                raise RejectedError("a time without its zone", value)
            found = datetime.fromisoformat(f"{day}T{clock}{zone or 'Z'}")
        else:
            raise RejectedError("not a valid time", f"{value!r:.60}")
        return time_text(found)
    except (ValueError, OverflowError):
        raise RejectedError("not a valid time", f"{value!r:.60}") from None


_BELOW_MILLISECONDS = re.compile(r"\.\d{3}\d*[1-9]")


def is_rounded(value: Any) -> bool:
    """Whether an old time is more precise than a millisecond."""
    if isinstance(value, str):
        return _BELOW_MILLISECONDS.search(value) is not None
    return isinstance(value, float) and not value.is_integer()


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise RejectedError("empty") if value is None else RejectedError("not text", f"{value!r:.60}")
    return value


def text_for_postgresql(value: Any) -> str:
    if "\0" in text(value):
        raise RejectedError("text with a NUL character, which PostgreSQL can't store")
    return str(value)


def count_of(value: Any) -> int:
    if not 0 <= (found := integer(value)) <= LARGEST:
        raise RejectedError(f"not from 0 to {LARGEST}", f"{value}")
    return found


def id_of(value: Any) -> int:
    if integer(value) > ids.LARGEST:
        raise RejectedError("too large to continue from", f"{value}")
    return int(value)


def integer(value: Any) -> int:
    # The column may have got another type than Prisma's, such as NUMERIC. What is finite as a float is not too long.
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RejectedError("not a whole number", shown(value))
    return value


def real(value: Any) -> float:
    """The float that is nearest to the number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        raise RejectedError("not a number", shown(value))
    return float(value)


def is_inexact(value: Any) -> bool:
    """Whether an old number has more digits than a float keeps."""
    return isinstance(value, Decimal) and Decimal(repr(float(value))) != value


def shown(value: Any) -> str:
    """A number as a reason shows it."""
    return (str(value) if isinstance(value, Decimal) else repr(value))[:60]


def boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise RejectedError("neither true nor false", f"{value!r:.60}")
    return bool(value)


def document(value: Any) -> str:
    """The JSON text, in the shape that it has."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # SQLite keeps a bare number in a JSON column as a number.
        value = json.dumps(real(value)) if isinstance(value, float) else str(value)
    try:
        json_values.parse(text(value))
    except json_values.TooDeepError:
        # Brackets in strings count as well; a document with 900 unclosed ones is rare enough to be rejected.
        raise RejectedError(f"JSON nested more than {DEEPEST} levels deep") from None
    except ValueError:
        raise RejectedError("not JSON", f"{value!r:.60}") from None
    return str(value)


def decoded(value: Any) -> str:
    """The JSON text; of a string that holds JSON, the JSON in it."""
    return json_values.decoded_text(document(value))


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


_LONG_NUMBER = re.compile(r"\d[eE][+-]?\d{4}|\d{9999}")


def _storable(number: str) -> int:
    """Checks PostgreSQL's limits for numeric: 131,072 digits before the decimal point, 16,383 after it."""
    try:
        found = Decimal(number)
        exponent = found.as_tuple().exponent
        if found.adjusted() < 131_072 and isinstance(exponent, int) and exponent >= -16_383:
            return 0
    except InvalidOperation:
        pass
    raise RejectedError("JSON with a number that PostgreSQL can't store")


_check_numbers = json.JSONDecoder(parse_int=_storable, parse_float=_storable).decode


def for_postgresql(convert: Callable[[Any], str], value: Any) -> str:
    """Rejects what JSONB can't store: NUL, lone surrogates, numbers beyond numeric's limits."""
    found = convert(value)
    if "\\u" in found:
        plain = json.dumps(json_values.parse(found), ensure_ascii=False)
        if _ESCAPED_NUL.search(plain) or not _is_unicode(plain):
            raise RejectedError("JSON with a character that PostgreSQL can't store")
    if _LONG_NUMBER.search(found):
        _check_numbers(found)
    return found


def _is_unicode(plain: str) -> bool:
    try:
        plain.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_text(value: Any) -> str:
    """Text that is stored as it was written; neither database accepts a NUL there."""
    if "\0" in text(value):
        raise RejectedError("text with a NUL character")
    return str(value)


# The byte order mark, which some editors write at the start of a document.
_MARK = "\ufeff"


def override(document: str, active: Any) -> tuple[str, Any]:
    """An override's document without a byte order mark, and whether it is active: one that isn't JSON is a draft."""
    bare = document.removeprefix(_MARK)
    try:
        json_values.parse(bare)
    except ValueError:
        return document, type(active)(False)
    return bare, active


def email(value: Any) -> str:
    found = text(value).strip(WHITE_SPACE)
    # The ASCII check comes first, because lower() turns the Kelvin sign into a k.
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", found):
        raise RejectedError("not an e-mail address", f"{found!r:.60}")
    return found.lower()


def one_of(*values: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in values:
            raise RejectedError(f"not one of {', '.join(values)}", f"{value!r:.60}")
        return str(value)

    return convert


def language(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,5}", text(value)):
        raise RejectedError("not two to five letters", f"{value!r:.60}")
    return str(value)
