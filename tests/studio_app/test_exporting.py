"""Exports: the whole filtered result, in its order, in pieces, without a secret."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import insert
from support.chrome import fill
from support.parquet import parquet

from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError, PharmdbError
from pharmdb.models import Bookmark
from pharmdb.studio_app import exporting, sessions
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.catalogue import Catalogue, catalogue
from pharmdb.studio_app.filters import Filter, View
from pharmdb.studio_app.statement_log import MASKED, StatementLog

HOSTILE = ['comma, "quote"', "line\nbreak\r\n", "", "=1+1", "pipe | star * <b>", "été 💊", "NULL", "\\N"]


def tables(url: str) -> Catalogue:
    with sessions.reading(targets.target(url), StatementLog()) as session:
        return catalogue(session)


def export(
    url: str, table: str, format: str, view: View | None = None, columns: list[str] | None = None, **options: bool
) -> bytes:
    found = tables(url)[table]
    pieces = exporting.export(
        targets.target(url),
        found,
        view or View(),
        columns or list(found.columns),
        format,
        StatementLog(),
        Cancel(),
        **options,
    )
    return b"".join(pieces)


@pytest.fixture
def hostile(seeded: str) -> str:
    with transactions.writing(targets.target(seeded)) as connection:
        mark = "?" if targets.target(seeded).is_sqlite else "%s"
        statement = f"INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'x', {mark})"
        for text in HOSTILE:
            connection.exec_driver_sql(statement, (text,))
    return seeded


FORMULAS = ["=1+1", "+1 x", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "\uff1d1+1", "-", "=cmd|' /C calc'!A0"]
NUMBERS = ["-5", "+5", "-1.5", "-1e-7", "-Infinity", "5-3", "a=1", "it's", "'a"]


def test_csv_has_no_formula_unless_asked_for(seeded: str) -> None:
    texts = [*FORMULAS, *NUMBERS, "a;=1"]
    with transactions.writing(targets.target(seeded)) as connection:
        connection.execute(insert(Bookmark), [{"user_id": 1, "entity_type": "x", "entity_id": text} for text in texts])
    data = {formulas: export(seeded, "bookmarks", "csv", formulas=formulas).decode() for formulas in (False, True)}
    found = {
        formulas: [row["entity_id"] for row in csv.DictReader(io.StringIO(text, newline=""))]
        for formulas, text in data.items()
    }
    assert found[True] == texts
    assert found[False] == [*(f"'{text}" for text in FORMULAS), *NUMBERS, "a;=1"]
    # A spreadsheet that separates by semicolons finds no cell that begins with =.
    assert '"a;=1"' in data[False]
    assert [row["entity_id"] for row in json.loads(export(seeded, "bookmarks", "json"))] == texts


def test_csv_comes_back_as_it_was_and_null_is_told_from_empty(hostile: str) -> None:
    text = export(hostile, "bookmarks", "csv", formulas=True).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["entity_id"] for row in rows] == HOSTILE
    assert ',"",' in text
    fill(hostile, 1)
    assert ",,2026" in export(hostile, "attempts", "csv").decode()


def test_json_has_numbers_documents_and_null(hostile: str) -> None:
    fill(hostile, 3)
    (first, *_) = rows = json.loads(export(hostile, "attempts", "json"))
    assert len(rows) == 3
    assert (first["id"], first["score"], first["answers"], first["feedback"]) == (1, 1, {"choice": "b"}, None)
    assert first["created_at"] == "2026-05-28T20:26:41Z"
    assert [row["entity_id"] for row in json.loads(export(hostile, "bookmarks", "json"))] == HOSTILE
    assert json.loads(export(hostile, "bookmarks", "json", View(search="nowhere"))) == []


def test_markdown_keeps_its_columns(hostile: str) -> None:
    lines = export(hostile, "bookmarks", "markdown").decode().splitlines()
    assert len(lines) == len(HOSTILE) + 2
    assert all(line.replace("\\|", "").count("|") == 6 for line in lines)
    assert "<b>" not in "".join(lines)


def test_parquet_is_typed(hostile: str, tmp_path: Path) -> None:
    fill(hostile, 7000)
    path = tmp_path / "attempts.parquet"
    path.write_bytes(export(hostile, "attempts", "parquet", View(sort=(("score", True),))))
    types = {name: type_ for name, type_, *_ in parquet(f"DESCRIBE SELECT * FROM '{path}'")}
    assert (types["id"], types["score"], types["created_at"]) == ("BIGINT", "DOUBLE", "TIMESTAMP")
    scores = [row[0] for row in parquet(f"SELECT score FROM '{path}'")]
    assert len(scores) == 7000
    assert scores == sorted(scores, reverse=True)
    # As the documentation says: with what is installed anyway.
    frame = duckdb.read_parquet(str(path)).df()
    assert [str(frame[name].dtype) for name in ("id", "score", "created_at")] == ["int64", "float64", "datetime64[us]"]
    path.write_bytes(export(hostile, "bookmarks", "parquet"))
    assert [row[0] for row in parquet(f"SELECT entity_id FROM '{path}'")] == HOSTILE


@pytest.mark.parametrize("format", exporting.FORMATS)
def test_an_export_follows_filters_order_and_columns_and_masks_secrets(seeded: str, format: str) -> None:
    view = View(filters=(Filter("role", "=", "ADMIN"),))
    data = export(seeded, "users", format, view, ["password_hash", "email"])
    assert b"$2b$" not in data
    assert b"demo@" not in data
    if format == "csv":
        assert data.decode() == f"password_hash,email\r\n{MASKED},admin@pharmtrainer.test\r\n"


def test_an_export_comes_in_pieces_and_can_be_stopped(seeded: str) -> None:
    fill(seeded, 20_000)
    cancel = Cancel()
    table = tables(seeded)["attempts"]
    pieces = exporting.export(targets.target(seeded), table, View(), list(table.columns), "csv", StatementLog(), cancel)
    assert len(next(pieces)) < 2 * exporting.PIECE
    cancel()
    with pytest.raises(PharmdbError, match="cancelled"):
        list(pieces)


class _Late(Cancel):
    """Cancelled between a batch of rows and the look whether it is."""

    def check(self) -> None:
        if self._interrupt is not None:
            self()
        super().check()


def test_an_export_that_is_cancelled_beside_its_statement_says_so(seeded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "ROWS_AT_ONCE", 1)
    table = tables(seeded)["users"]
    pieces = exporting.export(targets.target(seeded), table, View(), ["email"], "csv", StatementLog(), _Late())
    with pytest.raises(PharmdbError, match="cancelled"):
        list(pieces)


def test_another_format_is_refused(seeded: str) -> None:
    with pytest.raises(ParameterError, match="csv, json, markdown, parquet"):
        export(seeded, "users", "xlsx")


def test_a_column_whose_values_do_not_fit_its_type_is_text_in_parquet(seeded: str, tmp_path: Path) -> None:
    if not seeded.startswith("sqlite"):
        return
    with transactions.writing(targets.target(seeded)) as connection:
        connection.exec_driver_sql("CREATE TABLE plain (id INTEGER PRIMARY KEY, n INTEGER, m INTEGER, k INTEGER)")
        connection.exec_driver_sql("INSERT INTO plain VALUES (1, 1.5, 'abc', 1), (2, 3, 4, NULL)")
    path = tmp_path / "plain.parquet"
    path.write_bytes(export(seeded, "plain", "parquet"))
    assert parquet(f"SELECT * FROM '{path}' ORDER BY id") == [(1, "1.5", "abc", 1), (2, "3", "4", None)]
