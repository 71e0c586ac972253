"""The trainer's own code, on both databases and both versions of Prisma that it can use."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.databases import Databases
from support.trainer import Trainer


@pytest.fixture(scope="session")
def trainers(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Trainer]:
    """`trainers(dialect, version)`: the trainer, generated once for each database and each version of Prisma."""
    made: dict[tuple[str, int], Trainer] = {}

    def trainer(dialect: str, version: int = 6) -> Trainer:
        if (dialect, version) not in made:
            folder = tmp_path_factory.mktemp("trainer") / "app"
            made[dialect, version] = Trainer(folder, version, databases.empty(dialect))
        return made[dialect, version]

    return trainer
