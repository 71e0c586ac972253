"""Two checksums of a table: one over the old system's values, one over the rows that the target holds.

Each imported row is a line of text, and the checksum is the SHA-256 of the lines in the order of the ids. Old and new
values become the same line in different ways, and in none of those in which a value is converted: an old value by
Python or by SQL of the source, a new one by SQL of the target that inverts the conversion.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection

from pharmdb.database import dialect
from pharmdb.legacy import second_reader
from pharmdb.legacy.stages import BATCH
from pharmdb.schema.canonical import canonical_json, is_too_deep

MODULUS = 2**256
NONE = "0" * 64
# Between the columns of a line; such a character is in no text that a person writes.
SEPARATOR = "\x1f"


def digest(value: object) -> int:
    """The SHA-256 hash of a value's repr, as an integer."""
    return int.from_bytes(sha256(repr(value).encode("utf-8", "surrogatepass")).digest(), "big")


@dataclass
class Sum:
    """The checksum of lines that come in blocks of any size. `value` is 64 hex digits; NONE without a line."""

    _hash: Any = field(default_factory=sha256)
    value: str = NONE

    def add(self, lines: bytes) -> None:
        """Adds lines that are joined by line feeds."""
        if lines:
            self._hash.update(lines)
            self._hash.update(b"\n")
            self.value = self._hash.hexdigest()


def shown(value: str) -> str:
    """The first 12 hex digits of a checksum."""
    return value[:12]


@dataclass(frozen=True)
class Check:
    """How the values of one column become their part of a line.

    `old`: of an old value, by Python. `source`: the same by SQL of the source, of a clean value. `target`: of a stored
    value, by SQL, which gives NULL where only Python can do it; then `selected` is read, and `new` makes it.
    """

    old: Callable[[Any], str]
    source: dict[str, str]
    target: dict[str, str]
    selected: dict[str, str] = field(default_factory=dict)
    new: Callable[[Any], str] = str


def optional(check: Check) -> Check:
    """The same for a column that may be NULL."""

    def unless_null(make: Callable[[Any], str]) -> Callable[[Any], str]:
        return lambda value: "-" if value is None else make(value)

    def sql(form: str) -> str:
        return f"CASE WHEN {{x}} IS NULL THEN '-' ELSE CAST({form} AS TEXT) END"

    return replace(
        check,
        old=unless_null(check.old),
        new=unless_null(check.new),
        source={name: sql(form) for name, form in check.source.items()},
        target={name: sql(form) for name, form in check.target.items()},
    )


def line(parts: Iterable[str]) -> bytes:
    """A row's line of its columns' parts."""
    return SEPARATOR.join(parts).encode("utf-8", "surrogatepass")


# -- numbers and text -----------------------------------------------------------------------------------


def _number(value: Any) -> str:
    return str(int(value))


_AS_IT_IS = {"sqlite": "{x}", "postgresql": "{x}"}
NUMBER = Check(_number, _AS_IT_IS, _AS_IT_IS, new=_number)
BOOLEAN = replace(NUMBER, target={"sqlite": "{x}", "postgresql": "{x}::int"})

# Two integers that together are the float exactly, if it is 0 or at least 2^-20: 20 and 52 of its binary places. Each
# database writes a float's decimal digits in its own way.
_LEFT, _RIGHT = 2**20, 2**52


def _real(value: Any) -> str:
    scaled = float(value) * _LEFT
    return f"{int(scaled)}:{int((scaled - int(scaled)) * _RIGHT)}"


def _real_sql(whole: str) -> str:
    left = whole.format(f"{{x}} * {_LEFT}")
    return f"{left} || ':' || {whole.format(f'({{x}} * {_LEFT} - {left}) * {_RIGHT}')}"


_REAL = {"sqlite": _real_sql("CAST({} AS INTEGER)"), "postgresql": _real_sql("CAST(trunc({}) AS bigint)")}
REAL = Check(_real, _REAL, _REAL, new=_real)


