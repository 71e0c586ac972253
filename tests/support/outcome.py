"""Reads the outcome row of a notebook that has run."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree


def outcome_row(notebook: dict[str, Any]) -> dict[str, str]:
    """The one row of the table in the last cell, as {column: text}."""
    (output,) = notebook["cells"][-1]["outputs"]
    html = "".join(output["data"]["text/html"])
    table = ElementTree.fromstring(html[html.index("<table") : html.index("</table>") + len("</table>")])
    header = [cell.text or "" for cell in table.findall("./thead/tr/th")]
    (row,) = table.findall("./tbody/tr")
    values = [cell.text or "" for cell in row.findall("./td")]
    return dict(zip(header[1:], values, strict=True))
