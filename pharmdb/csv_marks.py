"""What spreadsheets and word processors do to a CSV file, told once and by its name."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

from pharmdb.csv_faults import Faults

# The names of other separators that spreadsheets write.
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def unseen(value: str) -> str:
    """What can't be seen in a value, and makes it another one than it looks like; "" if there is nothing.

    A line break, a no-break or zero-width space or another invisible character, or letters that are not composed (NFC).
    """
    if value.isascii() and value.isprintable():
        return ""
    for character in value:
        if character in "\r\n":
            return "contains a line break"
        if unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp") and character != " ":
            return f"contains U+{ord(character):04X} {unicodedata.name(character, 'CONTROL CHARACTER')}"
    if not unicodedata.is_normalized("NFC", value):
        apart = next(c for c, d in zip(value, unicodedata.normalize("NFC", value), strict=False) if c != d)
        return f"not in composed form (NFC), from U+{ord(apart):04X} {unicodedata.name(apart, '')} on"
    return ""


def of_header(header: list[str], columns: Collection[str]) -> str:
    """What was done to the header line that explains the file as a whole; "" for nothing."""
    first = header[0] if header else ""
    if first.lower().startswith("sep="):
        return "a line that sets the separator: delete it, and separate the values by commas"
    for separator, called in SEPARATORS.items():
        if separator in first and {name.strip().strip('"') for name in first.split(separator)} & set(columns):
            return f"separated by {called}: separate the values by commas"
    names = list(header)
    while names and not names[-1].strip():
        names.pop()
    if names and len(names) < len(header):
        return f"{len(header) - len(names)} empty column(s) at the end: delete them"
    hidden = [(name, unseen(name)) for name in header if name not in columns and unseen(name)]
    return "; ".join(f"column {name!a}: {reason}" for name, reason in hidden)


class EmptyRows:
    """Consecutive rows of empty values, as spreadsheets append them: told once."""

    def __init__(self, name: str, faults: Faults) -> None:
        self._name, self._faults = name, faults
        self._first = self._rows = 0

    def is_one(self, cells: list[str], line: int) -> bool:
        """Whether a row is empty; one that isn't ends the empty ones before it."""
        if len(cells) < 2 or any(cell.strip() for cell in cells):
            self.tell()
            return False
        self._first = self._first or line
        self._rows += 1
        return True

    def tell(self) -> None:
        """Adds a fault for the empty rows since the last row that wasn't."""
        if self._rows:
            reason = f"{self._rows} empty rows: delete them" if self._rows > 1 else "1 empty row: delete it"
            self._faults.add(self._name, self._first, "", "", reason)
        self._first = self._rows = 0
