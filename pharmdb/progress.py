"""Progress bars for long-running work, shown only where somebody sees them: on a terminal or in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

T = TypeVar("T")
# Seconds: shorter work gets no bar. In a notebook the bar is an output, which is stored and compared.
DELAY = 1.5
NOTEBOOK_DELAY = 30.0


@contextmanager
def counting(what: str, total: int | None = None, unit: str = " rows") -> Iterator[Callable[[int], object]]:
    """Yields a function that advances a bar on standard error by the number of items just completed.

    The bar is shown only on a terminal or in a notebook, after a short delay, and is removed at the end. On a terminal
    it bypasses `sys.stderr`, because a command stores the output of its cells in the run file.
    """
    where, delay = _looked_at()
    if where is None:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, total=total, unit=unit, delay=delay, leave=False, file=where) as bar:
        yield bar.update


def counted(items: Iterable[T], what: str, total: int | None = None, unit: str = " rows") -> Iterator[T]:
    """Yields the items and counts them on a progress bar."""
    with counting(what, total, unit) as advance:
        for item in items:
            yield item
            advance(1)


def _looked_at() -> tuple[TextIO | None, float]:
    if "IPython" in sys.modules:
        from IPython.core.getipython import get_ipython

        if hasattr(get_ipython(), "kernel"):
            return sys.stderr, NOTEBOOK_DELAY
    terminal = sys.__stderr__
    return (terminal if terminal is not None and terminal.isatty() else None), DELAY
