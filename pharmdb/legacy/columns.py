"""The columns of the old tables: how a value of each is converted and checked, by Python and by SQL.

Python converts any value, or says why it can't. SQL of an SQLite source converts only values that are clean: for them
it gives exactly what Python gives; server_based.py has the SQL of a PostgreSQL source. The checks are those of
checksums.py, which converts nothing the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from pharmdb.database import ids
from pharmdb.legacy import checksums, conversion
from pharmdb.legacy.checksums import IS_STRING, Check
from pharmdb.legacy.conversion import LARGEST
from pharmdb.legacy.stages import OldTable, RejectedError, Row
from pharmdb.models import ATTEMPT_ENTITY_TYPES, ROLES, DatasetOverride, User
from pharmdb.schema.canonical import DEEPEST


@dataclass(frozen=True)
class Wanted:
    """What an upgrade is to make of its source."""

    to_postgresql: bool
    has_role: bool
    decode_json: bool = False


# Parts of a line for the checksum: NUL, and escapes of characters, some of which can't be stored. For PostgreSQL also
# what COPY would have to escape, and an escape that JSONB does not keep.
UNCLEAN = (b"\0", b"\\u")
UNCLEAN_FOR_POSTGRESQL = (*UNCLEAN, b"\\/", b"\t", b"\r", b"\n")
# SQL that is never true: Python converts all rows of the table.
NEVER = "0"


@dataclass(frozen=True)
class Column:
    """One column. In SQL, {x} stands for the value, which may be of any of SQLite's types.

    `convert`: the value to store, or RejectedError. `clean`: SQL that is true only if `written` gives the same; NEVER
    if SQL is not to convert any. A clean text may still have bytes that are not UTF-8, or what UNCLEAN finds; both are
    looked for in the lines of all rows at once. `copied`: SQL that turns `written` into a field of COPY's text format.
    """

    convert: Callable[[Any], Any]
    check: Check
    clean: str
    written: str = "{x}"
    copied: str = "{x}"


_ESCAPED = r"replace({x}, '\', '\\')"
# All digits of a float; SQLite itself writes 15.
_DIGITS = "CASE WHEN {x} = CAST({x} AS INTEGER) THEN CAST({x} AS INTEGER) ELSE real_text({x}) END"
# Bytes in UTF-8: four of these texts fit into the entry of an index.
_SHORT = 160
# Larger documents are rare, and a batch of them would fill the memory.
_LONG = 10_000


def _typed(type_: str, condition: str) -> str:
    return f"typeof({{x}}) = '{type_}' AND {condition}"


_INTEGER = "integer"
_TEXT = _typed("text", f"length({{x}}) <= {_SHORT}")
# Below this a float's check is not exact.
_SMALLEST = 0.001


def _real_between(low: float, high: int) -> str:
    # As a fraction: SQLite might read the decimal digits as another float.
    least, of = max(low, _SMALLEST).as_integer_ratio()
    zero = "{x} = 0 OR " if low < _SMALLEST else ""
    return _typed("real", f"({zero}({{x}} * {of}.0 >= {least} AND {{x}} <= {high}))")


def _one_of(*values: str) -> str:
    return _typed("text", f"{{x}} COLLATE BINARY IN ({', '.join(map(repr, values))})")


# -- times ----------------------------------------------------------------------------------------------

_DAY, _CLOCK = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]", "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
# The forms of Prisma's adapters, and of the column's own default.
_FORMS = {
    29: f"{_DAY}T{_CLOCK}.[0-9][0-9][0-9]+00:00",
    24: f"{_DAY}T{_CLOCK}.[0-9][0-9][0-9]Z",
    19: f"{_DAY} {_CLOCK}",
}
_OF_A_FORM = " OR ".join(f"(length({{x}}) = {size} AND {{x}} GLOB '{form}')" for size, form in _FORMS.items())
# A day that does not exist becomes another one; length() and GLOB stop at a NUL.
_CLEAN_TIME = f"""CASE typeof({{x}})
WHEN 'integer' THEN {{x}} BETWEEN {conversion.NEAR_EPOCH} AND 253402300799999
WHEN 'text' THEN ({_OF_A_FORM}) AND instr({{x}}, char(0)) = 0 AND substr({{x}}, 1, 4) <> '0000'
AND strftime('%Y-%m-%dT%H:%M:%S', substr({{x}}, 1, 19), '+0 seconds') IS replace(substr({{x}}, 1, 19), ' ', 'T')
ELSE 0 END"""
_WRITTEN_TIME = """CASE WHEN typeof({x}) = 'integer'
THEN strftime('%Y-%m-%dT%H:%M:%f+00:00', {x} / 1000.0, 'unixepoch')
WHEN length({x}) = 19 THEN replace({x}, ' ', 'T') || '.000+00:00' ELSE substr({x}, 1, 23) || '+00:00' END"""

# -- documents ------------------------------------------------------------------------------------------

_BRACKETS = "length({x}) - length(replace(replace({x}, '[', ''), '{', ''))"
_FLAT = f"""CASE WHEN length({{x}}) <= {DEEPEST} THEN 1
WHEN length({{x}}) <= {_LONG} THEN {_BRACKETS} <= {DEEPEST} ELSE 0 END"""
# A string that holds no JSON is left to Python.
_HOLDS_JSON = "CASE WHEN json_valid({x}) THEN json_valid(json_extract({x}, '$')) ELSE 0 END"
_IS_OTHER = "({x} COLLATE BINARY >= '[' AND {x} < '\\' OR {x} COLLATE BINARY >= '{' AND {x} < '|')"


def _document(wanted: Wanted) -> Column:
    convert = conversion.decoded if wanted.decode_json else conversion.document
    check = checksums.document(to_postgresql=wanted.to_postgresql, decode_json=wanted.decode_json)
    string, written = _HOLDS_JSON, "{x}"
    if wanted.to_postgresql:
        convert = partial(conversion.for_postgresql, convert)
        # What JSONB makes of anything but a string only Python can compare. GLOB stops at a NUL, which is never clean.
        clean = NEVER if wanted.decode_json else f"{{x}} GLOB '\"*\"' AND {_HOLDS_JSON}"
        return Column(
            convert, check, NEVER if clean == NEVER else _typed("text", f"{_FLAT} AND {clean}"), copied=_ESCAPED
        )
    if wanted.decode_json:
        written = f"CASE WHEN {IS_STRING} THEN json_extract({{x}}, '$') ELSE {{x}} END"
        # Encoded again it is what it was.
        again = "json_quote(json_extract({x}, '$')) = {x} COLLATE BINARY"
        string = f"CASE WHEN {_HOLDS_JSON} THEN {again} ELSE 0 END"
    clean = f"CASE WHEN {IS_STRING} THEN {string} WHEN {_IS_OTHER} THEN json_valid({{x}}) ELSE 0 END"
    return Column(convert, check, _typed("text", f"{_FLAT} AND {clean}"), written)


# -- all columns ------------------------------------------------------------------------------------------


def _kinds(wanted: Wanted) -> dict[str, Column]:
    text = conversion.text_for_postgresql if wanted.to_postgresql else conversion.text
    boolean = conversion.boolean if wanted.to_postgresql else (lambda value: int(conversion.boolean(value)))
    whole = f"{{x}} BETWEEN 0 AND {LARGEST}"
    return {
        "id": Column(conversion.id_of, checksums.NUMBER, _typed(_INTEGER, f"{{x}} <= {ids.LARGEST}")),
        # Whether there is such a user is a matter of the row.
        "owner": Column(conversion.integer, checksums.NUMBER, _typed(_INTEGER, "1")),
        "text": Column(text, checksums.TEXT, _TEXT, copied=_ESCAPED),
        "document": _document(wanted),
        "time": Column(conversion.time, checksums.TIME, _CLEAN_TIME, _WRITTEN_TIME),
        "count": Column(conversion.count_of, checksums.NUMBER, _typed(_INTEGER, whole)),
        "real": Column(conversion.real, checksums.REAL, NEVER),
        "boolean": Column(boolean, checksums.BOOLEAN, _typed(_INTEGER, "{x} IN (0, 1)")),
    }


def _between(low: float, high: float, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        found = convert(value)
        # Before it is rounded, a decimal number may be out of range.
        inside = Decimal(repr(low)) <= value <= high if isinstance(value, Decimal) else low <= found <= high
        if not inside:
            raise RejectedError(f"not from {low} to {high}", conversion.shown(value))
        return found

    return check


_EMAIL = (
    f"{_TEXT} AND {{x}} = lower({{x}}) COLLATE BINARY AND {{x}} NOT GLOB '*[^!-~]*' AND {{x}} GLOB '?*@?*' "
    "AND length({x}) - length(replace({x}, '@', '')) = 1"
)
_LANGUAGE = f"{_TEXT} AND length({{x}}) BETWEEN 2 AND 5 AND {{x}} NOT GLOB '*[^A-Za-z]*'"
_ANY = checksums.TEXT
# Columns with rules of their own, beyond those of their kind. Overrides are few, and Python converts them all.
_OWN: dict[tuple[str, str], Column] = {
    ("users", "email"): Column(conversion.email, checksums.EMAIL, _EMAIL, copied=_ESCAPED),
    ("users", "role"): Column(conversion.one_of(*ROLES), checksums.ROLE, _one_of(*ROLES)),
    ("user_settings", "language"): Column(conversion.language, _ANY, _LANGUAGE),
    ("attempts", "entity_type"): Column(conversion.one_of(*ATTEMPT_ENTITY_TYPES), _ANY, _one_of(*ATTEMPT_ENTITY_TYPES)),
    ("attempts", "score"): Column(
        _between(0, 100, conversion.real), checksums.REAL, _real_between(0, 100), copied=_DIGITS
    ),
    ("spaced_repetition_items", "ease_factor"): Column(
        _between(1.3, 1_000_000, conversion.real), checksums.REAL, _real_between(1.3, 1_000_000), copied=_DIGITS
    ),
    ("spaced_repetition_items", "interval_days"): Column(
        _between(1, LARGEST, conversion.count_of), checksums.NUMBER, _typed(_INTEGER, f"{{x}} BETWEEN 1 AND {LARGEST}")
    ),
    ("dataset_overrides", "json_text"): Column(conversion.plain_text, _ANY, NEVER, copied=_ESCAPED),
}


def of(table: OldTable, wanted: Wanted) -> dict[str, Column]:
    """The columns of a table by their new names, in the order of the table."""
    kinds = _kinds(wanted)
    found = {}
    for column, kind in zip(table.model.__table__.columns, table.kinds, strict=True):
        made = _OWN.get((table.table, column.name), kinds[kind])
        if (table.model, column.name) == (User, "role") and not wanted.has_role:
            made = replace(made, convert=lambda value: "USER", clean=NEVER)
        found[column.name] = _optional(made) if column.nullable else made
    return found


def _optional(column: Column) -> Column:
    return replace(
        column,
        convert=lambda value: None if value is None else column.convert(value),
        check=checksums.optional(column.check),
        clean=f"({{x}} IS NULL OR ({column.clean}))",
    )


# In the table's own clean rows, {name} is a column; two times of the same form are in the order of their values.
_ORDERED = """(last_reviewed_at IS NULL OR (typeof(next_review_at) = typeof(last_reviewed_at)
AND length(next_review_at) = length(last_reviewed_at) AND next_review_at COLLATE BINARY >= last_reviewed_at))"""


def clean(table: OldTable, wanted: Wanted) -> str:
    """SQL that tells of a row whose columns have their new names whether all its values are clean."""
    conditions = [f"({column.clean.replace('{x}', name)})" for name, column in of(table, wanted).items()]
    if "next_review_at" in table.columns:
        conditions.append(_ORDERED)
    return "\nAND ".join(conditions)


def converter(table: OldTable, wanted: Wanted) -> Callable[[Row], list[Any]]:
    """Returns a function that converts an old row to driver values for the new table, or raises RejectedError."""
    converters = [column.convert for column in of(table, wanted).values()]
    names = table.columns
    ordered = (names.index("next_review_at"), names.index("last_reviewed_at")) if "next_review_at" in names else None
    draft = (names.index("json_text"), names.index("is_active")) if table.model is DatasetOverride else None

    def convert_row(row: Row) -> list[Any]:
        try:
            found = [convert(value) for convert, value in zip(converters, row, strict=True)]
        except RejectedError:
            raise _named(table, converters, row) from None
        if ordered and found[ordered[1]] is not None and found[ordered[0]] < found[ordered[1]]:
            raise RejectedError("next_review_at is before last_reviewed_at")
        if draft:
            found[draft[0]], found[draft[1]] = conversion.override(found[draft[0]], found[draft[1]])
        return found

    return convert_row


def _named(table: OldTable, converters: list[Callable[[Any], Any]], row: Row) -> RejectedError:
    """The reasons for rejecting a row, each with its column's name."""
    reasons: list[RejectedError] = []
    for name, convert, value in zip(table.columns, converters, row, strict=True):
        try:
            convert(value)
        except RejectedError as error:
            # A reason never shows a password hash.
            detail = "" if name == "password_hash" else error.detail
            reasons.append(RejectedError(f"{name} is {error.kind}", detail))
    return RejectedError.of(reasons)
