"""Renders a cell's result as text that fits the terminal."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from pharmdb.plain_table import PlainTable

if TYPE_CHECKING:
    import pandas as pd

# The width of output to a file or a pipe.
PIPED = 120
GAP = 2
# The minimum width of a text column, and the maximum length of a table.
NARROWEST = 12
ROWS = 60


def width() -> int:
    """The terminal's width in columns; 120 if there is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED


def rendered(result: Any, fallback: str, columns: int) -> str:
    """A dataframe, or an object with a `frame`, as a table; a string as it is; anything else as `fallback`."""
    if isinstance(result, PlainTable):
        if result.plain_texts is not None:
            rows = [list(map(_text, row)) for row in result.plain_rows]
            numbers = [dtype.lower().startswith(("int", "float")) for dtype in result.plain_dtypes.values()]
            return _laid_out(list(result.plain_dtypes), rows, numbers, columns)
        result = result.plain_frame
    frame = getattr(result, "frame", result)
    # Without pandas nothing is a dataframe.
    if (pandas := sys.modules.get("pandas")) and isinstance(frame, pandas.DataFrame):
        return table(frame, columns)
    if isinstance(result, str):
        return result
    return "\n".join(part for line in fallback.splitlines() for part in _wrapped(line, columns))


def table(frame: pd.DataFrame, columns: int) -> str:
    """A dataframe as a table of this width: long values are wrapped, and only the first rows are shown."""
    shown = [frame[name].head(ROWS) for name in frame.columns]
    rows = [list(map(_text, row)) for row in zip(*shown, strict=True)]
    text = _laid_out([str(column.name) for column in shown], rows, [c.dtype.kind in "iuf" for c in shown], columns)
    more = len(frame) - ROWS
    return text if more <= 0 else f"{text}\n… and {more:,} more rows"


def _laid_out(names: list[str], rows: list[list[str]], numbers: list[bool], columns: int) -> str:
    if not rows:
        return "nothing"
    widths = _widths(names, rows, numbers, columns)
    if widths is None or (len(rows) == 1 and any(len(t) > w for t, w in zip(rows[0], widths, strict=True))):
        return _records(names, rows)
    return "\n".join(_line(row, widths, numbers) for row in [names, *rows])


def _text(value: Any) -> str:
    pandas = sys.modules.get("pandas")
    if pandas and pandas.isna(value) is True:
        return ""
    if pandas and isinstance(value, pandas.Timestamp) and value.tzinfo is None and value == value.normalize():
        return str(value.date())
    if isinstance(value, float):
        return f"{value:.0f}" if math.isfinite(value) and abs(value) >= 1e6 else f"{value:.6g}"
    # A character that moves the cursor would break the table.
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found.group())[1:-1], str(value))


def _widths(names: list[str], rows: list[list[str]], numbers: list[bool], columns: int) -> list[int] | None:
    """The width of each column: its longest value, but the widest texts are narrowed to make the table fit.

    None if they can't be narrowed enough.
    """
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    room = columns - GAP * (len(names) - 1)
    while sum(widths) > room:
        # Numbers and headings are not wrapped.
        narrowed = [
            (width, i) for i, width in enumerate(widths) if not numbers[i] and width > max(NARROWEST, len(names[i]))
        ]
        if not narrowed:
            return None
        widths[max(narrowed)[1]] -= 1
    return widths


def _line(row: list[str], widths: list[int], numbers: list[bool]) -> str:
    cells = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
    height = max(map(len, cells))
    lines = []
    for number in range(height):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        aligned = [
            part.rjust(width) if right else part.ljust(width)
            for part, width, right in zip(parts, widths, numbers, strict=True)
        ]
        lines.append((" " * GAP).join(aligned).rstrip())
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _records(names: list[str], rows: list[list[str]]) -> str:
    """One line for each value, not wrapped, so that a command can be copied."""
    indent = max(map(len, names)) + GAP
    return "\n\n".join("\n".join(f"{n.ljust(indent)}{v}".rstrip() for n, v in zip(names, r, strict=True)) for r in rows)


def plain(markdown: str, columns: int) -> str:
    """Markdown as plain text, with paragraphs wrapped to this width."""
    paragraphs = re.split(r"\n\s*\n", markdown.strip())
    return "\n\n".join(textwrap.fill(_unmarked(text), columns, break_on_hyphens=False) for text in paragraphs)


def _unmarked(text: str) -> str:
    text = re.sub(r"^(#+|>) *", "", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return " ".join(re.sub(r"\*\*|`", "", text).split())