def _text(value: Any) -> str:
    return str(value)


# An old column may be of an enum.
TEXT = Check(_text, {"sqlite": "{x}", "postgresql": "{x}::text"}, _AS_IT_IS)
EMAIL = replace(TEXT, old=lambda value: str(value).strip().lower())
# Before roles existed, everybody was a USER.
ROLE = replace(TEXT, old=lambda value: value or "USER")

# -- times ----------------------------------------------------------------------------------------------

_PARTS = re.compile(r"(\d+)-(\d+)-(\d+)[T ](\d+):(\d+):(\d+)(?:\.(\d+))? ?(?:Z|([+-])(\d\d):?(\d\d)?)?")
# The year 2000, where rounding changes direction, and the last millisecond of the year 9999, since 1970.
_MIDDLE, _LATEST = 946_684_800_000, 253_402_300_799_999


def rounded(value: Any) -> int:
    """An old time as milliseconds since 1970, rounded to the nearest one."""
    since = _microseconds(value) - _MIDDLE * 1000
    away = (abs(since) + 500) // 1000
    return min(_MIDDLE + (away if since >= 0 else -away), _LATEST)


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


_SINCE = "strftime('%s', {x}) * 1000 + substr({x}, 21, 3)"
# As a float, which is exact enough for milliseconds: EXTRACT calculates with NUMERIC, and is slower.
_EPOCH = "CAST(date_part('epoch', {x}) * 1000 AS bigint)"
TIME = Check(
    lambda value: str(rounded(value)),
    {"sqlite": f"CASE WHEN typeof({{x}}) = 'integer' THEN {{x}} ELSE {_SINCE} END", "postgresql": _EPOCH},
    {"sqlite": f"({_SINCE})", "postgresql": _EPOCH},
    {"postgresql": _EPOCH},
)

# -- documents ------------------------------------------------------------------------------------------


def _as_text(value: Any) -> str:
    # SQLite keeps a bare number in a JSON column as a number.
    return value if isinstance(value, str) else repr(value)


def _decoded(value: Any) -> str:
    """The JSON text; of a string that holds JSON, the JSON in it."""
    text = _as_text(value)
    if text.lstrip().startswith('"'):
        inner: str = json.loads(text)
        with suppress(ValueError):
            if not is_too_deep(inner):
                canonical_json(inner)
                return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", inner)
    return text


# Whether a document begins like a string.
IS_STRING = "({x} COLLATE BINARY >= '\"' AND {x} < '#')"
# SQLite stores the text of a document as it was.
_KEPT = Check(_as_text, {"sqlite": "{x}"}, {"sqlite": "{x}"})
# What was decoded is encoded again, which is how it was stored.
_ENCODED = Check(
    lambda value: json.dumps(_decoded(value), ensure_ascii=False),
    {"sqlite": f"CASE WHEN {IS_STRING} THEN {{x}} ELSE json_quote({{x}}) END"},
    {"sqlite": "json_quote({x})"},
)


def _meaning(text: str) -> str:
    """What JSONB keeps of a document: a string in PostgreSQL's form, canonical JSON of anything else."""
    if text.lstrip().startswith('"'):
        return json.dumps(json.loads(text), ensure_ascii=False)
    return str(canonical_json(text))


_MEANT = Check(
    lambda value: _meaning(_as_text(value)),
    # A clean one of SQLite has PostgreSQL's form.
    {"sqlite": "{x}", "postgresql": "{x}::text"},
    {"postgresql": "CASE WHEN jsonb_typeof({x}) = 'string' THEN {x}::text END"},
    {"postgresql": "{x}::text"},
    _meaning,
)


def document(*, to_postgresql: bool, decode_json: bool) -> Check:
    """The check of a JSON column."""
    if not to_postgresql:
        return _ENCODED if decode_json else _KEPT
    return replace(_MEANT, old=lambda value: _meaning(_decoded(value))) if decode_json else _MEANT


