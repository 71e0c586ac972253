"""A chart, or, if there is nothing to draw, the same frame with the reason in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pharmdb.learning.charts import Picture, note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS, PALE, GRID = "#9ecae1", "#c6dbef", "#e5e5e5"


def drawn(
    title: str,
    text: str,
    draw: Callable[[Axes], None],
    *,
    empty: str = "",
    size: tuple[float, float] = (8, 4),
) -> Picture:
    """The picture that `draw` draws; with `empty`, one that says why there is nothing."""

    def whole(axes: Axes) -> None:
        axes.set_title(title)
        draw(axes)

    def blank(axes: Axes) -> None:
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        note(axes, empty)

    return Picture(f"{title}: {empty}", blank, (8, 2.5)) if empty else Picture(f"{title}: {text}", whole, size)
