"""The widget's Python side: its answers, its errors, its snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.project import ROOT
from support.studying import study

import pharmdb
from pharmdb.command import program
from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError, UnavailableError
from pharmdb.legacy import accounting
from pharmdb.studio_app import exporting, messages, values
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.widget import Studio


@pytest.fixture
def studio(seeded: str) -> Studio:
    return pharmdb.studio(seeded)


def test_the_snapshot_can_be_read_and_holds_no_secret(studio: Studio) -> None:
    data, _ = studio._repr_mimebundle_()
    assert data["text/plain"].startswith("users: 2 rows\n\nid  email")
    table = ElementTree.fromstring(data["text/html"])
    texts = [cell.text for cell in table.iter("td")]
    assert texts[1:4] == ["demo@pharmtrainer.test", "••••••••", "USER"]
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "$2b$" not in str(data)


def test_the_stored_notebook_is_readable_as_html_without_its_kernel() -> None:
    from nbconvert import HTMLExporter

    path = ROOT / "notebooks" / "studio.ipynb"
    assert "widget-view" not in path.read_text(encoding="utf-8")
    html, _ = HTMLExporter(template_name="basic").from_filename(str(path))
    assert "<caption" in html
    assert "demo@pharmtrainer.test" in html
    assert "<script" not in html


def test_a_searchable_table_is_the_plain_one_where_no_widget_is(seeded: str) -> None:
    seen = pharmdb.inspect(seeded)
    table = pharmdb.searchable(seen.progress)
    data, _ = table._repr_mimebundle_()
    assert (data["text/plain"], data["text/html"]) == (repr(seen.progress), seen.progress._repr_html_())  # type: ignore[operator]
    assert table.columns == list(seen.progress.columns)
    assert [row[2] for row in table.rows] == list(seen.progress["tag"])
    assert pharmdb.searchable(seen.history).rows == []


def test_a_run_file_is_readable_without_a_page(
    seeded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    study(seeded)
    assert program.main(["inspect", "--database-url", seeded]) == 0
    assert "hypertension" in capsys.readouterr().out
    (path,) = tmp_path.glob("runs/inspect-*.ipynb")
    text = path.read_text(encoding="utf-8")
    assert "<td>hypertension</td>" in text
    assert "widget" not in text


def test_a_widget_shows_the_model_or_table_that_is_asked_for(seeded: str) -> None:
    assert pharmdb.studio(seeded, model="ProgressByTag").table == "progress_by_tag"
    assert pharmdb.studio(seeded, model="alembic_version").table == "alembic_version"
    with pytest.raises(ParameterError, match="a table or a model"):
        pharmdb.studio(seeded, model="Nobody")


def test_a_missing_database_is_said_and_not_made(empty: str) -> None:
    if empty.startswith("sqlite"):
        with pytest.raises(UnavailableError):
            pharmdb.studio(empty)
        assert not Path(empty.removeprefix("sqlite:///")).exists()
    else:
        with pytest.raises(ParameterError):
            pharmdb.studio(empty)


def test_an_unknown_request_is_refused(studio: Studio) -> None:
    with pytest.raises(ParameterError, match="a known request"):
        studio.answer("format_disk", {})
    with pytest.raises(values.UnfitError, match="can't be read"):
        studio.answer("page", {"table": "users", "filters": [{"operator": "="}]})


def test_the_lock_opens_with_the_databases_name_alone(studio: Studio) -> None:
    with pytest.raises(ParameterError, match="the name of the database"):
        studio.answer("lock", {"name": "wrong"})
    assert not studio.unlocked
    assert studio.answer("lock", {"name": studio.target.name}) == ({"unlocked": True}, [])
    assert studio.answer("lock", {}) == ({"unlocked": False}, [])


def test_the_outcome_counts_what_was_saved(seeded: str, tmp_path: Path) -> None:
    studio = Studio(pharmdb.target(seeded), log=tmp_path / "log")
    page, _ = studio.answer("page", {"table": "users"})
    row = page["rows"][0]
    change = {"id": 1, "kind": "update", "table": "users", "key": row["key"], "values": {"role": "ADMIN"}}
    studio.answer("save", {"changes": [change]})
    assert studio.outcome["changed"].tolist() == ["1 change saved"]


def test_every_error_is_a_sentence_without_a_secret() -> None:
    shown = messages.error_of(RuntimeError("postgresql://me:hunter2@host/db"))
    assert shown["sentence"] == "postgresql://me:***@host/db"
    assert messages.error_of(values.UnfitError("a sentence"))["sentence"] == "a sentence"


def test_it_is_unlocked_by_the_name_that_the_server_says(studio: Studio) -> None:
    name = studio.answer("hello", {})[0]["name"]
    assert name == studio.target.name
    for typed in ("?", " ", "nothing"):
        with pytest.raises(ParameterError, match="the name of the database"):
            studio.answer("lock", {"name": typed})
        assert not studio.unlocked
    assert studio.answer("lock", {"name": name})[0] == {"unlocked": True}


def test_a_service_does_not_open_production_by_a_question_mark(
    databases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = targets.target(databases.seeded("postgresql")).url
    settings = {"host": url.host or url.query.get("host"), "user": url.username, "dbname": url.database}
    lines = [f"{key}={value}" for key, value in settings.items() if value]
    (tmp_path / "services").write_text("\n".join(["[prod]", *lines, ""]), encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    studio = Studio(targets.target("postgresql:///?service=prod"))
    assert studio.target.name == "?"
    with pytest.raises(ParameterError, match=str(url.database)):
        studio.answer("lock", {"name": "?"})
    assert studio.answer("hello", {})[0]["name"] == url.database
    assert studio.answer("lock", {"name": url.database})[0] == {"unlocked": True}


def test_rows_that_an_upgrade_rejected_are_masked_and_not_searched(seeded: str, tmp_path: Path) -> None:
    mark = "?" if seeded.startswith("sqlite") else "%s"
    with transactions.writing(targets.target(seeded)) as connection:
        accounting.rejects_table.create(connection)
        values_ = f"VALUES ('users', 9, {mark}, 'x')"
        statement = f"INSERT INTO upgrade_rejects (source_table, source_id, row, reason) {values_}"
        connection.exec_driver_sql(statement, ('{"passwordHash": "hunter2-as-text"}',))
    studio = Studio(pharmdb.target(seeded), log=tmp_path / "log")
    table = {"table": "upgrade_rejects"}
    page, _ = studio.answer("page", table)
    assert "hunter2" not in str(page)
    assert "••••••••" in str(page)
    assert studio.answer("count", {**table, "search": "hunter2"})[0]["rows"] == 0
    assert studio.answer("count", {**table, "search": "users"})[0]["rows"] == 1
    for filter_ in ("=", "contains", ">"):
        with pytest.raises(values.UnfitError, match="secret"):
            studio.answer("page", {**table, "filters": [{"column": "row", "operator": filter_, "value": "{}"}]})
    whole = studio.answer("cell", {**table, "key": page["rows"][0]["key"], "column": "row"})[0]
    assert "hunter2" not in str(whole)
    shown = studio._tables["upgrade_rejects"]
    for format_ in ("csv", "json", "markdown"):
        parts = exporting.export(
            studio.target, shown, View(), list(shown.columns), format_, studio.statement_log, Cancel()
        )
        assert b"hunter2" not in b"".join(parts)
