"""Prisma's own command line: a reset and a seed of pharmdb's seed rows, as the application had them."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from pharmdb import settings
from pharmdb.seeding import seeding

_SOURCES = settings.SOURCE / "benchmarks" / "prisma"


@dataclass(frozen=True)
class Project:
    """A folder with schema.prisma, one migration that creates its tables, the client and the seed script."""

    folder: Path

    def run(self, *arguments: str) -> str:
        """What `prisma …` prints. Raises CalledProcessError."""
        from support import trainer

        url = f"file:{self.folder / 'prisma.db'}"
        options = ("--config=prisma.config.mjs",)
        return trainer.run("node_modules/.bin/prisma", *arguments, *options, cwd=self.folder, DATABASE_URL=url)

    def reset(self) -> None:
        """Drops everything and applies the migration, then runs the seed script."""
        # As a part of the reset, the script can find the database locked by it.
        self.run("migrate", "reset", "--force", "--skip-generate", "--skip-seed")
        self.seed()

    def seed(self) -> None:
        """Runs the seed script."""
        self.run("db", "seed")


def project(folder: Path) -> Project | str:
    """The project, ready to be reset; or why there is none: no Node.js, or npm can't install Prisma."""
    sys.path.insert(0, str(settings.SOURCE / "tests"))
    from _pytest.outcomes import OutcomeException
    from support import trainer

    try:
        trainer.Trainer(folder, 6, f"sqlite:///{folder / 'prisma.db'}")
    except OutcomeException as error:
        return str(error)
    for source in _SOURCES.iterdir():
        shutil.copy(source, folder)
    rows = {
        name: list(csv.DictReader((seeding.SEED_DIRECTORY / f"{name}.csv").open())) for name in ("users", "progress")
    }
    (folder / "seed.json").write_text(json.dumps(rows))
    made = Project(folder)
    migration = folder / "migrations" / "0_init"
    migration.mkdir(parents=True)
    schema = ("--from-empty", "--to-schema-datamodel", "schema.prisma", "--script")
    (migration / "migration.sql").write_text(made.run("migrate", "diff", *schema))
    (migration.parent / "migration_lock.toml").write_text('provider = "sqlite"\n')
    return made
