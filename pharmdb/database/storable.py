"""What a PostgreSQL database can't store although no constraint forbids it: long keys, and some characters."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import JSON, Connection, Table

from pharmdb.database import transactions
from pharmdb.database.index_limits import MOST_BYTES, bytes_above, text_columns
from pharmdb.database.targets import Target

# Encodings that Python has under another name.
_NAMES = {"KOI8R": "koi8_r", "KOI8U": "koi8_u", "EUC_CN": "gb2312"}
# Rows have a value for each column, in the order of the table; a fault is a reason and this row's detail.
Fault = tuple[str, str]


class Limits(NamedTuple):
    """What a database can store: whether its keys are limited, and Python's codecs of its text and JSON; "" for any."""

    keys: bool = False
    encoding: str = ""
    text: str = ""
    escapes: str = ""

    def checker(self, table: Table) -> Callable[[Sequence[Any]], Fault | None]:
        """A function that returns why the database can't store a row of this table, or None."""
        columns = list(table.columns)
        keys = [([columns.index(column) for column in key], key) for key in text_columns(table)] if self.keys else []
        documents = {place for place, column in enumerate(columns) if isinstance(column.type, JSON)}

        def check(row: Sequence[Any]) -> Fault | None:
            for places, key in keys:
                if size := bytes_above([row[place] for place in places]):
                    names = ", ".join(column.name for column in key)
                    return f"{names}: more than {MOST_BYTES} bytes, too many for the index", f"{size}"
            if self.escapes:
                for place, value in enumerate(row):
                    if isinstance(value, str) and (lacking := self.lacking(value, document=place in documents)):
                        return f"{columns[place].name} has a character that {self.encoding} lacks", f"{lacking!a}"
            return None

        return check

    def lacking(self, value: str, *, document: bool = False) -> str:
        """The first character that the database's encoding lacks, or ""; a JSON document may also escape it."""
        if self.text and not value.isascii():
            try:
                value.encode(self.text)
            except UnicodeEncodeError as error:
                return value[error.start]
        if document and self.escapes:
            escaped = "".join(chr(int(digits, 16)) for digits in _ESCAPED.findall(value))
            try:
                escaped.encode(self.escapes)
            except UnicodeEncodeError as error:
                return escaped[error.start]
        return ""

    def shown(self, value: str) -> str:
        """The text with the characters that the encoding lacks as escapes."""
        return value.encode(self.text, "backslashreplace").decode(self.text) if self.text else value


_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u([0-9a-fA-F]{4})")


def limits(connection: Connection) -> Limits:
    """What the database of this connection can store."""
    if connection.dialect.name != "postgresql":
        return Limits()
    encoding = str(connection.exec_driver_sql("SELECT current_setting('server_encoding')").scalar_one())
    if encoding == "UTF8":
        return Limits(keys=True)
    if encoding == "SQL_ASCII":
        # It stores any bytes, but translates no escape in JSON.
        return Limits(True, encoding, "", "ascii")
    return Limits(True, encoding, codec(encoding), codec(encoding))


def codec(encoding: str) -> str:
    """Python's codec of an encoding of PostgreSQL; ASCII, which is a part of each, if Python has none."""
    try:
        return codecs.lookup(_NAMES.get(encoding, re.sub("^WIN", "cp", encoding))).name
    except LookupError:
        return "ascii"


def of(target: Target) -> Limits:
    """What a database can store; an SQLite file need not exist."""
    if target.is_sqlite:
        return Limits()
    with transactions.watching(target) as connection:
        return limits(connection)
