"""Old databases, as Prisma left them at each of its four stages, in plain sqlite3 and plain psycopg.

Every stored value stands beside what has to become of it (`Cell`), and `fates` says for each row whether it has to be
imported, and with which values, or rejected, and for which reason. Nothing here knows how pharmdb works.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import bcrypt
import psycopg

from support import raw

STAGES = (1, 2, 3, 4)
MIGRATIONS = (
    "20260127123216_init",
    "20260127132944_add_role_to_user",
    "20260127140114_add_dataset_override",
    "20260128101532_init",
)
# The new tables in the models' order, and what they were called.
OLD = {
    "users": "User",
    "user_settings": "UserSettings",
    "bookmarks": "Bookmark",
    "attempts": "Attempt",
    "progress_by_tag": "ProgressByTag",
    "spaced_repetition_items": "SpacedRepetitionItem",
    "dataset_overrides": "DatasetOverride",
}
PASSWORD = "Old secret, 8 years: žluť"
START = datetime(2025, 11, 3, 7, 8, 9, tzinfo=UTC)


@cache
def bcrypt_hash(password: str = PASSWORD) -> str:
    """As bcryptjs made it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(10, prefix=b"2a")).decode()


def camel(column: str) -> str:
    first, *rest = column.split("_")
    return first + "".join(word.capitalize() for word in rest)


# -- rows and what becomes of them ------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """Bytes that SQLite is told are text."""

    content: bytes


@dataclass(frozen=True)
class Doc:
    """A JSON document, as text."""

    text: str

    def __eq__(self, other: object) -> bool:
        """Equal in everything but white space: number forms, the order of the keys, keys that occur twice."""
        return isinstance(other, Doc) and exactly(self.text) == exactly(other.text)

    __hash__ = None  # type: ignore[assignment]

    def means(self, other: Doc) -> bool:
        """Equal as values: what JSONB keeps."""
        return bool(meaning(self.text) == meaning(other.text))


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def exactly(text: str) -> Any:
    def number(digits: str) -> tuple[str, str]:
        return "number", digits

    return json.loads(
        text,
        parse_int=number,
        parse_float=number,
        parse_constant=_refuse,
        object_pairs_hook=lambda pairs: ("object", tuple(pairs)),
    )


def meaning(text: str) -> Any:
    def number(digits: str) -> tuple[str, Decimal]:
        return "number", Decimal(digits)

    return json.loads(text, parse_int=number, parse_float=number, parse_constant=_refuse)


