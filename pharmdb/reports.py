"""Building blocks of the commands' reports: dataframes, and an outcome row for people and programs to read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from pharmdb.plain_table import PlainTable, Rows, framed

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    import pandas as pd

SHORT = 12


def wide_tables() -> None:
    """Makes pandas print tables up to 120 characters wide, with values of up to 100 characters."""
    if _postponing.allowed and "pandas" not in sys.modules:
        _postponing.begin()
        return
    import pandas as pd

    pd.set_option("display.width", 120, "display.max_columns", 20, "display.max_colwidth", 100)


def table(rows: Rows, columns: dict[str, str]) -> pd.DataFrame:
    """A dataframe of these rows; `columns` maps each name to its dtype, which also applies if there are no rows.

    After `wide_tables` in a command's notebook it is a PlainTable, as long as nothing has imported pandas.
    """
    return cast("pd.DataFrame", PlainTable(rows, columns)) if _postponing.begun else framed(rows, columns)


class _Postponing:
    """As a finder of modules it finds nothing, but widens the tables of pandas once that has been imported."""

    allowed = False

    @property
    def begun(self) -> bool:
        return self in sys.meta_path

    def begin(self) -> None:
        if not self.begun:
            sys.meta_path.insert(0, self)

    def end(self) -> None:
        if self.begun:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != "pandas":
            return None
        self.end()
        spec: Any = find_spec(name)
        load = spec.loader.exec_module

        def load_and_widen(module: Any) -> None:
            load(module)
            wide_tables()

        spec.loader.exec_module = load_and_widen
        return cast("ModuleSpec", spec)


_postponing = _Postponing()


@contextmanager
def without_pandas() -> Iterator[None]:
    """Lets the tables of a notebook that doesn't use pandas itself be plain ones."""
    _postponing.allowed = True
    try:
        yield
    finally:
        _postponing.allowed = False
        _postponing.end()


def outcome(*, ok: bool, changed: str, fingerprint: str, next: str) -> pd.DataFrame:
    """One row: ok (bool), changed, fingerprint (its first 12 hex digits), next (a command)."""
    return table(
        [(ok, changed, fingerprint[:SHORT], next)],
        {"ok": "bool", "changed": "str", "fingerprint": "str", "next": "str"},
    )
