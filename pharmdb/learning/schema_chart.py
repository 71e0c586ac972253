"""A chart of the schema, as it is in the database: its columns with their types, and where each reference leads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Dialect
from sqlalchemy import inspect as inspector
from sqlalchemy.types import NullType, TypeEngine

from pharmdb.learning.charts import Picture
from pharmdb.models import MODELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Column(NamedTuple):
    """A column: its type as the database names it, with NULL if that is allowed, and its marks: PK, FK, U."""

    name: str
    type: str
    marks: str


class Reference(NamedTuple):
    """A foreign key's column, and the table and column that it refers to."""

    column: str
    table: str
    to: str


@dataclass(frozen=True)
class Entity:
    """One table of the chart."""

    name: str
    columns: tuple[Column, ...]
    references: tuple[Reference, ...]


def entities(connection: Connection) -> list[Entity]:
    """The tables of pharmdb, as they are in the database. Marks: PK, FK, U (part of a unique constraint)."""
    view = inspector(connection)
    found = []
    for name in (model.__tablename__ for model in MODELS):
        keys = set(view.get_pk_constraint(name)["constrained_columns"])
        references = [
            Reference(column, key["referred_table"], to)
            for key in view.get_foreign_keys(name)
            for column, to in zip(key["constrained_columns"], key["referred_columns"], strict=True)
        ]
        foreign = {reference.column for reference in references}
        unique = {column for key in view.get_unique_constraints(name) for column in key["column_names"]}
        columns = []
        for column in view.get_columns(name):
            own = column["name"]
            marks = " ".join(mark for mark, group in (("PK", keys), ("FK", foreign), ("U", unique)) if own in group)
            null = " NULL" if column["nullable"] and own not in keys else ""
            columns.append(Column(own, _type(column["type"], connection.dialect) + null, marks))
        found.append(Entity(name, tuple(columns), tuple(sorted(references))))
    return found


def _type(type_: TypeEngine[object], dialect: Dialect) -> str:
    if isinstance(type_, NullType):
        return "other"
    long = type_.compile(dialect).lower()
    return re.sub(r"^timestamp(\(\d\))? with time zone$", r"timestamptz\1", long).replace("double precision", "double")


# In points, as everything that is drawn. The font has one width for all characters (0.602 of its size), so that columns
# are as wide as their longest text without asking a renderer. At 100 dots per inch these sizes make it 7 and 8 dots.
_SIZE, _HEAD_SIZE, _TITLE_SIZE = 8.4, 9.6, 12.0
_CHARACTER = 0.602
_ROW, _HEAD, _PAD = 15.0, 19.0, 9.0
_GAP, _EDGE, _TOP = 20.0, 12.0, 46.0
_LANE, _TIP = 10.0, 22.0
_INK, _FAINT, _LINE = "#222222", "#555555", "#0072b2"


class Box(NamedTuple):
    """Where a table is drawn, in points from the top left; `middle` of the three columns holds the referenced ones."""

    entity: Entity
    left: float
    top: float
    middle: bool

    @property
    def height(self) -> float:
        return _height(self.entity)

    def line(self, column: str) -> float:
        """The height of a column's row, at its middle."""
        names = [each.name for each in self.entity.columns]
        return self.top + _HEAD + _ROW * (names.index(column) + 0.5)