def is_json(text: str) -> bool:
    try:
        # Python's int() refuses numbers of thousands of digits; JSON does not.
        json.loads(text, parse_int=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def decoded(stored: str) -> str:
    """The document that a stored JSON text means: if it is a string that holds JSON, then that JSON."""
    value = json.loads(stored, parse_int=str, parse_constant=_refuse)
    return value if stored.lstrip().startswith('"') and is_json(value) else stored


@dataclass(frozen=True)
class Cell:
    """A stored value and what it has to become.

    `bad` is a word of the reason for which its row is rejected; `only` names the one kind of target that can't take it.
    `kept` is what a JSON string that holds JSON has to become if nobody asks to decode it.
    """

    raw: Any
    value: Any = None
    bad: str = ""
    only: str = ""
    kept: Cell | None = None


def same(value: Any) -> Cell:
    return Cell(value, value)


def bad(raw: Any, word: str) -> Cell:
    return Cell(raw, bad=word)


def document(text: str, means: str = "", *, only: str = "") -> Cell:
    """Where `means` is given, the text is a JSON string, and this is what it holds."""
    kept = Cell(text, Doc(text)) if means else None
    return Cell(text, Doc(means or text), bad="answers" if only else "", only=only, kept=kept)


def twice(text: str, *, only: str = "") -> Cell:
    """A document that was encoded again as a JSON string."""
    return document(json.dumps(text), text, only=only)


def feedback(cell: Cell) -> Cell:
    """The same document in the other column."""
    kept = None if cell.kept is None else feedback(cell.kept)
    return replace(cell, bad="feedback" if cell.bad else "", kept=kept)


@dataclass
class Row:
    table: str
    id: int
    cells: dict[str, Cell]

    @property
    def key(self) -> tuple[str, int]:
        return self.table, self.id

    @property
    def owner(self) -> Any:
        return self.cells[raw.OWNERS[self.table]].raw


def row(table: str, id: int, **changes: Any) -> Row:
    """A valid row of user 1 with these changes; a bare value is one that stays as it is."""
    cells = VALID[table] | changes
    return Row(table, id, {name: c if isinstance(c, Cell) else same(c) for name, c in cells.items()})


VALID: dict[str, dict[str, Any]] = {
    "users": {
        "email": "someone@example.test",
        "password_hash": "$2a$10$" + "a" * 53,
        "role": "USER",
        "created_at": Cell("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
    },
    "user_settings": {"user_id": 1, "language": "cs"},
    "bookmarks": {"user_id": 1, "entity_type": "drug", "entity_id": "aspirin"},
    "attempts": {
        "user_id": 1,
        "entity_type": "question",
        "entity_id": "q1",
        "answers": twice('{"choice": ["a", null]}'),
        "score": 62.5,
        "feedback": twice('{"right": false}'),
    },
    "progress_by_tag": {
        "user_id": 1,
        "module": "questions",
        "course_block": "cardiology",
        "tag": "arrhythmias",
        "correct_count": 3,
        "wrong_count": 1,
    },
    "spaced_repetition_items": {
        "user_id": 1,
        "entity_type": "drug",
        "entity_id": "aspirin",
        "ease_factor": 2.5,
        "interval_days": 6,
        "next_review_at": Cell("2026-02-03 04:05:06", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)),
    },
    "dataset_overrides": {
        "name": "an override",
        "description": "why",
        "json_text": '{"a": [1, 2]}',
        "is_active": False,
        "created_by_id": 1,
    },
}
for _table, _names in raw.ROWS.items():
    for _name in _names:
        VALID[_table].setdefault(_name, VALID["users"]["created_at"])


@dataclass
class Fate:
    """What has to become of a row: the values to import, or the words of the reasons, of which one is given."""

    values: dict[str, Any] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def columns(table: str, stage: int) -> list[str]:
    names = list(raw.ROWS[table])
    if table == "users" and stage == 1:
        names.remove("role")
    elif table == "users" and stage < 4:
        # It was added to a table that was there.
        names.sort(key="role".__eq__)
    return names


def tables(stage: int) -> list[str]:
    return [table for table in OLD if stage >= 3 or table != "dataset_overrides"]


def at_stage(rows: Iterable[Row], stage: int) -> list[Row]:
    """Those that a database of this stage has a table for; at stage 4 no override's name is given twice."""
    found, names = [], set()
    for each in rows:
        if each.table == "dataset_overrides":
            name = each.cells["name"].raw
            if stage < 3 or (stage == 4 and name in names):
                continue
            names.add(name)
        found.append(each)
    return found


def fates(rows: Iterable[Row], stage: int, target: str, *, decode: bool = False) -> dict[tuple[str, int], Fate]:
    """What has to become of each row on this kind of target."""
    rows = list(rows)
    found = {each.key: _own_fate(each, stage, target, decode) for each in rows}
    accounts: dict[str, list[tuple[datetime, int]]] = {}
    for each in rows:
        if each.table == "users" and not found[each.key].reasons:
            values = found[each.key].values
            accounts.setdefault(values["email"], []).append((values["created_at"], each.id))
    for same_email in accounts.values():
        for _, id_ in sorted(same_email)[1:]:
            found["users", id_] = Fate(reasons=("mail",))
    taken: set[str] = set()
    overrides = []
    for each in sorted(rows, key=lambda r: r.id):
        if each.table == "users":
            continue
        owner = found.get(("users", each.owner)) if isinstance(each.owner, int) else None
        if owner is None or owner.reasons:
            why = "names no user" if owner is None else "names a user that was rejected"
            found[each.key] = Fate(reasons=(*found[each.key].reasons, why))
        elif each.table == "dataset_overrides" and not found[each.key].reasons:
            overrides.append(found[each.key].values)
            taken.add(overrides[-1]["name"])
    seen: set[str] = set()
    for values in overrides:
        name, number = values["name"], 2
        if name in seen:
            while f"{name} ({number})" in taken:
                number += 1
            values["name"] = f"{name} ({number})"
            taken.add(values["name"])
        seen.add(name)
    return found


def nearest(moment: datetime) -> datetime:
    """To the millisecond; a half goes away from the year 2000, and nothing into the year 10000."""
    middle, step = datetime(2000, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
    down, rest = divmod(moment - middle, step)
    up = rest * 2 > step or (rest * 2 == step and down >= 0)
    return min(middle + down * step + (step if up and moment < LAST else 0 * step), LAST)


def _own_fate(each: Row, stage: int, target: str, decode: bool) -> Fate:
    present = {name: each.cells[name] for name in columns(each.table, stage)}
    if not decode:
        present = {name: cell.kept or cell for name, cell in present.items()}
    reasons = [cell.bad for cell in present.values() if cell.bad and cell.only in ("", target)]
    values = {name: nearest(c.value) if isinstance(c.value, datetime) else c.value for name, c in present.items()}
    if each.table == "users" and stage == 1:
        values["role"] = "USER"
    if each.table == "dataset_overrides" and not reasons:
        bare = str(values["json_text"]).removeprefix("\ufeff")
        if is_json(bare):
            values["json_text"] = bare
        else:
            # Any text is a draft.
            values["is_active"] = False
    if each.table == "spaced_repetition_items" and not reasons:
        last = values["last_reviewed_at"]
        if last is not None and values["next_review_at"] < last:
            reasons.append("review")
    return Fate(reasons=tuple(reasons)) if reasons else Fate(values)


# -- times and documents ----------------------------------------------------------------------------


def moment(ms: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(ms * 1000))


def time(n: int, dialect: str) -> Cell:
    """The n-th of many moments, in one of the forms that stand in one and the same column."""
    micro = n * 1_000 if dialect == "postgresql" else n * 1_000 + 250 * (n % 4)
    value = START + timedelta(days=n, hours=n % 24, microseconds=micro)
    naive = value.replace(tzinfo=None)
    if dialect == "postgresql":
        return Cell(naive.isoformat(sep=" ", timespec="milliseconds"), value)
    ms = (value - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
    west, east = timezone(timedelta(hours=-11, minutes=-30)), timezone(timedelta(hours=5, minutes=45))
    whole = value.replace(microsecond=0)
    in_ms = value.replace(microsecond=value.microsecond // 1000 * 1000)
    forms = [
        Cell(int(ms), moment(int(ms))),
        Cell(naive.isoformat(timespec="milliseconds") + "Z", in_ms),
        Cell(whole.replace(tzinfo=None).isoformat(sep=" "), whole),
        Cell(ms, value),
        Cell(value.astimezone(west).isoformat(timespec="microseconds"), value),
        Cell(naive.isoformat(sep=" ", timespec="milliseconds"), in_ms),
        Cell(whole.astimezone(east).isoformat(), whole),
        Cell(value.isoformat(timespec="milliseconds"), in_ms),
        Cell(naive.isoformat(sep=" ", timespec="microseconds"), value),
        Cell(whole.replace(tzinfo=None).isoformat() + "Z", whole),
    ]
    return forms[n % len(forms)]


FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
READABLE_TIMES = [
    # The same in every unit.
    Cell(0, datetime(1970, 1, 1, tzinfo=UTC)),
    Cell(10_000_000_000, datetime(1970, 4, 26, 17, 46, 40, tzinfo=UTC)),
    Cell("1970-01-01 00:00:01", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    Cell(1767225600123, datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
    Cell(1767225600123.25, datetime(2026, 1, 1, 0, 0, 0, 123250, tzinfo=UTC)),
    Cell(-62135596800000, FIRST),
    Cell(253402300799999, LAST),
    # The column turns text that looks like a number into one.
    Cell("1767225600123", datetime(2026, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
    Cell("0001-01-01T00:00:00.000Z", FIRST),
    Cell("9999-12-31T23:59:59.999+00:00", LAST),
    Cell("2026-03-29T02:30:00+02:00", datetime(2026, 3, 29, 0, 30, tzinfo=UTC)),
    Cell("1900-01-01 00:00:00 +00:00", datetime(1900, 1, 1, tzinfo=UTC)),
    Cell("2026-03-29 02:30:00.25 -0130", datetime(2026, 3, 29, 4, 0, 0, 250_000, tzinfo=UTC)),
    Cell("2026-03-29 02:30:00", datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
    Cell("2026-10-25 02:30:00.5", datetime(2026, 10, 25, 2, 30, 0, 500000, tzinfo=UTC)),
    Cell("2024-02-29T23:59:59.123456-14:00", datetime(2024, 3, 1, 13, 59, 59, 123456, tzinfo=UTC)),
]
UNREADABLE_TIMES: list[Any] = [
    "2026-01-02T03:04:05",
    "2026-01-02T03:04:05.678",
    "2026-01-02",
    "yesterday",
    "",
    "2026-01-02 03:04:05  +00:00",
    "2026-01-02 03:04:05 Z",
    # In seconds, as a day of the Julian calendar, and in the units of Unix times before 1970.
    1767225600,
    1767225600.5,
    "1767225600",
    2461042.5,
    -2208988800,
    -1,
    "2026-02-30 00:00:00",
    "2026-02-30T00:00:00Z",
    "2025-02-29 00:00:00",
    "2026-01-02 24:00:01",
    "2026-01-02T03:04:61Z",
    "2026-13-01 00:00:00",
    "0000-01-01 00:00:00",
    "10000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+02:00",
    "9999-12-31T23:59:59-02:00",
    "2026-01-02T03:04:05+25:00",
    "２０２６-01-02 03:04:05",
    "2026-01-02 03:04:05\0",
    "02.01.2026 03:04",
    Text(b"2026-01-02 03:04:05\xff"),
    b"1767225600123",
    253402300800000,
    -62135596800001,
    2**63 - 1,
    -(2**63),
    9e17,
    1e300,
    float("inf"),
    float("-inf"),
]

# Each written by hand: what is stored, and the document that it is.
DOCUMENTS = [
    document('{"a": 1}'),
    document('{"b":1.0,"a":[1e2,12345678901234567890,0.1000,1E-7,123456789.123456789123456789]}'),
    twice('{"b":1.0,"a":[1e2,12345678901234567890,0.1000,1E-7,123456789.123456789123456789]}'),
    twice("[]"),
    twice("{}"),
    twice("null"),
    twice("true"),
    twice("42"),
    twice("1.0"),
    twice("1e2"),
    twice("-0.0"),
    twice("12345678901234567890"),
    twice('"42"'),
    twice('"plain"'),
    twice('""'),
    document("null"),
    document("false"),
    document("[1, 2]"),
    # Strings that are no JSON stay strings.
    document('"plain"'),
    document('""'),
    document('" "'),
    document('"{"'),
    document('"NaN"'),
    document('"-Infinity"'),
    document('"01"'),
    document('"1."'),
    document('"+1"'),
    document("\"{'a': 1}\""),
    document('"True"'),
    document('"1_000"'),
    document('"４２"'),
    document('"[1,]"'),
    document('"{} {}"'),
    # Two levels at most, and never inside a document.
    document(json.dumps(json.dumps(json.dumps("[1]"))), json.dumps(json.dumps("[1]"))),
    document(json.dumps(json.dumps('{"a": 1}')), json.dumps('{"a": 1}')),
    twice('{"note": "{\\"not\\": \\"decoded\\"}", "list": ["[1]", "2"]}'),
    document('{"note": "[1]"}'),
    twice(' {"white" : "space"}\n'),
    twice('["žluťoučký", "💊", "\\u00e9", "\\ud83d\\udc8a", "\\"", "\\\\", "\\n"]'),
    document('["žluťoučký", "💊", "\\u00e9", "\\ud83d\\udc8a", "\\"", "\\\\", "\\n"]'),
    twice('{"a": 1, "b": 2, "a": 3}'),
    twice("[" * 90 + "]" * 90),
    # Nested too deeply to be decoded, and a string that only looks like it.
    document(json.dumps("[" * 1000 + "]" * 1000)),
    document(json.dumps("[" * 1000)),
    twice('{"long": ' + "9" * 5000 + "}"),
    # JSONB has no place for these.
    twice('"\\ud800"', only="postgresql"),
    twice('{"a": "\\udc00\\ud800"}', only="postgresql"),
    twice('["a\\u0000b"]', only="postgresql"),
    twice('{"\\u0000": 1}', only="postgresql"),
    twice("[1e200000]", only="postgresql"),
]
# What only a column of SQLite holds.
SQLITE_DOCUMENTS = [
    document("42"),
    document("1.5"),
    document("-7"),
    document('"a\\u0000b"', only="postgresql"),
    document('["\\ud800"]', only="postgresql"),
    # Half a pair: JSONB has no place for it, in a string neither.
    replace(
        document('"[\\"\\ud800\\"]"', '["\\ud800"]', only="postgresql"),
        kept=document('"[\\"\\ud800\\"]"', only="postgresql"),
    ),
    bad("{", "answers"),
    bad("hello", "answers"),
    bad("", "answers"),
    bad("NaN", "answers"),
    bad("[NaN]", "answers"),
    bad('{"a": Infinity}', "answers"),
    bad("[1,]", "answers"),
    bad('{"a": 1} x', "answers"),
    bad('{"a": 1}\0', "answers"),
    bad(b'{"a": 1}', "answers"),
    bad(Text(b'{"a": "\xff"}'), "answers"),
    bad(Text(b'"\xed\xa0\x80"'), "answers"),
    bad("[" * 100_000 + "]" * 100_000, "answers"),
]


# -- content ----------------------------------------------------------------------------------------

USERS = (1, 2, 5, 9, 40)


def clean(dialect: str) -> list[Row]:
    """Rows without a fault in every table: ids with gaps, all forms of time, documents encoded once and twice."""

    def created(n: int) -> dict[str, Cell]:
        return {"created_at": time(n, dialect)}

    rows = [
        row("users", id_, email=f"user{id_}@example.test", role="ADMIN" if id_ == 5 else "USER", **created(n))
        for n, id_ in enumerate(USERS)
    ]
    rows[0].cells["password_hash"] = same(bcrypt_hash())
    # Users 9 and 40 have none.
    rows += [
        row(
            "user_settings",
            10 * n + 3,
            user_id=id_,
            language=("en", "cs", "de")[n],
            updated_at=time(n + 7, dialect),
            **created(n + 5),
        )
        for n, id_ in enumerate(USERS[:3])
    ]
    rows += [
        row("bookmarks", 3 * n + 1, user_id=USERS[n % 5], entity_type=f"type {n}", entity_id=text, **created(n))
        for n, text in enumerate(("aspirin", "ASPIRIN", "", " ", "β-blocker", "💊", "it's", 'a "b"', "\\x", "%s", "\t"))
    ]
    rows += [
        row(
            "attempts",
            7 * n + 2,
            user_id=USERS[n % 5],
            entity_type=("question", "case", "calc")[n % 3],
            answers=cell,
            score=(0.0, 100.0, 33.333333333333336, 1e-300, 49.99999999999999)[n % 5],
            feedback=DOCUMENTS[n % 20] if n % 3 else None,
            **created(n),
        )
        for n, cell in enumerate(c for c in DOCUMENTS if not c.only)
    ]
    rows += [
        row(
            "progress_by_tag",
            n + 100,
            user_id=USERS[n % 5],
            tag=f"tag {n // 2}",
            correct_count=n,
            wrong_count=2**31 - 1 - n,
            last_attempt_at=time(n, dialect),
        )
        for n in range(10)
    ]
    rows += [
        row(
            "spaced_repetition_items",
            n + 50,
            user_id=USERS[n % 5],
            entity_id=f"item {n}",
            ease_factor=(1.3, 2.5, 2.36, 1.7000000000000002, 7.0)[n % 5],
            interval_days=n + 1,
            next_review_at=time(n + 40, dialect),
            last_reviewed_at=time(n, dialect) if n % 3 else None,
        )
        for n in range(10)
    ]
    texts = ("{}", "[1.0, 1e2]", '{"b": 1, "a": 2, "a": 3}', ' "text"\n', "null", '"\\u0000\\ud800"')
    rows += [
        row(
            "dataset_overrides",
            2 * n + 11,
            name=f"override {n}",
            description=("", "žluťoučký")[n % 2],
            json_text=text,
            is_active=n % 2 == 0,
            created_by_id=USERS[n % 5],
            updated_at=time(n + 3, dialect),
            **created(n),
        )
        for n, text in enumerate(texts)
    ]
    return rows


def dirty(dialect: str) -> list[Row]:
    """The clean rows and, from id 1001 on, every variation of what a database edited by hand can hold."""
    return [*clean(dialect), *_dirty_users(dialect), *_dirty_children(dialect)]


def _dirty_users(dialect: str) -> list[Row]:
    never = bad("infinity" if dialect == "postgresql" else "yesterday", "created_at")
    first, second, third = (time(n, dialect) for n in (200, 201, 202))

    def lower(text: str) -> Cell:
        return Cell(text, text.strip().lower())

    earlier, later = first, second
    if dialect == "sqlite":
        # The earlier moment is the later text.
        earlier = Cell("2026-01-02T01:00:00+02:00", datetime(2026, 1, 1, 23, 0, tzinfo=UTC))
        later = Cell("2026-01-01 23:30:00", datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    users: list[tuple[Any, Any]] = [
        (lower("Cora@Example.Test"), first),
        (lower("CORA@example.test"), second),
        (lower(" cora@example.test"), third),
        (lower("Dora@example.test"), later),
        (lower("dora@example.test"), earlier),
        (lower(" \t\r\nemil@example.test\n "), first),
        (lower("Fay@example.test"), first),
        (lower("fay@example.test"), first),
        (lower("Gus@example.test"), never),
        (lower("gus@example.test"), second),
        *(
            (bad(text, "email"), first)
            for text in ("nobody", "a@b@c", "h h@example.test", "ÄNNE@x.test", "", "@x", "x@")
        ),
    ]
    if dialect == "sqlite":
        users += [
            (bad("nul@example.test\0", "email"), first),
            (bad(b"\x00\xff@", "email"), first),
            (bad(Text(b"\xff@example.test"), "email"), first),
            *((f"time{n}@example.test", cell) for n, cell in enumerate(READABLE_TIMES)),
            *((f"notime{n}@example.test", bad(cell, "created_at")) for n, cell in enumerate(UNREADABLE_TIMES)),
        ]
    rows = [row("users", id_, email=email, created_at=at) for id_, (email, at) in enumerate(users, start=1001)]
    if dialect == "sqlite":
        rows += [
            row("users", 1201, email="role1@example.test", role=bad("STUDENT", "role")),
            row("users", 1202, email="role2@example.test", role=bad("admin", "role")),
            row("users", 1203, email="role3@example.test", role=bad(b"USER", "role")),
            row("users", 1204, email="hash@example.test", password_hash=bad(b"\x00", "password_hash")),
            row("users", 2**53 + 1, email="far@example.test"),
        ]
    rows += [
        row("users", -1, email="minus@example.test"),
        row("users", 0, email="zero@example.test"),
        row("users", 1301, email="bare@example.test", password_hash=""),
        *(row("users", 1310 + n, email=f"settings{n}@example.test") for n in range(8)),
    ]
    return rows


def _dirty_children(dialect: str) -> list[Row]:
    sqlite = dialect == "sqlite"
    rows: list[Row] = []

    def add(table: str, **changes: Any) -> None:
        id_ = 1001 + len(rows)
        unique = {
            "progress_by_tag": {"tag": f"dirty {id_}"},
            "spaced_repetition_items": {"entity_id": f"dirty {id_}"},
            "dataset_overrides": {"name": f"dirty {id_}"},
        }
        rows.append(row(table, id_, **unique.get(table, {}) | changes))

    for table, owner in raw.OWNERS.items():
        add(table, **{owner: 1002})
        add(table, **{owner: 999_999})
        if sqlite:
            add(table, **{owner: bad("abc", "user")} if owner == "user_id" else {owner: bad("abc", "created_by_id")})
            add(table, **{owner: bad(1.5, "user")} if owner == "user_id" else {owner: bad(1.5, "created_by_id")})
    for n, language in enumerate(("e", "", "english", "e1", "čs")):
        add("user_settings", user_id=1310 + n, language=bad(language, "language"))
    add("user_settings", user_id=1315, language="CS")
    if sqlite:
        add("user_settings", user_id=1316, created_at=bad("never", "created_at"))
        add("user_settings", user_id=1317, updated_at=bad("never", "updated_at"))
    for entity_id in (Cell("a" * 5000, "a" * 5000, bad="entity_id", only="postgresql"), "line\nline"):
        add("bookmarks", entity_id=entity_id, user_id=-1)
    for n, cell in enumerate(DOCUMENTS + SQLITE_DOCUMENTS * sqlite):
        add("attempts", answers=cell)
        if n % 4 == 0:
            add("attempts", feedback=feedback(cell))
    for score in (-1.0, 100.00000000000001, 150.0, float("inf"), float("-inf")):
        add("attempts", score=bad(score, "score"))
    add("attempts", score=Cell(62, 62.0))
    for counts in ((-1, 0), (0, -1)):
        names = ("correct_count", "wrong_count")
        add("progress_by_tag", **{k: bad(v, "count") if v < 0 else v for k, v in zip(names, counts, strict=True)})
    for factor in (1.2999999999999998, 0.0, -2.5, float("inf")):
        add("spaced_repetition_items", ease_factor=bad(factor, "ease_factor"))
    for days in (0, -3):
        add("spaced_repetition_items", interval_days=bad(days, "interval_days"))
    add("spaced_repetition_items", next_review_at=time(10, dialect), last_reviewed_at=time(11, dialect))
    add("spaced_repetition_items", next_review_at=time(10, dialect), last_reviewed_at=time(10, dialect))
    for text in ("{", "", "NaN", "[Infinity]", "{'a': 1}", "1 2"):
        add("dataset_overrides", json_text=text)
        add("dataset_overrides", json_text=text, is_active=True)
    for text in ('\ufeff{"a": 1}', "\ufeff", "\ufeff\ufeff{}", "\ufeffnot yet", "[" * 9000 + "]" * 8999):
        add("dataset_overrides", json_text=text)
        add("dataset_overrides", json_text=text, is_active=True)
    # The one whose owner is nobody takes no name away.
    add("dataset_overrides", name="y", created_by_id=999_999)
    for name in ("x", "x (2)", "x", "x", "y", "x (2)", "X", "z", "z", "z (2)"):
        add("dataset_overrides", name=name)
    if not sqlite:
        for time_ in ("infinity", "-infinity", "2026-01-01 00:00:00 BC", "10000-01-01 00:00:00"):
            add("bookmarks", created_at=bad(time_, "created_at"))
        for table, column in (("attempts", "score"), ("spaced_repetition_items", "ease_factor")):
            add(table, **{column: bad(float("nan"), column)})
        add("attempts", score=Cell(-0.0, 0.0))
        return rows
    for cell in READABLE_TIMES:
        add("bookmarks", created_at=cell)
    for value in UNREADABLE_TIMES:
        add("bookmarks", created_at=bad(value, "created_at"))
    for table, column in raw.TIMES:
        if table not in ("users", "user_settings"):
            add(table, **{column: bad("never", column)})
    for table, column in (
        ("bookmarks", "entity_id"),
        ("attempts", "entity_id"),
        ("progress_by_tag", "tag"),
        ("spaced_repetition_items", "entity_type"),
        ("dataset_overrides", "description"),
        ("dataset_overrides", "json_text"),
    ):
        # No document holds a NUL, on either database.
        only = "" if column == "json_text" else "postgresql"
        add(table, **{column: Cell("a\0b", "a\0b", bad=column, only=only)})
        add(table, **{column: bad(b"\x00\xff", column)})
        add(table, **{column: bad(Text(b"caf\xe9"), column)})
        add(table, **{column: bad(Text(b"\xed\xa0\x80"), column)})
    for entity_type in ("drug", "Question", "", "question "):
        add("attempts", entity_type=bad(entity_type, "entity_type"))
    for no_score in ("abc", "", b"\x00"):
        add("attempts", score=bad(no_score, "score"))
    for count in ("abc", 1.5, b"1", ""):
        add("progress_by_tag", wrong_count=bad(count, "count"))
    add("progress_by_tag", correct_count=Cell("12", 12))
    add("progress_by_tag", correct_count=bad(2**31, "count"))
    add("spaced_repetition_items", interval_days=bad("six", "interval_days"))
    add("spaced_repetition_items", ease_factor=bad("2,5", "ease_factor"))
    for active in (2, -1, "abc", 0.5, b"1"):
        add("dataset_overrides", is_active=bad(active, "is_active"))
    rows.append(row("attempts", 2**53 + 1))
    rows.append(row("bookmarks", 2**62))
    # After these nobody can count on.
    rows += [row("bookmarks", id_, entity_type=bad("drug", "id is too large")) for id_ in (2**62 + 1, 2**63 - 1)]
    return rows


# -- schemas ----------------------------------------------------------------------------------------

_COLUMN_TYPES = {
    "score": ("REAL", "DOUBLE PRECISION"),
    "ease_factor": ("REAL", "DOUBLE PRECISION"),
    "answers": ("JSONB", "JSONB"),
    "feedback": ("JSONB", "JSONB"),
    "is_active": ("BOOLEAN", "BOOLEAN"),
    "correct_count": ("INTEGER", "INTEGER"),
    "wrong_count": ("INTEGER", "INTEGER"),
    "interval_days": ("INTEGER", "INTEGER"),
    "user_id": ("INTEGER", "INTEGER"),
    "created_by_id": ("INTEGER", "INTEGER"),
    "role": ("TEXT", '"Role"'),
}
_DEFAULTS = {
    "role": "'USER'",
    "language": "'en'",
    "created_at": "CURRENT_TIMESTAMP",
    "description": "''",
    "is_active": "false",
    "correct_count": "0",
    "wrong_count": "0",
}
_UNIQUE = {
    "users": ("email",),
    "user_settings": ("user_id",),
    "progress_by_tag": ("user_id", "module", "course_block", "tag"),
    "spaced_repetition_items": ("user_id", "entity_type", "entity_id"),
}
_INDEXES = (
    ("users", ("email",)),
    ("bookmarks", ("user_id",)),
    ("bookmarks", ("entity_type", "entity_id")),
    ("attempts", ("user_id", "created_at")),
    ("attempts", ("user_id", "entity_type", "entity_id")),
    ("progress_by_tag", ("user_id", "module", "course_block", "tag")),
    ("spaced_repetition_items", ("user_id", "next_review_at")),
    ("dataset_overrides", ("is_active",)),
    ("dataset_overrides", ("created_by_id",)),
)


def _column(table: str, name: str, dialect: str) -> str:
    postgresql = dialect == "postgresql"
    type_ = _COLUMN_TYPES.get(name, ("TEXT", "TEXT"))[postgresql]
    if name.endswith("_at"):
        type_ = "TIMESTAMP(3)" if postgresql else "DATETIME"
    if postgresql and (table, name) == ("attempts", "entity_type"):
        type_ = '"AttemptEntityType"'
    null = "" if name in ("feedback", "last_reviewed_at") else " NOT NULL"
    default = _DEFAULTS.get(name, "")
    return f'"{camel(name)}" {type_}{null}' + (f" DEFAULT {default}" if default else "")


def schema(stage: int, dialect: str) -> Iterator[str]:
    """The statements that make the tables as they are at this stage.

    On PostgreSQL the catalogue is that of Prisma 6.19's own `migrate deploy` and `db push`.
    """
    action = "CASCADE" if stage == 4 else "RESTRICT"
    if dialect == "postgresql":
        if stage >= 2:
            yield """CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN')"""
        yield """CREATE TYPE "AttemptEntityType" AS ENUM ('question', 'case', 'calc')"""
    for table in tables(stage):
        old, names = OLD[table], columns(table, stage)
        owner = raw.OWNERS.get(table)
        lines = [
            '"id" SERIAL NOT NULL' if dialect == "postgresql" else '"id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT',
            *(_column(table, name, dialect) for name in names),
        ]
        if dialect == "postgresql":
            lines.append(f'CONSTRAINT "{old}_pkey" PRIMARY KEY ("id")')
        if owner:
            lines.append(
                f'CONSTRAINT "{old}_{camel(owner)}_fkey" FOREIGN KEY ("{camel(owner)}") '
                f'REFERENCES "User" ("id") ON DELETE {action} ON UPDATE CASCADE'
            )
        yield f'CREATE TABLE "{old}" (\n    ' + ",\n    ".join(lines) + "\n)"
    unique = dict(_UNIQUE) | ({"dataset_overrides": ("name",)} if stage == 4 else {})
    for table, indexed in unique.items():
        yield _index(table, indexed, unique=True)
    if stage == 4:
        for table, indexed in _INDEXES:
            yield _index(table, indexed)


def _index(table: str, names: tuple[str, ...], *, unique: bool = False) -> str:
    old = OLD[table]
    name = "_".join((old, *map(camel, names), "key" if unique else "idx"))
    listed = ", ".join(f'"{camel(n)}"' for n in names)
    return f'CREATE {"UNIQUE " if unique else ""}INDEX "{name}" ON "{old}" ({listed})'


_MIGRATIONS_TABLE = {
    "sqlite": """CREATE TABLE "_prisma_migrations" (
    "id" TEXT PRIMARY KEY NOT NULL,
    "checksum" TEXT NOT NULL,
    "finished_at" DATETIME,
    "migration_name" TEXT NOT NULL,
    "logs" TEXT,
    "rolled_back_at" DATETIME,
    "started_at" DATETIME NOT NULL DEFAULT current_timestamp,
    "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0
)""",
    "postgresql": """CREATE TABLE "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
)""",
}


def migration(name: str, dialect: str, *, finished: bool = True, rolled_back: bool = False) -> str:
    """An INSERT into _prisma_migrations."""
    at = "1769500000000" if dialect == "sqlite" else "'2026-01-27 12:32:16+00'"
    digest = hashlib.sha256(f"{name} {finished} {rolled_back}".encode()).hexdigest()
    id_ = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    logs = "NULL" if finished else "'A migration failed to apply.'"
    return (
        'INSERT INTO "_prisma_migrations" VALUES '
        f"('{id_}', '{digest}', {at if finished else 'NULL'}, '{name}', {logs}, "
        f"{at if rolled_back else 'NULL'}, {at}, {int(finished)})"
    )


def bookkeeping(stage: int, dialect: str) -> Iterator[str]:
    yield _MIGRATIONS_TABLE[dialect]
    for name in MIGRATIONS[:stage]:
        yield migration(name, dialect)


# -- databases --------------------------------------------------------------------------------------


def sample(folder: Path) -> Path:
    """A small old file, the same at every run: what the notebook's stored outputs show."""
    path = folder / "old.db"
    if path.exists():
        return path
    users = ["demo@pharmtrainer.test", "Ann@Example.test", "ann@example.test", "ben@example.test"]
    # Of Password123!, always with the same salt.
    stored = "$2a$10$JBqjOwh36HC4pFYsouFYEOqn0TWmMevNvqnsXWmizwh33d1Yo7Cki"
    rows = [row("users", 3 * n + 1, email=Cell(email), password_hash=stored) for n, email in enumerate(users)]
    rows += [row("user_settings", 1), row("bookmarks", 4, user_id=4), row("progress_by_tag", 2, user_id=4)]
    rows += [row("attempts", n, user_id=4 + 6 * (n % 2), score=10.0 * n) for n in range(5, 13)]
    rows += [row("attempts", 20, user_id=77), row("spaced_repetition_items", 8, user_id=10, ease_factor=1.1)]
    rows += [row("dataset_overrides", n, user_id=4) for n in (2, 3)]
    make(f"sqlite:///{path}", 3, rows)
    return path


def make(url: str, stage: int, rows: Iterable[Row] = (), *, migrations: bool = True, **options: Any) -> str:
    """Builds an old database and gives back its URL; the folder or the empty PostgreSQL database is there."""
    statements = list(schema(stage, "sqlite" if url.startswith("sqlite") else "postgresql"))
    if migrations:
        statements += bookkeeping(stage, "sqlite" if url.startswith("sqlite") else "postgresql")
    if url.startswith("sqlite"):
        _make_sqlite(raw.path(url), stage, statements, at_stage(rows, stage), **options)
    else:
        _make_postgresql(url, stage, statements, at_stage(rows, stage), **options)
    return url


def _make_sqlite(path: Path, stage: int, statements: list[str], rows: list[Row], journal: str = "DELETE") -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        insert_sqlite(connection, stage, rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def insert_sqlite(connection: sqlite3.Connection, stage: int, rows: Iterable[Row]) -> None:
    for each in rows:
        names = columns(each.table, stage)
        values = [each.id, *(each.cells[name].raw for name in names)]
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(value, Text) else "?" for value in values)
        listed = ", ".join(f'"{n}"' for n in ("id", *map(camel, names)))
        connection.execute(
            f'INSERT INTO "{OLD[each.table]}" ({listed}) VALUES ({marks})',
            [value.content if isinstance(value, Text) else value for value in values],
        )


def _make_postgresql(url: str, stage: int, statements: list[str], rows: list[Row], schema: str = "public") -> None:
    with psycopg.connect(raw.libpq(url), autocommit=True) as connection:
        name = connection.info.dbname
        # The old columns have no zone, and neither the server's nor the client's is theirs.
        connection.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'")
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.execute(f'SET search_path = "{schema}"')
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
            # Else no row without its owner gets in.
            connection.execute("SET LOCAL session_replication_role = replica")
            for each in rows:
                names = columns(each.table, stage)
                listed = ", ".join(f'"{n}"' for n in ("id", *map(camel, names)))
                connection.execute(
                    f'INSERT INTO "{OLD[each.table]}" ({listed}) VALUES ({", ".join(["%s"] * (len(names) + 1))})',
                    [each.id, *(each.cells[name].raw for name in names)],
                )
            for table in tables(stage):
                old = OLD[table]
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('\"{old}\"', 'id'), "
                    f'(SELECT coalesce(max(id), 1) FROM "{old}"))'
                )
