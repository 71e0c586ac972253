"""A table that is shown exactly as its dataframe would be, without importing pandas, which takes as long as a seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

Rows = list[tuple[Any, ...]] | list[list[Any]]
# The limits within which pandas neither wraps nor shortens a table after `wide_tables`.
WIDTH, COLUMNS, CELL, ROWS = 120, 20, 100, 60
# What pandas puts around each table in HTML.
_HTML = """\
<div>
<style scoped>
    .dataframe tbody tr th:only-of-type {{
        vertical-align: middle;
    }}

    .dataframe tbody tr th {{
        vertical-align: top;
    }}

    .dataframe thead th {{
        text-align: right;
    }}
</style>
<table border="1" class="dataframe">
  <thead>
    <tr style="text-align: right;">
{}
    </tr>
  </thead>
  <tbody>
{}  </tbody>
</table>
</div>"""


def framed(rows: Rows, columns: dict[str, str]) -> pd.DataFrame:
    """A dataframe of these rows; `columns` maps each name to its dtype, which also applies if there are no rows."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns)).astype(columns)


class PlainTable:
    """Rows that become a dataframe as soon as anything but their text, HTML or length is asked for.

    Its own names begin with `plain_`: others may be those of columns.
    """

    def __init__(self, rows: Rows, columns: dict[str, str]) -> None:
        self.plain_rows, self.plain_dtypes = rows, columns

    @cached_property
    def plain_frame(self) -> pd.DataFrame:
        return framed(self.plain_rows, self.plain_dtypes)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # IPython asks for many ways to show an object.
            raise AttributeError(name)
        return getattr(self.plain_frame, name)

    def __getitem__(self, key: Any) -> Any:
        return self.plain_frame[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.plain_frame[key] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.plain_frame)

    def __len__(self) -> int:
        return len(self.plain_frame if "plain_frame" in vars(self) else self.plain_rows)

    @property
    def plain_texts(self) -> list[list[str]] | None:
        """The text of each value; None for a table that only pandas can show, or that was changed with its help."""
        if "plain_frame" in vars(self) or len(self.plain_rows) > ROWS or len(self.plain_dtypes) > COLUMNS:
            return None
        if not all(_is_plain(value) for row in self.plain_rows for value in row):
            return None
        return [list(map(str, row)) for row in self.plain_rows]

    def __repr__(self) -> str:
        texts = self.plain_texts
        if texts is None:
            return repr(self.plain_frame)
        names = list(self.plain_dtypes)
        if not texts:
            return f"Empty DataFrame\nColumns: [{', '.join(names)}]\nIndex: []"
        index = ["", *map(str, range(len(texts)))]
        # Pandas puts a blank in front of each value, and of a heading above anything but strings.
        heads = [name if dtype == "str" else f" {name}" for name, dtype in self.plain_dtypes.items()]
        widths = [max(len(h), *(len(v) + 1 for v in vs)) for h, *vs in zip(heads, *texts, strict=True)]
        lines = [
            " ".join((number.ljust(len(index[-1])), *map(str.rjust, row, widths)))
            for number, row in zip(index, [names, *texts], strict=True)
        ]
        return "\n".join(lines) if len(lines[0]) <= WIDTH else repr(self.plain_frame)

    def _repr_html_(self) -> str:
        texts = self.plain_texts
        if texts is None:
            frame: Any = self.plain_frame
            html: str = frame._repr_html_()
            return html
        head = "\n".join(f"      <th>{_html(name)}</th>" for name in ("", *self.plain_dtypes))
        rows = (
            "\n".join(
                ("    <tr>", f"      <th>{number}</th>", *(f"      <td>{_html(t)}</td>" for t in row), "    </tr>\n")
            )
            for number, row in enumerate(texts)
        )
        return _HTML.format(head, "".join(rows))


def _is_plain(value: Any) -> bool:
    """Whether pandas shows the value by `str`."""
    if isinstance(value, str):
        return len(value) <= CELL and value.isprintable()
    if type(value) is float:
        # Pandas shows all numbers of a column with the same number of decimal places.
        return 0 <= value < 100_000 and value == round(value, 1)
    return type(value) is bool or (type(value) is int and value >= 0)


def _html(text: str) -> str:
    return escape(text.strip(), quote=False).replace("  ", "&nbsp;&nbsp;")
