"""The studio: browse and edit the database in a notebook, or as a page of its own."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """`pharmdb.studio(…)` is the verb; Python puts this package under the same name, once it is imported."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from pharmdb.studio.widget import studio

        return studio(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
