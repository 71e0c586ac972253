"""Progress of long work, where somebody looks on: on a terminal, or in a notebook."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

# Seconds: what is done sooner needs no bar.
DELAY = 1.5


def bar(what: str, total: int | None = None, unit: str = " rows", **options: Any) -> tqdm[Any]:
    """A tqdm bar on the standard error of a terminal or a notebook, and none elsewhere; it goes away at the end.

    A command keeps what its cells print in the run file; the bar goes past that.
    """
    # Numbers of such a size are counted where tqdm is imported already; the import takes a moment.
    from tqdm import tqdm

    where = _looked_at()
    return tqdm(desc=what, total=total, unit=unit, delay=DELAY, leave=False, file=where, disable=not where, **options)


def _looked_at() -> TextIO | None:
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython

        if hasattr(get_ipython(), "kernel"):
            return sys.stderr
    return sys.__stderr__ if sys.__stderr__ is not None and sys.__stderr__.isatty() else None