# -- a whole table of the target --------------------------------------------------------------------------


def of_target(connection: Connection, table: str, checks: dict[str, Check], largest_id: int) -> str:
    """The checksum of the table's rows in the target, up to this id, read by its own SQL."""
    found, own = Sum(), dialect.of(connection)
    with own.planning_without(connection, *_SLOW), ThreadPoolExecutor(1) as thread:
        # So that the server uses several processes, if it has any to spare; what follows only reads.
        own.set_local(connection, parallel_setup_cost="0")
        blocks = _blocks(connection, table, checks, largest_id)
        # A server makes the next blocks meanwhile; a connection to SQLite stays in its thread.
        for block in blocks if own.name == "sqlite" else second_reader.ahead(thread, blocks):
            found.add(block)
    return found.value


# Without statistics of what was just written, PostgreSQL would sort the whole table for each block. A leader that makes
# blocks itself would let its workers wait meanwhile.
_SLOW = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "parallel_leader_participation")


def in_sql(forms: Iterable[str]) -> str:
    """SQL for a line of these parts; NULL if one of them is."""
    return f" || '{SEPARATOR}' || ".join(forms)


_JOINED = {"sqlite": "group_concat(line, char(10))", "postgresql": "string_agg(line, E'\\n' ORDER BY id)"}
# How many blocks the processes of a server make at once, and how many characters these may have: large documents come
# one block after the other.
_AT_ONCE = {"sqlite": 1, "postgresql": 16}
_ROOM = 2**24


def _blocks(connection: Connection, table: str, checks: dict[str, Check], largest_id: int) -> Iterator[bytes]:
    own = dialect.of(connection)
    driver: Any = connection.connection.driver_connection
    made_line = in_sql(check.target[own.name].replace("{x}", column) for column, check in checks.items())
    if own.name == "postgresql" and driver.info.parameter_status("server_encoding") == "SQL_ASCII":
        # There a length is one of bytes.
        made_line = "CAST(NULL AS text)"
    selected = ", ".join(check.selected.get(own.name, "{x}").replace("{x}", name) for name, check in checks.items())
    makers = [check.new for check in checks.values()]
    above, at_once = "", 1
    while above != _END:
        ranges, longest = list[str](), 1
        while above != _END and len(ranges) < at_once:
            some, above = _range(driver, table, above, int(largest_id))
            ranges.append(some)
        blocks = (
            f"SELECT {place} AS place, {_JOINED[own.name]}, count(line), count(*) "
            f"FROM (SELECT id, {made_line} AS line FROM {table} WHERE {some} ORDER BY id) AS some_lines"
            for place, some in enumerate(ranges)
        )
        for place, block, made, rows in sorted(driver.execute(" UNION ALL ".join(blocks)).fetchall()):
            longest = max(longest, len(block or ""))
            if rows and made == rows:
                yield block.encode("utf-8", "surrogatepass")
            elif rows:
                longest = _ROOM
                found = driver.execute(f"SELECT {selected} FROM {table} WHERE {ranges[place]} ORDER BY id").fetchall()
                yield b"\n".join(line(make(v) for make, v in zip(makers, row, strict=True)) for row in found)
        at_once = max(1, min(_AT_ONCE[own.name], _ROOM // longest))


_END = "no more"


def _range(driver: Any, table: str, above: str, largest_id: int) -> tuple[str, str]:
    """A condition for the next BATCH rows in the order of their ids, and one for those above them, or _END."""
    sql = f"SELECT id FROM {table} WHERE {above} id <= {largest_id} ORDER BY id LIMIT 1 OFFSET {BATCH - 1}"
    row = driver.execute(sql).fetchone()
    if row is None:
        return f"{above} id <= {largest_id}", _END
    return f"{above} id <= {row[0]}", f"id > {row[0]} AND"