def schema(tables: Sequence[Entity]) -> Picture:
    """Draws the referenced tables in the middle, the others on both sides.

    An arrow leads from each referring column to the column that it refers to. Arrows to the same column join.
    """
    references = [(entity, reference) for entity in tables for reference in entity.references]
    targets = list(dict.fromkeys((r.table, r.to) for _, r in references))
    parents = {table for table, _ in targets}
    middle = [e for e in tables if e.name in parents]
    # Tables go to the two sides alternately, the tallest first, so that both are about equally tall.
    tallest = sorted((e for e in tables if e.name not in parents), key=lambda e: -len(e.columns))
    columns = (tallest[0::2], middle, tallest[1::2])
    widths = _widths(tables)
    wide = sum(widths) + 4 * _PAD
    gutter = _TIP + _LANE * (len(targets) + 1)
    heights = [sum(_height(e) + _GAP for e in column) - _GAP for column in columns]
    width, height = 2 * _EDGE + 3 * wide + 2 * gutter, _TOP + max(heights) + _EDGE
    places: dict[str, Box] = {}
    for number, column in enumerate(columns):
        top = _TOP + (max(heights) - heights[number]) / 2
        for entity in column:
            places[entity.name] = Box(entity, _EDGE + number * (wide + gutter), top, number == 1)
            top += _height(entity) + _GAP

    def draw(axes: Axes) -> None:
        # The axes are the whole picture, and its unit is the point.
        axes.set_position((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        axes.text(_EDGE, 16, "Schema", va="center", fontsize=_TITLE_SIZE, weight="bold")
        legend = "PK primary key · FK foreign key · U unique · NULL optional"
        axes.text(_EDGE, 33, legend, va="center", fontsize=_SIZE, color=_FAINT, family="monospace")
        for entity, reference in references:
            lane = _LANE * (targets.index((reference.table, reference.to)) + 1)
            _arrow(axes, places[entity.name], places[reference.table], reference, wide, lane)
        for box in places.values():
            _draw(axes, box, wide, widths)

    names = ", ".join(f"{e.name}.{r.column} → {r.table}.{r.to}" for e, r in references)
    return Picture(f"Schema: {len(tables)} tables; {names}", draw, (width / 72, height / 72))


def _height(entity: Entity) -> float:
    return _HEAD + _ROW * len(entity.columns)


def _width(texts: Iterable[str], size: float = _SIZE) -> float:
    return max((len(text) for text in texts), default=0) * size * _CHARACTER


def _widths(tables: Sequence[Entity]) -> tuple[float, float, float]:
    """The widths of the names, types and marks; the names' is at least what the names of the tables require."""
    columns = [column for entity in tables for column in entity.columns]
    types, marks = _width(c.type for c in columns), _width(c.marks for c in columns)
    head = _width((e.name for e in tables), _HEAD_SIZE) - types - marks - 2 * _PAD
    return max(_width(c.name for c in columns), head), types, marks


def _draw(axes: Axes, box: Box, wide: float, widths: tuple[float, float, float]) -> None:
    from matplotlib.patches import Rectangle

    entity, left, top, _ = box
    axes.add_patch(Rectangle((left, top), wide, box.height, facecolor="white", edgecolor=_INK, label=entity.name))
    axes.add_patch(Rectangle((left, top), wide, _HEAD, facecolor="#d9e6f2", edgecolor=_INK))

    def write(x: float, y: float, text: str, size: float = _SIZE, **kw: Any) -> None:
        axes.text(x, y, text, va="center_baseline", fontsize=size, family="monospace", parse_math=False, **kw)

    write(left + _PAD, top + _HEAD / 2, entity.name, _HEAD_SIZE, weight="bold")
    for column in entity.columns:
        y = box.line(column.name)
        write(left + _PAD, y, column.name, color=_INK, weight="bold" if "PK" in column.marks else "normal")
        write(left + widths[0] + 2 * _PAD, y, column.type, color=_FAINT)
        write(left + wide - _PAD, y, column.marks, color=_FAINT, ha="right")


def _arrow(axes: Axes, child: Box, parent: Box, reference: Reference, wide: float, lane: float) -> None:
    """Draws a reference with right angles; its upright part is in the lane of the column that it leads to."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    start, end = child.line(reference.column), parent.line(reference.to)
    # From the left to the right, or the other way; from the middle, around the right side of both.
    side = 1 if child.left < parent.left else -1
    out = child.left + (wide if side > 0 or child.middle else 0)
    into = parent.left + (0 if side > 0 else wide)
    upright = into - side * (_TIP + lane - _LANE)
    route = Path([(out, start), (upright, start), (upright, end), (into, end)])
    axes.add_patch(
        FancyArrowPatch(
            path=route,
            arrowstyle="-|>",
            mutation_scale=9,
            joinstyle="miter",
            capstyle="butt",
            color=_LINE,
            linewidth=1.1,
        )
    )
