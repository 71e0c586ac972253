"""Two independent checksums of a table: one from the old system's values, one from the rows that the target holds.

Each row becomes one tuple: old values are converted by this module, independently of conversion.py, and the target's
values by SQL. The checksum is the sum of the tuples' SHA-256 hashes, so it does not depend on their order.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Callable
from contextlib import closing, suppress
from fractions import Fraction
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from pharmdb.database import dialect
from pharmdb.legacy.stages import OldTable, Row
from pharmdb.models import User
from pharmdb.schema.canonical import canonical_json, is_too_deep

MODULUS = 2**256


def digest(value: object) -> int:
    """The SHA-256 hash of a value's repr, as an integer."""
    return int.from_bytes(sha256(repr(value).encode("utf-8", "surrogatepass")).digest(), "big")


def shown(total: int) -> str:
    """The first 12 hex digits of a checksum."""
    return f"{total % MODULUS:064x}"[:12]


_PARTS = re.compile(r"(\d+)-(\d+)-(\d+)[T ](\d+):(\d+):(\d+)(?:\.(\d+))? ?(?:Z|([+-])(\d\d):?(\d\d)?)?")


# The year 2000, where rounding changes direction, and the last millisecond of the year 9999, since 1970.
_MIDDLE, _LATEST = 946_684_800_000, 253_402_300_799_999


def rounded(value: Any) -> int:
    """An old time as microseconds since 1970, rounded to the nearest millisecond."""
    since = _microseconds(value) - _MIDDLE * 1000
    away = (abs(since) + 500) // 1000
    return min(_MIDDLE + (away if since >= 0 else -away), _LATEST) * 1000


def _microseconds(value: Any) -> int:
    if isinstance(value, int):
        return value * 1000
    if isinstance(value, float):
        return round(Fraction(value) * 1000)
    found = _PARTS.fullmatch(value)
    assert found is not None, value
    *clock, fraction, sign, hours, minutes = found.groups()
    seconds = calendar.timegm(tuple(map(int, clock)))
    offset = (int(hours) * 60 + int(minutes or 0)) * 60 if sign else 0
    return (seconds - (offset if sign == "+" else -offset)) * 1_000_000 + int(((fraction or "") + "000000")[:6])


def _document(value: Any) -> str | None:
    return canonical_json(value if isinstance(value, str) else repr(value))


def _decoded(value: Any) -> str | None:
    if isinstance(value, str) and value.lstrip().startswith('"'):
        inner = json.loads(value)
        with suppress(ValueError):
            return _document(value) if is_too_deep(inner) else canonical_json(inner)
    return _document(value)


def _real(value: float) -> float:
    return value + 0.0  # SQLite has no -0.0


_OLD: dict[str, Callable[[Any], Any]] = {"time": rounded, "document": _document, "real": _real, "boolean": int}


def of_old_rows(table: OldTable, *, decode_json: bool) -> Callable[[Row], tuple[Any, ...]]:
    """Returns a function that makes the checksum tuple of an old row."""
    by_kind = _OLD | ({"document": _decoded} if decode_json else {})
    functions = [by_kind.get(kind) for kind in table.kinds]
    if table.model is User:
        functions[table.names.index("email")] = lambda value: value.strip().lower()

    def make(row: Row) -> tuple[Any, ...]:
        return tuple(
            [value if f is None or value is None else f(value) for f, value in zip(functions, row, strict=True)]
        )

    if table.model is not User:
        return make
    # Before roles existed, everybody was a USER.
    role = table.names.index("role")
    return lambda row: make((*row[:role], row[role] or "USER", *row[role + 1 :]))


# SQL for the kinds of values that are not read as they are: times as microseconds, documents as text.
_FORMS = {
    "sqlite": {"time": "strftime('%s', substr({0}, 1, 19)) * 1000000 + substr({0}, 21, 3) * 1000"},
    "postgresql": {
        "time": "(EXTRACT(EPOCH FROM {0}) * 1000000)::bigint",
        "document": "{0}::text",
        "boolean": "{0}::int",
    },
}


def of_target(connection: Connection, table: OldTable, largest_id: int) -> int:
    """The checksum of the table's rows in the target, up to this id, read by its own SQL."""
    forms = _FORMS[connection.dialect.name]
    columns = [forms.get(kind, "{0}").format(column) for column, kind in zip(table.columns, table.kinds, strict=True)]
    functions: dict[str, Callable[[Any], Any]] = {"document": canonical_json, "real": _real}
    made = [(place, functions[kind]) for place, kind in enumerate(table.kinds) if kind in functions]
    sql = f"SELECT {', '.join(columns)} FROM {table.table} WHERE id <= {int(largest_id)}"
    total = 0
    with closing(dialect.of(connection).cursor(connection, "sums")) as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(5000):
            for row in rows:
                values = list(row)
                for place, function in made:
                    values[place] = function(values[place])
                total += digest(tuple(values))
    return total % MODULUS
