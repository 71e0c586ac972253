"""What _prisma_migrations may say of an old database: its tables and columns tell the stage, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest
from support import legacy, raw
from support.databases import Databases
from support.legacy import MIGRATIONS, STAGES

import pharmdb
from pharmdb.errors import RevisionError


def recognized(source: str, databases: Databases) -> tuple[int, str]:
    """The stage and the notes."""
    report = pharmdb.upgrade(source, databases.empty("sqlite"), dry_run=True)
    assert report.rejects.empty
    notes = report.recognized[["what", "found"]].itertuples(index=False)
    return report.stage, "\n".join(f"{what}: {found}" for what, found in notes)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_recognized_with_its_own_history_another_and_none(
    databases: Databases, dialect: str, stage: int
) -> None:
    source = legacy.make(databases.empty(dialect), stage, legacy.clean(dialect))
    found, own = recognized(source, databases)
    assert (found, "other migrations" in own, "db push" in own) == (stage, False, False)
    raw.run(source, 'DELETE FROM "_prisma_migrations"', legacy.migration("0_init", dialect))
    found, squashed = recognized(source, databases)
    assert (found, "other migrations: 0_init" in squashed) == (stage, True)
    raw.run(source, 'DROP TABLE "_prisma_migrations"')
    found, pushed = recognized(source, databases)
    assert (found, "db push" in pushed) == (stage, True)


@pytest.fixture
def old(databases: Databases, dialect: str) -> str:
    return legacy.make(databases.empty(dialect), 4, legacy.clean(dialect))


def test_later_migrations_are_a_note_and_failed_ones_too(old: str, databases: Databases, dialect: str) -> None:
    unknown = [f"2026030100000{n}_{name}" for n, name in enumerate(("switch_to_postgresql", "add_index", "broken"))]
    raw.run(
        old,
        legacy.migration(unknown[0], dialect),
        legacy.migration(unknown[1], dialect),
        'CREATE INDEX "Attempt_score_idx" ON "Attempt" ("score")',
        legacy.migration(unknown[2], dialect, finished=False),
        legacy.migration(MIGRATIONS[1], dialect, finished=False, rolled_back=True),
    )
    stage, notes = recognized(old, databases)
    assert stage == 4
    assert f"other migrations: {unknown[0]}, {unknown[1]}:" in notes
    assert f"failed migration: {unknown[2]}: started but never finished" in notes
    assert f"failed migration: {MIGRATIONS[1]}: rolled back" in notes


def test_tables_count_for_more_than_the_name_of_the_last_migration(databases: Databases, dialect: str) -> None:
    source = legacy.make(databases.empty(dialect), 2, legacy.clean(dialect))
    raw.run(source, legacy.migration(MIGRATIONS[2], dialect), legacy.migration(MIGRATIONS[3], dialect))
    stage, notes = recognized(source, databases)
    assert (stage, "says 4" in notes) == (2, True)


# For each a table in place of Prisma's, the rows in it, and what is said.
SHAPES: dict[str, tuple[str, str, str]] = {
    "another program's": ('"version" INTEGER', "(1)", "finished_at, migration_name, rolled_back_at"),
    "without a column": ('"migration_name" TEXT, "finished_at" TEXT', "('0_init', 'x')", "rolled_back_at"),
    "other types": (
        '"migration_name" INTEGER, "finished_at" TEXT, "rolled_back_at" JSON',
        "(7, 'some day', NULL), (8, NULL, NULL), (9, '', '{}')",
        "other migrations: 7",
    ),
    "nothing in it": ('"migration_name" TEXT, "finished_at" TEXT, "rolled_back_at" TEXT', "(NULL, NULL, NULL)", "None"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_history_of_another_shape_is_a_note(old: str, databases: Databases, shape: str) -> None:
    columns, rows, said = SHAPES[shape]
    table = '"_prisma_migrations"'
    raw.run(old, f"DROP TABLE {table}", f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} VALUES {rows}")
    stage, notes = recognized(old, databases)
    assert (stage, said in notes) == (4, True)


def test_a_migrations_name_that_is_no_text_is_a_note(databases: Databases) -> None:
    source = legacy.make(databases.empty("sqlite"), 1, legacy.clean("sqlite"))
    raw.run(source, "UPDATE \"_prisma_migrations\" SET migration_name = CAST(x'ff61' AS TEXT)")
    stage, notes = recognized(source, databases)
    assert (stage, "xff" in notes) == (1, True)


def test_ids_that_are_no_numbers_are_refused(old: str, databases: Databases, dialect: str) -> None:
    make: dict[str, tuple[Any, ...]] = {
        "sqlite": ('DROP TABLE "Bookmark"', legacy_table("TEXT")),
        "postgresql": ('ALTER TABLE "Bookmark" ALTER "id" DROP DEFAULT, ALTER "id" TYPE TEXT',),
    }
    raw.run(old, *make[dialect])
    with pytest.raises(RevisionError, match="Bookmark with a primary key"):
        recognized(old, databases)


def legacy_table(id_type: str) -> str:
    (statement,) = (each for each in legacy.schema(4, "sqlite") if each.startswith('CREATE TABLE "Bookmark"'))
    return statement.replace("INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", f"{id_type} PRIMARY KEY", 1)
