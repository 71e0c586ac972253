"""The chart of the schema: every text is whole, and every arrow leads from a column to the one that it refers to."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.transforms import Bbox

import pharmdb
from pharmdb.learning import schema_chart
from pharmdb.learning.charts import DPI, Picture
from pharmdb.learning.schema_chart import Column, Entity, Reference

# References inside the middle, to a table itself, to several columns; a name that is longer than all rows.
ODD = [
    Entity(
        "users",
        (Column("id", "bigint", "PK"), Column("boss", "bigint NULL", "FK"), Column("email", "varchar", "U")),
        (Reference("boss", "users", "id"),),
    ),
    Entity(
        "groups",
        (Column("id", "bigint", "PK"), Column("owner", "bigint", "FK"), Column("mail", "varchar", "FK")),
        (Reference("mail", "users", "email"), Reference("owner", "users", "id")),
    ),
    *(
        Entity(
            name,
            (Column("user_id", "bigint", "PK FK"), Column("group_id", "bigint", "PK FK")),
            (Reference("group_id", "groups", "id"), Reference("user_id", "users", "id")),
        )
        for name in ("members", "guests")
    ),
    Entity("a_table_whose_name_is_longer_than_any_of_its_rows", (Column("$x_1$", "jsonb", "PK"),), ()),
]
REFERENCES = {
    *(
        (table, "user_id", "users", "id")
        for table in ("attempts", "bookmarks", "progress_by_tag", "spaced_repetition_items", "user_settings")
    ),
    ("dataset_overrides", "created_by_id", "users", "id"),
}


class Drawing(NamedTuple):
    """In dots from the bottom left: the whole, all texts, the tables' boxes by name, and the corners of the arrows."""

    whole: Bbox
    texts: list[tuple[str, Bbox]]
    boxes: dict[str, Bbox]
    arrows: list[list[tuple[float, float]]]

    def rows(self, table: str) -> list[list[str]]:
        """The texts in the box of a table, line by line."""
        box = self.boxes[table]
        lines: dict[int, list[tuple[float, str]]] = {}
        for text, place in self.texts:
            if box.contains(place.x0, place.y0):
                middle = (place.y0 + place.y1) / 2
                line = next((y for y in lines if abs(y - middle) < 8), round(middle))
                lines.setdefault(line, []).append((place.x0, text))
        return [[text for _, text in sorted(lines[y])] for y in sorted(lines, reverse=True)]

    def column_at(self, point: tuple[float, float]) -> tuple[str, str]:
        """The table at whose edge a point is, and the column in whose row."""
        x, y = point
        ((table, box),) = (
            (name, box)
            for name, box in self.boxes.items()
            if min(abs(x - box.x0), abs(x - box.x1)) < 3 and box.containsy(y)
        )
        (column,) = (t for t, place in self.texts if abs(place.x0 - box.x0) < 20 and place.y0 < y < place.y1)
        return table, column


def drawn(picture: Picture) -> Drawing:
    figure = Figure(figsize=picture.size, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    picture.draw(axes)
    figure.savefig(BytesIO(), format="png", dpi=DPI)
    texts = [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text()]
    boxes = {str(p.get_label()): p.get_window_extent() for p in axes.patches if p.get_label()}
    paths = [patch.get_path() for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    # After the four corners comes the tip.
    arrows = [
        [(float(x), float(y)) for x, y in axes.transData.transform(np.asarray(path.vertices)[:4])] for path in paths
    ]
    return Drawing(Bbox.from_extents(*figure.bbox.extents), texts, boxes, arrows)


def require_clear(tables: Sequence[Entity]) -> None:
    drawing = drawn(schema_chart.schema(tables))
    assert drawing.boxes.keys() == {entity.name for entity in tables}
    for entity in tables:
        columns = [[part for part in column if part] for column in entity.columns]
        assert drawing.rows(entity.name) == [[entity.name], *columns]
    holes = [drawing.whole, *drawing.boxes.values()]
    for text, place in drawing.texts:
        assert all(
            hole.containsx(place.x0 - 3) and hole.containsx(place.x1 + 3) for hole in holes if overlap(hole, place)
        ), text
    for one, other in combinations([place for _, place in drawing.texts], 2):
        assert not overlap(one, other)
    for one, other in combinations(drawing.boxes.values(), 2):
        assert not overlap(one, other)
    found = {(*drawing.column_at(corners[0]), *drawing.column_at(corners[-1])) for corners in drawing.arrows}
    assert found == {(entity.name, *reference) for entity in tables for reference in entity.references}
    for corners in drawing.arrows:
        for (x, y), (to_x, to_y) in pairwise(corners):
            line = Bbox.from_extents(min(x, to_x) + 3, min(y, to_y), max(x, to_x) - 3, max(y, to_y))
            assert not any(overlap(line, box) for box in drawing.boxes.values())
    for (_, start, turn, end), (_, start_, turn_, end_) in combinations(drawing.arrows, 2):
        # Two upright parts in one place lead to the same column.
        if start[0] == start_[0] and end[1] != end_[1]:
            apart = min(start_[1], turn_[1]) - max(start[1], turn[1]), min(start[1], turn[1]) - max(start_[1], turn_[1])
            assert max(apart) > 0


def overlap(one: Bbox, other: Bbox) -> bool:
    return bool(one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1)


def test_the_chart_of_the_database_is_clear(seeded: str) -> None:
    seen = pharmdb.inspect(seeded)
    require_clear(seen.entities)
    assert {(entity.name, *reference) for entity in seen.entities for reference in entity.references} == REFERENCES
    assert str(seen.schema_picture).startswith("Schema: 7 tables; user_settings.user_id → users.id, ")


def test_any_references_can_be_followed() -> None:
    require_clear(ODD)


def test_types_are_those_of_the_database(seeded: str, dialect: str) -> None:
    found = {entity.name: entity.columns for entity in pharmdb.inspect(seeded).entities}
    sqlite = dialect == "sqlite"
    assert found["user_settings"] == (
        Column("id", "integer" if sqlite else "bigint", "PK"),
        Column("user_id", "integer" if sqlite else "bigint", "FK U"),
        Column("language", "text" if sqlite else "varchar", ""),
        *(Column(name, "text" if sqlite else "timestamptz(3)", "") for name in ("created_at", "updated_at")),
    )
    score, feedback = (column for column in found["attempts"] if column.name in ("score", "feedback"))
    assert (score.type, feedback.type) == (("real", "text NULL") if sqlite else ("double", "jsonb NULL"))
