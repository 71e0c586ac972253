"""A chart of the schema, as it is in the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy import inspect as inspector

from pharmdb.learning.charts import Picture
from pharmdb.models import MODELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Entity:
    """One table of the chart: its columns as (name, mark), and the tables it refers to."""

    name: str
    columns: tuple[tuple[str, str], ...]
    parents: tuple[str, ...]


def entities(connection: Connection) -> list[Entity]:
    """The tables of pharmdb, as they are in the database. Marks: PK, FK, U (part of a unique constraint)."""
    view = inspector(connection)
    found = []
    for name in (model.__tablename__ for model in MODELS):
        keys = set(view.get_pk_constraint(name)["constrained_columns"])
        foreign = view.get_foreign_keys(name)
        references = {column for key in foreign for column in key["constrained_columns"]}
        unique = {column for key in view.get_unique_constraints(name) for column in key["column_names"]}
        columns = []
        for column in view.get_columns(name):
            marks = [m for m, group in (("PK", keys), ("FK", references), ("U", unique)) if column["name"] in group]
            columns.append((column["name"], " ".join(marks)))
        found.append(Entity(name, tuple(columns), tuple(sorted({key["referred_table"] for key in foreign}))))
    return found


def schema(tables: list[Entity]) -> Picture:
    """Draws the referenced tables in the middle, the others on both sides, and each reference as an arrow."""
    parents = {parent for entity in tables for parent in entity.parents}
    middle = [e for e in tables if e.name in parents]
    others = [e for e in tables if e.name not in parents]
    # Tables go to the two sides alternately, the tallest first, so that both are about equally tall.
    tallest = sorted(others, key=lambda e: -len(e.columns))
    sides = [tallest[0::2], tallest[1::2]]
    columns = (sides[0], middle, sides[1])
    height = max(sum(len(e.columns) + 2.5 for e in side) for side in columns)

    def draw(axes: Axes) -> None:
        axes.set_title("Entities and relationships (PK primary key, FK foreign key, U unique)")
        axes.set_xlim(0, 38)
        axes.set_ylim(height, 0)
        axes.axis("off")
        places: dict[str, tuple[float, float, float]] = {}
        for number, side in enumerate(columns):
            gap = (height - sum(len(e.columns) + 1 for e in side)) / (len(side) + 1)
            top = gap
            for entity in side:
                _box(axes, entity, 1 + 13 * number, top)
                places[entity.name] = (1 + 13 * number, top, len(entity.columns) + 1)
                top += len(entity.columns) + 1 + gap
        for entity in tables:
            for parent in entity.parents:
                if parent != entity.name:
                    _arrow(axes, places[entity.name], places[parent], height)

    names = ", ".join(f"{e.name} → {' '.join(e.parents)}" for e in tables if e.parents)
    return Picture(f"Schema: {len(tables)} tables; {names}", draw, (10, height / 4.2))


_WIDTH = 10


def _box(axes: Axes, entity: Entity, left: float, top: float) -> None:
    from matplotlib.patches import Rectangle

    rows = len(entity.columns) + 1
    axes.add_patch(Rectangle((left, top), _WIDTH, rows, facecolor="white", edgecolor="#333333"))
    axes.add_patch(Rectangle((left, top), _WIDTH, 1, facecolor="#d9e6f2", edgecolor="#333333"))
    axes.text(left + _WIDTH / 2, top + 0.5, entity.name, ha="center", va="center", fontsize=8.5, weight="bold")
    for row, (name, marks) in enumerate(entity.columns, start=1):
        axes.text(left + 0.3, top + row + 0.5, name, va="center", fontsize=7.5, parse_math=False)
        axes.text(left + _WIDTH - 0.3, top + row + 0.5, marks, ha="right", va="center", fontsize=6.5, color="#555555")


def _arrow(axes: Axes, child: tuple[float, float, float], parent: tuple[float, float, float], height: float) -> None:
    """Draws an arrow from child to parent; arrows end at heights in the order of their starts, so that none overlap."""
    from_left = child[0] < parent[0]
    start = (child[0] + (_WIDTH if from_left else 0), child[1] + child[2] / 2)
    end_y = parent[1] + 0.5 + (parent[2] - 1) * start[1] / height
    end = (parent[0] + (0 if from_left else _WIDTH), end_y)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "#333333", "linewidth": 0.9})
