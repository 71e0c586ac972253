"""The old system's databases: the stage of one, its rows as they are stored, each value as pharmdb stores it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Connection, inspect

from pharmdb.errors import RevisionError
from pharmdb.fingerprints import decoder
from pharmdb.models import (
    ATTEMPT_ENTITY_TYPES,
    DOCUMENT,
    DOUBLE,
    MODELS,
    ROLES,
    Base,
    DatasetOverride,
    StrictBoolean,
    User,
    UTCDateTime,
)

Row = tuple[Any, ...]

# Each stage is one migration of the old system.
MIGRATIONS = {
    "20260127123216_init": 1,
    "20260127132944_add_role_to_user": 2,
    "20260127140114_add_dataset_override": 3,
    "20260128101532_init": 4,
}
MIGRATIONS_TABLE = "_prisma_migrations"
BATCH = 5000
LARGEST = 2**31 - 1
DEEPEST = 900
# The same for white space as what our own revision trims.
WHITE_SPACE = " \t\r\n"


class RejectedError(Exception):
    """A row that no rule of pharmdb lets in; its text is the reason."""


def camel(name: str) -> str:
    """user_id -> userId."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@dataclass(frozen=True)
class OldTable:
    """One table of the old system: its model here, and for each column its name there and its kind."""

    model: type[Base]
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.model.__name__

    @property
    def table(self) -> str:
        return str(self.model.__tablename__)

    @property
    def columns(self) -> list[str]:
        """The names here, in the same order."""
        return list(self.model.__table__.columns.keys())

    @property
    def owner(self) -> int | None:
        """The place of the column that names the user."""
        return self.kinds.index("owner") if "owner" in self.kinds else None


def _kind(column: Any) -> str:
    if column.primary_key:
        return "id"
    if column.foreign_keys:
        return "owner"
    if column.type is DOCUMENT:
        return "document"
    if column.type is DOUBLE:
        return "real"
    if isinstance(column.type, UTCDateTime):
        return "time"
    if isinstance(column.type, StrictBoolean):
        return "boolean"
    return "text" if column.type.python_type is str else "count"


TABLES = tuple(
    OldTable(
        model,
        tuple(map(camel, model.__table__.columns.keys())),
        tuple(_kind(column) for column in model.__table__.columns),
    )
    for model in MODELS
)

# -- which stage ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recognition:
    """The stage (1 to 4), the columns that each table has, and what a person should know: (what, found)."""

    stage: int
    columns: dict[str, tuple[str, ...]]
    notes: tuple[tuple[str, str], ...]

    def has(self, table: OldTable) -> bool:
        return table.name in self.columns


def recognize(connection: Connection, source: str) -> Recognition:
    """Tells the stage from tables and columns, and compares it with what _prisma_migrations says.

    Raises RevisionError for what is no old database of the trainer, or a newer one than stage 4.
    """
    if connection.dialect.name == "postgresql":
        # Whatever the database or the user prefers: values are read as text in these forms.
        for setting in ("datestyle = 'ISO'", "timezone = 'UTC'", "extra_float_digits = 3"):
            connection.exec_driver_sql(f"SET LOCAL {setting}")
    inspector = inspect(connection)
    tables = inspector.get_table_names()
    if not tables:
        raise _unknown(source, "an empty database, without a table")
    columns = {t.name: {c["name"] for c in inspector.get_columns(t.name)} for t in TABLES if t.name in tables}
    lacking = [t.name for t in TABLES if t.model is not DatasetOverride and t.name not in columns]
    if lacking:
        shown = ", ".join(sorted(tables)[:8])
        raise _unknown(source, f"no table {', '.join(lacking)}; there are: {shown}")
    for table in TABLES:
        missing = set(table.names) - columns.get(table.name, set(table.names)) - {"role"}
        if missing:
            raise _unknown(source, f"{table.name} without {', '.join(sorted(missing))}")
        if table.name in columns and inspector.get_pk_constraint(table.name)["constrained_columns"] != ["id"]:
            raise _unknown(source, f"{table.name} without its primary key id")
    notes: list[tuple[str, str]] = []
    stage = _stage(inspector, columns, notes)
    finished = _migrations(connection, tables, notes, source)
    said = max((MIGRATIONS[name] for name in finished), default=None)
    if said is not None and said != stage:
        notes.append(("stage", f"{MIGRATIONS_TABLE} says {said}, tables and columns say {stage}; the tables count"))
    for table in TABLES:
        extra = columns.get(table.name, set()) - set(table.names)
        for name in sorted(extra):
            quoted = _quote(connection, name)
            filled = connection.exec_driver_sql(
                f"SELECT count(*) FROM {_quote(connection, table.name)} WHERE {quoted} IS NOT NULL"
            ).scalar_one()
            notes.append(("extra column", f"{table.name}.{name}: filled in {filled} rows, which only the backup keeps"))
    for name in sorted(set(tables) - {t.name for t in TABLES} - {MIGRATIONS_TABLE}):
        notes.append(("unknown table", f"{name}: only the backup keeps it"))
    known = {t.name: tuple(n for n in t.names if n in columns[t.name]) for t in TABLES if t.name in columns}
    return Recognition(stage, known, (("stage", str(stage)), *notes))


