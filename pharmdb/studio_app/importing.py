"""Rows from pasted text or a CSV file, to be staged as new rows, with what is wrong in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pharmdb.csv_cells import restored
from pharmdb.studio_app import values
from pharmdb.studio_app.bulk import MOST_CHANGES
from pharmdb.studio_app.catalogue import Column, Table

# The mark that spreadsheets put before UTF-8.
_MARK = "\ufeff"
_SEPARATORS = ("\t", ";", ",")
# Bytes of a field; csv's own limit is lower than what a JSON column can hold.
_LONGEST_FIELD = 2**24


@dataclass(frozen=True)
class Fault:
    """What is wrong with a value of a row, which counts from 0."""

    row: int
    column: str
    sentence: str


@dataclass(frozen=True)
class Imported:
    """`rows`: the values of each new row by column. `left_out`: why a column of the text is not imported."""

    rows: list[dict[str, str | None]]
    columns: list[str]
    faults: list[Fault]
    left_out: list[str]
    header: bool


def imported(table: Table, text: str, columns: Sequence[str]) -> Imported:
    """Reads rows that are separated by tabs, semicolons or commas; quoted fields may contain line breaks.

    If the first line consists of names of columns, it says which ones they are; otherwise they are `columns` in order.
    An empty field is the column's default, NULL, or else an empty text. Raises UnfitError for a text that can't be read
    and for too many rows.
    """
    lines = _lines(text.removeprefix(_MARK))
    if not lines:
        raise values.UnfitError("there is no row in this text")
    first = [name.strip() for name in lines[0]]
    header = len(set(first) & set(table.columns)) == len(first) or (first[0] in table.columns and len(first) > 1)
    names = first if header else list(columns)[: max(map(len, lines))]
    body = lines[1:] if header else lines
    if len(body) > MOST_CHANGES:
        raise values.UnfitError(f"{len(body):,} rows: import at most {MOST_CHANGES:,} at once")
    taken, left_out = _columns(table, names)
    faults: list[Fault] = []
    rows = [_row(n, line, taken, len(names), faults) for n, line in enumerate(body)]
    return Imported(rows, [c.name for c in taken.values()], faults, left_out, header)


def _lines(text: str) -> list[list[str]]:
    head = text.lstrip("\r\n").partition("\n")[0]
    separator = next((each for each in _SEPARATORS if each in head), ",")
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        found = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise values.UnfitError(f"this is no CSV: {error}") from None
    finally:
        csv.field_size_limit(before)
    return [line for line in found if line]


def _columns(table: Table, names: Sequence[str]) -> tuple[dict[int, Column], list[str]]:
    """The columns by their place in a line, and why others are left out."""
    taken: dict[int, Column] = {}
    left_out = []
    for place, name in enumerate(names):
        found = table.columns.get(name)
        if found is None:
            left_out.append(f"{name or '(no name)'}: {table.name} has no such column")
        elif found.secret or found.is_password:
            left_out.append(f"{name}: secrets are not imported" + ("; type a password" if found.is_password else ""))
        elif not found.editable:
            left_out.append(f"{name}: it can't be edited here")
        elif found in taken.values():
            left_out.append(f"{name}: it is there twice")
        else:
            taken[place] = found
    return taken, left_out


def _row(
    number: int, line: list[str], taken: dict[int, Column], width: int, faults: list[Fault]
) -> dict[str, str | None]:
    row: dict[str, str | None] = {}
    if len(line) > width:
        faults.append(Fault(number, "", f"{len(line)} fields, and there are {width} columns"))
    for place, found in taken.items():
        text = restored(line[place]) if place < len(line) else ""
        if text == "" and (found.default or found.nullable):
            continue
        row[found.name] = text
        try:
            found.parsed(text)
        except values.UnfitError as error:
            faults.append(Fault(number, found.name, str(error)))
    return row
