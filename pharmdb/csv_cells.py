"""Cells of CSV files that a person opens in a spreadsheet."""

from __future__ import annotations

import re

# What a spreadsheet would run as a formula (OWASP, "CSV Injection"), and what looks like one with its apostrophe,
# so that the apostrophe can be taken away again.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]infinity", re.IGNORECASE)


def cell(text: str, *, formulas: bool = False) -> str:
    """A text as RFC 4180 has it; one that begins like a formula gets an apostrophe, unless `formulas` says not to."""
    if not formulas and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    # Other separators too: in some countries a spreadsheet would begin a new cell there.
    quote = text == "" or any(mark in text for mark in ',;\t"\r\n')
    return '"' + text.replace('"', '""') + '"' if quote else text


def restored(text: str) -> str:
    """A text of a spreadsheet without the apostrophe that keeps it from being run as a formula."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
