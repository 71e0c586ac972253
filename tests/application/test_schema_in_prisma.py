"""What Prisma says about schema.prisma: it is formatted, and the databases are as it says; `generate` validates it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from support.trainer import SOURCES, modules, run

import pharmdb

# What Prisma can't express. On SQLite a STRICT table has no names for times, booleans and JSON, and Prisma's now() is
# another text; the index of a unique constraint has a name of SQLite's own. On PostgreSQL an Int is an INTEGER.
STRICT = {"DateTime": "String", "Json": "String", "Boolean": "Int"}
NOW = "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"


def as_in_sqlite(line: str, table: str) -> str:
    text = re.sub(r"^(\w+) (\w+)", lambda match: f"{match[1]} {STRICT.get(match[2], match[2])}", line)
    text = text.replace("@default(now())", f'@default("{NOW}")').replace("(false)", '(dbgenerated("false"))')
    return re.sub(r'map: "uq_\w+"', f'map: "sqlite_autoindex_{table}_1"', text)


def as_in_postgresql(line: str, _table: str) -> str:
    return re.sub(r"^(\w*[iI]d) Int\b", r"\1 BigInt", line)


AS_IN = {"sqlite": as_in_sqlite, "postgresql": as_in_postgresql}


def lines_of_models(text: str) -> dict[str, set[str]]:
    """The lines of each model, with single blanks."""
    found = re.findall(r"^model (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name: {" ".join(line.split()) for line in body.splitlines() if line.strip()} for name, body in found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node_modules").symlink_to(modules(6))
    shutil.copy(SOURCES / "prisma.config.mjs", tmp_path)
    return tmp_path


def prisma(folder: Path, *command: str, url: str) -> str:
    line = pharmdb.prisma_schema(url).environment.strip()
    settings = {"DATABASE_URL": line.removeprefix("DATABASE_URL=").strip('"')}
    options = ("--schema=schema.prisma", "--config=prisma.config.mjs")
    return run("node_modules/.bin/prisma", *command, *options, cwd=folder, **settings)


def test_the_database_is_what_the_schema_says(seeded: str, dialect: str, folder: Path) -> None:
    report = pharmdb.prisma_schema(seeded, output=str(folder))
    found = lines_of_models(prisma(folder, "db", "pull", "--print", url=seeded))
    written = lines_of_models(report.schema)
    assert set(found) - set(written) == {"alembic_version", "pharmdb_environment", "pharmdb_revisions"}
    for name, table in report.models[["model", "table"]].itertuples(index=False):
        expected = {AS_IN[dialect](line, table) for line in written[name]}
        assert {line for line in found[name] if not line.startswith("///")} == expected, name


def test_the_schema_is_as_prisma_formats_it(seeded: str, folder: Path) -> None:
    report = pharmdb.prisma_schema(seeded, output=str(folder))
    prisma(folder, "format", url=seeded)
    assert (folder / "schema.prisma").read_text(encoding="utf-8") == report.schema
