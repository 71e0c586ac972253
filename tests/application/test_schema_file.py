"""`pharmdb prisma` without Node: the names, the file that is written or left alone, what goes with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import pharmdb
from pharmdb.application import datamodel
from pharmdb.errors import ParameterError
from pharmdb.models import MODELS, Base

SQLITE = "sqlite:////somewhere/pharm.db"
POSTGRESQL = "postgresql://ann@db.example.test:5433/pharm"
# As the trainer's code spells them.
FIELDS = {
    "User": "id email passwordHash role createdAt settings bookmarks attempts progress srsItems datasetOverrides",
    "UserSettings": "id userId language createdAt updatedAt user",
    "Bookmark": "id userId entityType entityId createdAt user",
    "Attempt": "id userId entityType entityId answers score feedback createdAt user",
    "ProgressByTag": "id userId module courseBlock tag correctCount wrongCount lastAttemptAt user",
    "SpacedRepetitionItem": ("id userId entityType entityId easeFactor intervalDays nextReviewAt lastReviewedAt user"),
    "DatasetOverride": "id name description jsonText isActive createdById createdAt updatedAt createdBy",
}


@pytest.mark.parametrize("url", [SQLITE, POSTGRESQL])
def test_models_and_fields_have_the_applications_names(url: str) -> None:
    report = pharmdb.prisma_schema(url)
    found = report.fields.groupby("model", sort=False)["field"].agg(" ".join).to_dict()
    assert found == FIELDS
    assert dict(report.models[["model", "table"]].itertuples(index=False)) == {
        model.__name__: model.__tablename__ for model in MODELS
    }


def test_every_column_constraint_and_index_is_in_the_schema() -> None:
    text = datamodel.text("postgresql", 6)
    for table in Base.metadata.sorted_tables:
        named: list[Any] = [*table.indexes, *table.foreign_key_constraints, *datamodel.uniques(table)]
        names = [each.name for each in named] + [f"pk_{table.name}"]
        assert [name for name in names if f'map: "{name}"' not in text] == []
    for model in MODELS:
        columns = [field.column for field in datamodel.fields(model, "postgresql") if field.column]
        assert columns == Base.metadata.tables[model.__tablename__].columns.keys()


def test_the_url_says_which_database_it_is_for() -> None:
    sqlite, postgresql = pharmdb.prisma_schema(SQLITE), pharmdb.prisma_schema(POSTGRESQL)
    assert 'provider = "sqlite"' in sqlite.schema
    assert 'provider = "postgresql"' in postgresql.schema
    assert "@db." not in sqlite.schema
    assert postgresql.schema.count("@db.Timestamptz(3)") == 10
    assert sqlite.environment == 'DATABASE_URL="file:/somewhere/pharm.db"\n'
    assert postgresql.environment == f'DATABASE_URL="{POSTGRESQL}"\n'
    assert 'timestampFormat: "iso8601"' in sqlite.client
    assert 'options: "-c TimeZone=UTC"' in postgresql.client


def test_a_password_is_in_none_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_URL", "postgresql://ann:s3cret@db.example.test/pharm?sslpassword=s3cret")
    report = pharmdb.prisma_schema()
    assert "s3cret" not in f"{report.schema}{report.client}{report.environment}{report.target}{report!r}"


@pytest.mark.parametrize(("version", "url", "name"), [(6, 1, "PrismaBetterSQLite3"), (7, 0, "PrismaBetterSqlite3")])
def test_prisma_6_and_7(version: int, url: int, name: str) -> None:
    report = pharmdb.prisma_schema(SQLITE, prisma_version=version)
    assert report.schema.count("DATABASE_URL") == url
    assert report.client.count(name) == 2
    assert set(re.findall(r"\w@(\w+)", report.packages)) == {str(version)}


def test_another_version_of_prisma_is_refused() -> None:
    with pytest.raises(ParameterError, match="one of 6, 7 as prisma_version"):
        pharmdb.prisma_schema(SQLITE, prisma_version=5)


def test_the_file_is_written_once(tmp_path: Path) -> None:
    first = pharmdb.prisma_schema(SQLITE, output=str(tmp_path))
    path = tmp_path / "schema.prisma"
    assert path.read_text(encoding="utf-8") == first.schema
    assert first.outcome["changed"].to_list() == ["schema.prisma written"]
    written = path.stat()
    again = pharmdb.prisma_schema(SQLITE, output=str(path))
    assert again.outcome["changed"].to_list() == ["nothing: schema.prisma is up to date"]
    assert path.stat() == written
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_another_content_is_replaced_only_when_it_is_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "my schema.prisma"
    path.write_text("model Mine {}\n", encoding="utf-8")
    path.chmod(0o640)
    with pytest.raises(ParameterError) as refused:
        pharmdb.prisma_schema(SQLITE, output=str(path), prisma_version=7)
    named = f"--prisma-version 7 --output '{path}' --database-url {SQLITE}"
    assert refused.value.command == f"pharmdb prisma {named} --confirm"
    assert path.read_text(encoding="utf-8") == "model Mine {}\n"
    report = pharmdb.prisma_schema(SQLITE, output=str(path), confirm=True)
    assert report.outcome["changed"].to_list() == ["my schema.prisma replaced"]
    assert path.read_text(encoding="utf-8") == report.schema
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_goes_on_pointing_where_it_did(tmp_path: Path) -> None:
    real, link = tmp_path / "real.prisma", tmp_path / "link.prisma"
    real.write_text("", encoding="utf-8")
    link.symlink_to(real)
    report = pharmdb.prisma_schema(SQLITE, output=str(link), confirm=True)
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8") == report.schema


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ParameterError) as refused:
        pharmdb.prisma_schema(SQLITE, output=str(tmp_path / "prisma" / "schema.prisma"))
    assert refused.value.command == f"mkdir -p {tmp_path}/prisma"
    assert list(tmp_path.iterdir()) == []


def test_without_output_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    report = pharmdb.prisma_schema("sqlite:///missing.db")
    assert report.path is None
    assert report.outcome["next"].to_list() == [
        "pharmdb prisma --output schema.prisma --database-url sqlite:///missing.db"
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_texts_are_shown_line_by_line() -> None:
    report = pharmdb.prisma_schema(SQLITE)
    assert repr(report.schema) == report.schema.rstrip("\n")


def test_a_path_that_no_quotes_hold_in_the_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"a path that \.env can hold"):
        pharmdb.prisma_schema("sqlite:////a'\"`#/pharm.db", output=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