def _unknown(source: str, found: str) -> RevisionError:
    return RevisionError(
        expected=f"an old database of the trainer in {source}, at one of its four stages",
        found=found,
        unchanged="the source and the target",
        next="name the old system's database in source",
    )


def _stage(inspector: Any, columns: dict[str, set[str]], notes: list[tuple[str, str]]) -> int:
    role, overrides = "role" in columns["User"], "DatasetOverride" in columns
    if overrides and not role:
        notes.append(("missing column", "User.role: everybody becomes USER"))
    if not overrides:
        return 2 if role else 1
    cascades = [
        bool(key["options"].get("ondelete", "").upper() == "CASCADE")
        for table in TABLES[1:]
        for key in inspector.get_foreign_keys(table.name)
    ]
    unique = any(
        index["column_names"] == ["name"] and index["unique"] for index in inspector.get_indexes("DatasetOverride")
    ) or any(c["column_names"] == ["name"] for c in inspector.get_unique_constraints("DatasetOverride"))
    hardened = {"cascades": bool(cascades) and all(cascades), "a unique DatasetOverride.name": unique}
    if all(hardened.values()):
        return 4
    if any(hardened.values()) or any(cascades):
        missing = ", ".join(name for name, there in hardened.items() if not there)
        notes.append(("half-applied", f"a part of stage 4; it lacks {missing}"))
    return 3


def _migrations(connection: Connection, tables: list[str], notes: list[tuple[str, str]], source: str) -> list[str]:
    """The names of the finished migrations; the others become notes."""
    if MIGRATIONS_TABLE not in tables:
        notes.append(("migrations", f"no {MIGRATIONS_TABLE}: made by prisma db push"))
        return []
    rows = connection.exec_driver_sql(
        f"SELECT migration_name, finished_at, rolled_back_at FROM {MIGRATIONS_TABLE} ORDER BY migration_name"
    )
    finished = []
    for name, finished_at, rolled_back_at in rows:
        if rolled_back_at is not None:
            notes.append(("failed migration", f"{name}: rolled back"))
        elif finished_at is None:
            notes.append(("failed migration", f"{name}: begun and never finished"))
        else:
            finished.append(str(name))
    newer = [name for name in finished if name not in MIGRATIONS]
    if newer:
        raise _unknown(source, f"a migration that pharmdb does not know: {', '.join(newer)}")
    return finished


# -- rows as they are stored ------------------------------------------------------------------------


