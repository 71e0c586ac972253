"""The first rows as static text and HTML, for places where widgets can't be displayed; the same on every run."""

from __future__ import annotations

from html import escape

from pharmdb.studio_app.cells import Cell


def cell_text(kind: str, cell: Cell) -> str:
    """A cell as one short line."""
    text = cell["t"] if isinstance(cell, dict) else cell
    if text is None:
        return "NULL"
    if kind == "datetime":
        return f"{text[:19]}+00:00"
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:59]}…"


def as_text(caption: str, names: list[str], rows: list[list[str]]) -> str:
    """The rows as aligned text with a caption."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    lines = ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)) for row in [names, *rows]]
    return "\n".join([caption, "", *(line.rstrip() for line in lines)])


def as_html(caption: str, names: list[str], rows: list[list[str]]) -> str:
    """The rows as an HTML table with a caption."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(part)}</td>' for part in row)}</tr>" for row in rows)
    caption = f'<caption style="text-align: left">{escape(caption)}</caption>'
    return f'<table border="1" class="dataframe">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
