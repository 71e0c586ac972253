"""Progress of long work, where somebody looks on: on a terminal, or in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

T = TypeVar("T")
# Seconds: what is done sooner needs no bar. In a notebook the bar is an output, which is stored and compared.
DELAY = 1.5
NOTEBOOK_DELAY = 30.0


@contextmanager
def counting(what: str, total: int | None = None, unit: str = " rows") -> Iterator[Callable[[int], object]]:
    """Gives a function to call with how many more are done, which moves a bar on standard error.

    Nothing is shown but on a terminal or in a notebook, for the first moment, and afterwards. A command keeps what its
    cells print in the run file; the bar goes past that.
    """
    where, delay = _looked_at()
    if where is None:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, total=total, unit=unit, delay=delay, leave=False, file=where) as bar:
        yield bar.update


def counted(items: Iterable[T], what: str, total: int | None = None, unit: str = " rows") -> Iterator[T]:
    """The items, counted by a bar as they are taken."""
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
