"""Prisma's command line on SQLite: `migrate reset` and `db seed`, as the application had them before pharmdb.

Version 6, because its engine also comes as WebAssembly from npm; that of version 7 is always a download.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pharmdb
from pharmdb import settings
from pharmdb.seeding import seeding

VERSION = 6
_SOURCES = settings.SOURCE / "benchmarks" / "prisma"
_MIGRATION = "migrations/0_init/migration.sql"
_COUNTS = ("correctCount", "wrongCount")
_KEY = ("module", "courseBlock", "tag")


class Project:
    """A folder with schema.prisma, one migration made from it, a seed of pharmdb's rows, and a generated client.

    Raises what `support.trainer` raises where Node.js is missing or npm installs nothing.
    """

    def __init__(self, folder: Path) -> None:
        # The packages are installed, and the commands run, by the tests' helpers.
        sys.path.insert(0, str(settings.SOURCE / "tests"))
        from support import trainer

        self._trainer = trainer
        self.folder = folder
        self.database = folder / "application.db"
        modules = trainer.modules(VERSION)
        shutil.copytree(_SOURCES, folder)
        trainer.link(modules, folder / "node_modules")
        model = f"sqlite:///{folder / 'model.db'}"
        pharmdb.migrate(model)
        pharmdb.prisma_schema(model, output=str(folder), prisma_version=VERSION)
        (folder / "seed.json").write_text(json.dumps(_rows()), encoding="utf-8")
        self._run("generate")
        script = self._run("migrate", "diff", "--from-empty", "--to-schema-datamodel", "schema.prisma", "--script")
        (folder / _MIGRATION).parent.mkdir(parents=True)
        (folder / _MIGRATION).write_text(script, encoding="utf-8")
        (folder / "migrations" / "migration_lock.toml").write_text('provider = "sqlite"\n', encoding="utf-8")

    def reset(self) -> None:
        """Two processes, as in version 7, whose reset generates and seeds nothing.

        The file is deleted first: on SQLite the engine in WebAssembly only deletes the rows, and then finds the tables
        that its migration creates.
        """
        self.database.unlink(missing_ok=True)
        self._run("migrate", "reset", "--force", "--skip-generate", "--skip-seed")
        self.seed()

    def seed(self) -> None:
        """`prisma db seed`, which starts the seed's own process."""
        self._run("db", "seed")

    def _run(self, *words: str) -> str:
        url = f"file:{self.database}"
        return self._trainer.run("node_modules/.bin/prisma", *words, cwd=self.folder, DATABASE_URL=url)


def _rows() -> dict[str, list[dict[str, object]]]:
    """The rows of pharmdb's own seed, for seed.mjs."""
    seed = seeding.read()
    return {
        "users": [dict(row) for row in seed.users],
        "progress": [
            {
                "email": email,
                "key": dict(zip(_KEY, values, strict=False)),
                "counts": dict(zip(_COUNTS, values[3:], strict=True)),
            }
            for email, *values in seed.progress
        ],
    }
