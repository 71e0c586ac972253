"""Warm kernels for the tests, as the studio's server has them, with everything imported that a notebook may need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pharmdb
from pharmdb.studio_app import warm_kernels

_MORE = ("matplotlib.backends.backend_agg", "matplotlib_inline.backend_inline", "pandas.io.formats.style")


@contextmanager
def kernels_in(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which Jupyter starts warm kernels. The folder is new and empty."""
    modules = sorted({getattr(pharmdb, name).__module__ for name in pharmdb.__all__})
    with warm_kernels.warm_kernels(folder, (*warm_kernels.IMPORTED, *_MORE, *modules)) as warm:
        assert warm.wait()
        yield warm.variables