def _quote(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


def decode(value: bytes) -> str | bytes:
    """SQLite takes text that is not UTF-8; one such value must not end the reading of all others."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def count(connection: Connection, table: OldTable) -> int:
    """The rows of a table."""
    sql = f"SELECT count(*) FROM {_quote(connection, table.name)}"
    return int(connection.exec_driver_sql(sql).scalar_one())


def rows(connection: Connection, table: OldTable, recognition: Recognition) -> Iterator[list[Row]]:
    """The rows in the order of their ids, BATCH at a time; a column that the stage lacks is None.

    From PostgreSQL times, enums and documents come as text.
    """
    there = recognition.columns[table.name]
    if connection.dialect.name == "sqlite":
        selected = [_quote(connection, n) if n in there else "NULL" for n in table.names]
    else:
        plain = ("id", "owner", "count", "real", "boolean")
        selected = [
            "NULL" if n not in there else _quote(connection, n) + ("" if kind in plain else "::text")
            for n, kind in zip(table.names, table.kinds, strict=True)
        ]
    sql = f"SELECT {', '.join(selected)} FROM {_quote(connection, table.name)} ORDER BY id"
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.text_factory = decode
        cursor = driver.cursor()
    else:
        cursor = driver.cursor(name="old_rows")
    with closing(cursor):
        cursor.execute(sql)
        while batch := cursor.fetchmany(BATCH):
            yield batch


def repeated(connection: Connection, table: OldTable, key: tuple[str, ...]) -> set[int]:
    """The ids of the rows that share this key with another row; of e-mails the case doesn't count."""
    columns = ", ".join(_quote(connection, camel(column)) for column in key)
    if table.model is User:
        trim = "trim({}, char(9, 10, 13, 32))" if connection.dialect.name == "sqlite" else "btrim({}, E' \\t\\n\\r')"
        columns = f"lower({trim.format(columns)})"
    sql = (
        f"SELECT id FROM (SELECT id, count(*) OVER (PARTITION BY {columns}) AS n "
        f"FROM {_quote(connection, table.name)}) AS counted WHERE n > 1"
    )
    return set(connection.exec_driver_sql(sql).scalars())


def names(connection: Connection, table: OldTable) -> set[str]:
    """All values of a table's `name`."""
    driver: Any = connection.connection.driver_connection
    cursor = driver.execute(f"SELECT DISTINCT name FROM {_quote(connection, table.name)} WHERE name IS NOT NULL")
    return {row[0] for row in cursor}


def as_json(table: OldTable, row: Row) -> str:
    """A row as it was stored, for upgrade_rejects: bytes as hex, and nothing that JSON or JSONB lacks."""
    return json.dumps({name: _plain(value) for name, value in zip(table.names, row, strict=True)}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, str) and "\0" in value:
        return {"hex": value.encode().hex()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


# -- values as pharmdb stores them ------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the stored form names no zone
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,9})?|T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?=Z|[+-]))(Z|[+-]\d\d(?::?\d\d)?)?"
)


def time(value: Any) -> str:
    """Milliseconds since 1970, ISO 8601 with its zone, or the database's own UTC text -> our text, UTC."""
    try:
        if isinstance(value, (int, float)):
            found = _EPOCH + timedelta(milliseconds=value)
        elif isinstance(value, str) and (match := _TIME.fullmatch(value)):
            found = datetime.fromisoformat(value)
            if match[1]:
                found = found.astimezone(UTC).replace(tzinfo=None)
        else:
            raise RejectedError(f"no time that can be read: {value!r:.60}")
    except (ValueError, OverflowError):
        raise RejectedError(f"no time that can be read: {value!r:.60}") from None
    return found.isoformat(sep=" ", timespec="microseconds")


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise RejectedError("empty" if value is None else f"not text: {value!r:.60}")
    return value


def text_for_postgresql(value: Any) -> str:
    if "\0" in text(value):
        raise RejectedError("holds a NUL character, which PostgreSQL can't store")
    return str(value)


def count_of(value: Any) -> int:
    if not 0 <= _integer(value) <= LARGEST:
        raise RejectedError(f"not from 0 to {LARGEST}: {value}")
    return int(value)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RejectedError(f"not a whole number: {value!r:.60}")
    return value


def real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise RejectedError(f"not a number: {value!r:.60}")
    return float(value)


def boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise RejectedError(f"neither true nor false: {value!r:.60}")
    return bool(value)


def _any_number(digits: str) -> int:
    return 0


_loads = decoder()
# Python refuses to make an int of more than 4,300 digits, which is JSON all the same.
_loads_long = decoder(parse_int=_any_number)


def _parse(document: str) -> Any:
    """The value. Raises ValueError for what isn't JSON, RejectedError for what is nested too deeply."""
    if len(document) > DEEPEST and document.count("[") + document.count("{") > DEEPEST:
        depth = deepest = 0
        # Brackets in strings count as well: who nests 900 of them in a text can wait for a person.
        for character in document:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
        if deepest > DEEPEST:
            raise RejectedError(f"JSON that is nested more than {DEEPEST} deep")
    try:
        return _loads(document)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _loads_long(document)


def document(value: Any) -> str:
    """The JSON value's own text: of a string whose content is JSON, that content."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # SQLite keeps a bare number in a JSON column as a number.
        value = json.dumps(real(value)) if isinstance(value, float) else str(value)
    try:
        parsed = _parse(text(value))
    except ValueError:
        raise RejectedError(f"not JSON: {value!r:.60}") from None
    if not isinstance(parsed, str):
        return str(value)
    try:
        _parse(parsed)
    except ValueError:
        return str(value)
    # Half of a surrogate pair is no text for a database; its escape is.
    return parsed if parsed.isascii() else _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", parsed)


_SURROGATE = re.compile("[\ud800-\udfff]")


_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LONG_NUMBER = re.compile(r"\d[eE][+-]?\d{4}|\d{9999}")


def _storable(number: str) -> int:
    """The limits of PostgreSQL's numeric: 131,072 digits before the point, 16,383 after it."""
    try:
        found = Decimal(number)
        exponent = found.as_tuple().exponent
        if found.adjusted() < 131_072 and isinstance(exponent, int) and exponent >= -16_383:
            return 0
    except InvalidOperation:
        pass
    raise RejectedError("JSON with a number that PostgreSQL can't store")


