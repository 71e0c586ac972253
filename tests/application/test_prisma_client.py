"""x"""
from __future__ import annotations
from collections.abc import Callable
import json
import pytest
from support.trainer import Trainer

@pytest.mark.parametrize("version", [6, 7])
def test_x(dialect: str, version: int, migrated: str, trainers: Callable[[str, int], Trainer]) -> None:
    print(json.dumps(trainers(dialect, version).run("scenario", migrated), indent=1))
