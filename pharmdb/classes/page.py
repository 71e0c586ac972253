"""The report as one HTML file without scripts, which shows the same everywhere, offline and on paper."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Protocol

from pharmdb import progress
from pharmdb.classes import definitions
from pharmdb.classes.files import MARK
from pharmdb.learning.charts import Picture

if TYPE_CHECKING:
    import pandas as pd

# Rows of a table on the page; the others are in the files of `tables`.
MOST_ROWS = 200
# The picture of each table that has one.
PICTURES = {
    "weeks": ("weeks_picture",),
    "blocks": ("blocks_picture",),
    "tags": ("tags_picture",),
    "curve": ("curve_picture",),
    "retention": ("retention_picture",),
    "hours": ("hours_picture",),
    "scores": ("scores_picture",),
    "items": ("items_picture", "scale_picture"),
    "at_risk": ("at_risk_picture",),
    "forecast": ("forecast_picture",),
    "learner_blocks": ("learner_picture",),
}

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 62rem; margin: 1.5rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; }
p.note { background: #fff6e0; padding: .4rem .7rem; border-left: 4px solid #e69f00; }
img { max-width: 100%; height: auto; display: block; margin: .5rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; margin: .5rem 0; }
th, td { padding: .15rem .5rem; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top; }
th { border-bottom: 2px solid #888; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
details { margin: .3rem 0 .8rem; font-size: .85rem; } dt { font-weight: 600; } dd { margin: 0 0 .2rem 1rem; }
nav { columns: 3; font-size: .9rem; } nav a { display: block; }
@media print {
  @page { size: A4; margin: 12mm; }
  @page broad { size: A4 landscape; }
  .broad { page: broad; }
  body { max-width: none; margin: 0; font-size: 9.5pt; } nav { display: none; }
  h2 { break-after: avoid; } img, tr, dl > div { break-inside: avoid; } img { max-height: 11cm; }
  details::details-content { content-visibility: visible; } dl { columns: 2; margin: 0; }
  thead { display: table-header-group; } .wide { overflow: visible; } table { font-size: 7pt; }
  th, td { padding: .1rem .25rem; overflow-wrap: break-word; } td.n { white-space: nowrap; }
}
"""


class Report(Protocol):
    """What is shown; see reporting.ClassReport."""

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know besides."""


def html(report: Report) -> str:
    """The page, with its pictures and the definition of each column in it."""
    tables = report.tables
    if tables["learner"].empty:
        tables = {name: data for name, data in tables.items() if not name.startswith("learner_") and name != "learner"}
    period = report.tables["period"].iloc[0]
    ends = [*_texts(report.tables["period"]["since"]), *_texts(report.tables["period"]["until"])]
    title = f"Class report, {' to '.join(end[:10] for end in ends) if all(ends) else 'no attempts'}"
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8">{MARK}',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<header><h1>{title}</h1><p>{escape(str(period['counted']))}. Days and hours: {escape(period['time_zone'])}. "
        f"Learners by {period['names']}. An attempt is correct if its score is 50 or more.</p></header>",
        *(f'<p class="note">{escape(note)}</p>' for note in report.notes),
        "<nav>",
        *(f'<a href="#{name}">{escape(definitions.TITLES[name])}</a>' for name in tables),
        "</nav><main>",
    ]
    for name, data in progress.counted(tables.items(), "page", len(tables), " tables"):
        parts += _section(name, data, [getattr(report, picture) for picture in PICTURES.get(name, ())])
    return "\n".join([*parts, "</main></body></html>", ""])


def _section(name: str, data: pd.DataFrame, pictures: list[Picture]) -> Iterator[str]:
    # On paper a table of many columns needs the broad side.
    broad = ' class="broad"' if len(definitions.TABLES[name]) > 12 else ""
    yield f'<section id="{name}"{broad}><h2>{escape(definitions.TITLES[name])}</h2>'
    for picture in pictures:
        encoded = b64encode(picture.png).decode()
        yield f'<img alt="{escape(str(picture))}" src="data:image/png;base64,{encoded}">'
    if data.empty:
        yield "<p>No rows.</p>"
    else:
        yield from _table(name, data.head(MOST_ROWS))
    if len(data) > MOST_ROWS:
        yield f"<p>The first {MOST_ROWS} of {len(data)} rows; all are in the files of <code>--tables</code>.</p>"
    yield "<details><summary>What the columns say</summary><dl>"
    for column, found in definitions.TABLES[name].items():
        unit = f" ({escape(found.unit)})" if found.unit else ""
        yield f"<div><dt>{escape(column)}{unit}</dt><dd>{escape(found.words)}</dd></div>"
    yield "</dl></details></section>"


def _table(name: str, data: pd.DataFrame) -> Iterator[str]:
    columns = definitions.TABLES[name]
    marks = [' class="n"' if column.dtype in ("int64", "Int64", "Float64") else "" for column in columns.values()]
    heads = zip(columns, columns.values(), marks, strict=True)
    head = "".join(f'<th scope="col"{mark}>{escape(_head(name, c.unit))}</th>' for name, c, mark in heads)
    yield f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>'
    texts = [_texts(data[column]) for column in columns]
    for row in zip(*texts, strict=True):
        yield f"<tr>{''.join(f'<td{mark}>{escape(text)}</td>' for mark, text in zip(marks, row, strict=True))}</tr>"
    yield "</tbody></table></div>"


def _head(name: str, unit: str) -> str:
    words = name.replace("_", " ")
    return f"{words} ({unit})" if unit == "%" else words


def _texts(values: pd.Series) -> list[str]:
    dtype, missing = str(values.dtype), values.isna().tolist()
    if dtype.startswith("datetime64"):
        found = values.dt.strftime("%Y-%m-%d %H:%M" if "UTC" in dtype else "%Y-%m-%d").tolist()
    else:
        found = [{True: "yes", False: "no"}[one] if one is True or one is False else str(one) for one in values]
    return ["" if none else str(text) for none, text in zip(missing, found, strict=True)]
