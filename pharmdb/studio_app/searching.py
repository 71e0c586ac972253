"""Dataframes that can be searched and sorted where widgets can be displayed, and plain tables everywhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from pharmdb.studio_app.bundle import bundle

if TYPE_CHECKING:
    import pandas as pd


def searchable(frame: pd.DataFrame) -> Searchable:
    """Displays a dataframe with a search field, sorted by a click on a heading; `frame` is the dataframe itself."""
    return Searchable(frame)


class Searchable(anywidget.AnyWidget):
    """A dataframe of up to a few hundred rows, all of which are sent to the page."""

    _esm = bundle(Path(__file__).parent / "static" / "searching.js")
    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # Whether each column is sorted by number.
    numbers = traitlets.List(traitlets.Bool()).tag(sync=True)
    rows: Any = traitlets.List().tag(sync=True)

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        missing = frame.isna()
        texts = frame.astype(object).where(~missing, "").astype(str)
        numbers = [dtype.kind in "iuf" for dtype in frame.dtypes]
        columns = [str(name) for name in frame.columns]
        super().__init__(columns=columns, numbers=numbers, rows=texts.to_numpy().tolist())

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        frame: Any = self.frame
        return {**data, "text/plain": repr(frame), "text/html": frame._repr_html_()}, metadata