_check_numbers = json.JSONDecoder(parse_int=_storable, parse_float=_storable).decode


def document_for_postgresql(value: Any) -> str:
    """As `document`; JSONB has no NUL, no half of a surrogate pair, and no number beyond its numeric."""
    found = document(value)
    if "\\u" in found:
        plain = json.dumps(_parse(found), ensure_ascii=False)
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


def plain_json(value: Any) -> str:
    """A document that stays text, as it was written."""
    try:
        _parse(text(value))
    except ValueError:
        raise RejectedError("not JSON") from None
    return str(value)


def email(value: Any) -> str:
    found = text(value).strip(WHITE_SPACE)
    # ASCII first: lower() would make a k of the Kelvin sign.
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", found):
        raise RejectedError(f"not an e-mail address: {found!r:.60}")
    return found.lower()


def _one_of(*values: str) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if value not in values:
            raise RejectedError(f"not one of {', '.join(values)}: {value!r:.60}")
        return str(value)

    return convert


def _language(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,5}", text(value)):
        raise RejectedError(f"not two to five letters: {value!r:.60}")
    return str(value)


def _between(low: float, high: float, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        found = convert(value)
        if not low <= found <= high:
            raise RejectedError(f"not from {low} to {high}: {value!r:.60}")
        return found

    return check


def _optional(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


# What isn't known by its kind alone.
_OWN: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("users", "email"): email,
    ("users", "role"): _one_of(*ROLES),
    ("user_settings", "language"): _language,
    ("attempts", "entity_type"): _one_of(*ATTEMPT_ENTITY_TYPES),
    ("attempts", "score"): _between(0, 100, real),
    ("spaced_repetition_items", "ease_factor"): _between(1.3, 1_000_000, real),
    ("spaced_repetition_items", "interval_days"): _between(1, LARGEST, count_of),
    ("dataset_overrides", "json_text"): plain_json,
}


def converter(table: OldTable, *, to_postgresql: bool, has_role: bool) -> Callable[[Row], list[Any]]:
    """A function that makes a row of ours from an old one, as the driver takes it. It raises RejectedError."""
    kinds: dict[str, Callable[[Any], Any]] = {
        "id": _integer,
        "owner": _integer,
        "text": text_for_postgresql if to_postgresql else text,
        "document": document_for_postgresql if to_postgresql else document,
        "time": (lambda value: time(value) + "+00") if to_postgresql else time,
        "count": count_of,
        "real": real,
        "boolean": boolean if to_postgresql else (lambda value: int(boolean(value))),
    }
    converters = []
    for column, kind in zip(table.model.__table__.columns, table.kinds, strict=True):
        convert = _OWN.get((table.table, column.name), kinds[kind])
        if (table.model, column.name) == (User, "role") and not has_role:
            convert = _role_before_roles
        converters.append(_optional(convert) if column.nullable else convert)
    names = table.columns
    ordered = (names.index("next_review_at"), names.index("last_reviewed_at")) if "next_review_at" in names else None

    def convert_row(row: Row) -> list[Any]:
        try:
            found = [convert(value) for convert, value in zip(converters, row, strict=True)]
        except RejectedError:
            raise _named(table, converters, row) from None
        if ordered and found[ordered[1]] is not None and found[ordered[0]] < found[ordered[1]]:
            raise RejectedError("next_review_at is before last_reviewed_at")
        return found

    return convert_row


def _role_before_roles(value: Any) -> str:
    return "USER"


def _named(table: OldTable, converters: list[Callable[[Any], Any]], row: Row) -> RejectedError:
    """The reason, with the columns that it is about."""
    reasons = []
    for name, convert, value in zip(table.columns, converters, row, strict=True):
        try:
            convert(value)
        except RejectedError as error:
            # What is wrong with a hash is told without the hash.
            told = str(error).partition(":")[0] if name == "password_hash" else error
            reasons.append(f"{name} is {told}")
    return RejectedError("; ".join(reasons))
