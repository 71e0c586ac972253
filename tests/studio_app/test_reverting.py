"""Reverting a save: everything comes back, or nothing if somebody changed it since; and no secret is kept."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.chrome import fill

from pharmdb.database import targets, transactions
from pharmdb.errors import ParameterError, ProtectedError, UnavailableError
from pharmdb.studio_app import lost_rows, reverting
from pharmdb.studio_app.widget import Studio

TABLES = ("users", "user_settings", "bookmarks", "attempts", "progress_by_tag")


@pytest.fixture
def studio(seeded: str, tmp_path: Path) -> Studio:
    fill(seeded, 60)
    return Studio(targets.target(seeded), log=tmp_path / "runs" / "studio.jsonl")


def run(studio: Studio, sql: str) -> list[tuple[Any, ...]]:
    with transactions.writing(studio.target) as connection:
        found = connection.exec_driver_sql(sql)
        return [tuple(row) for row in found] if found.returns_rows else []


def content(studio: Studio) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, without what can't come back: hashes and the times of the last change."""
    hidden = ("password_hash", "updated_at")
    return {
        name: run(
            studio,
            f"SELECT {', '.join(c for c in studio._tables[name].columns if c not in hidden)} FROM {name} ORDER BY id",
        )
        for name in TABLES
    }


def change(studio: Studio, kind: str, table: str, number: int = 0, /, id: int = 1, **new: Any) -> dict[str, Any]:
    """A change as the page sends it."""
    names = list(studio._tables[table].columns)
    message: dict[str, Any] = {"id": id, "kind": kind, "table": table, "values": new}
    if kind != "insert":
        row = studio.answer("page", {"table": table})[0]["rows"][number]
        message |= {"key": row["key"], "before": dict(zip(names, row["cells"], strict=True))}
    if kind == "delete":
        (found,) = studio.answer("cascade", {"table": table, "keys": [message["key"]]})[0]["cascades"]
        message["cascade"] = {f"{c['table']}.{c['column']}": c["rows"] for c in found}
    return message


def save(studio: Studio, *changes: dict[str, Any]) -> str:
    """Saves, and returns the number of the save."""
    assert studio.answer("save", {"changes": list(changes)})[0]["problems"] == []
    return str(studio.answer("log", {})[0]["saves"][0]["save"])


def revert(studio: Studio, number: str) -> dict[str, Any]:
    return studio.answer("revert", {"save": number})[0]


def test_a_save_of_every_kind_is_undone(studio: Studio) -> None:
    before = content(studio)
    bookmark = {"user_id": "1", "entity_type": "drug", "entity_id": "d" * 400}
    number = save(
        studio,
        change(studio, "update", "users", 1, id=1, email="other@pharmtrainer.test"),
        change(studio, "update", "users", 0, id=5, role="ADMIN"),
        change(studio, "insert", "bookmarks", id=2, **bookmark),
        change(studio, "update", "attempts", 3, id=3, feedback='{"long": "' + "x" * 900 + '"}'),
        change(studio, "delete", "attempts", 5, id=4),
    )
    assert content(studio) != before
    done = revert(studio, number)
    assert (done["problems"], done["rows"], done["passwords"]) == ([], 5, [])
    assert content(studio) == before
    newest, reverted = studio.answer("log", {})[0]["saves"]
    assert (newest["reverts"], reverted["save"], reverted["reverted"]) == (number, number, True)
    with pytest.raises(ParameterError, match="reverted already"):
        revert(studio, number)
    # A revert is a save like any other.
    assert revert(studio, newest["save"])["problems"] == []
    assert content(studio)["bookmarks"][0][3] == "d" * 400


def test_a_deleted_user_comes_back_with_all_that_went_and_a_new_password(studio: Studio) -> None:
    before = content(studio)
    hashes = dict(run(studio, "SELECT id, password_hash FROM users"))
    number = save(studio, change(studio, "delete", "users"))
    assert content(studio)["attempts"] != before["attempts"]
    path = lost_rows.path_of(studio._path, number)
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert len(lines) == 30 + 4 + 1
    assert oct(path.stat().st_mode)[-3:] == "600"
    assert {table for line in lines if (table := line["table"])} == {"user_settings", "attempts", "progress_by_tag"}
    assert "$2b$" not in str(lines) + studio._path.read_text(encoding="utf-8")
    done = revert(studio, number)
    assert done["passwords"] == ["users demo@pharmtrainer.test"]
    assert content(studio) == before
    now = dict(run(studio, "SELECT id, password_hash FROM users"))
    assert now[2] == hashes[2]
    assert now[1] != hashes[1]


def test_nothing_is_reverted_if_a_row_was_changed_since(studio: Studio) -> None:
    number = save(
        studio,
        change(studio, "update", "users", 0, id=1, email="one@pharmtrainer.test"),
        change(studio, "update", "users", 1, id=2, email="two@pharmtrainer.test"),
    )
    run(studio, "UPDATE users SET email = 'three@pharmtrainer.test' WHERE id = 2")
    done = revert(studio, number)
    assert [(p["kind"], p["column"], p["theirs"]) for p in done["problems"]] == [
        ("conflict", "email", "three@pharmtrainer.test")
    ]
    assert run(studio, "SELECT email FROM users WHERE id = 1") == [("one@pharmtrainer.test",)]
    # Mended, it can be reverted.
    run(studio, "UPDATE users SET email = 'two@pharmtrainer.test' WHERE id = 2")
    assert revert(studio, number)["problems"] == []


def test_what_somebody_hung_on_a_new_row_is_not_deleted_unseen(studio: Studio) -> None:
    user = change(studio, "insert", "users", email="new@pharmtrainer.test") | {"password": "long enough"}
    number = save(studio, user)
    run(studio, "INSERT INTO bookmarks (user_id, entity_type, entity_id) SELECT max(id), 'x', 'y' FROM users")
    (problem,) = revert(studio, number)["problems"]
    assert "1 of bookmarks.user_id, not no other row" in problem["sentence"]
    run(studio, "DELETE FROM bookmarks")
    assert revert(studio, number)["problems"] == []
    assert len(content(studio)["users"]) == 2


def test_a_refused_save_leaves_no_file_and_a_lost_file_is_said(studio: Studio) -> None:
    gone = change(studio, "delete", "users", id=1)
    wrong = change(studio, "update", "attempts", 2, id=2, score="101")
    assert studio.answer("save", {"changes": [gone, wrong]})[0]["problems"]
    folder = lost_rows.path_of(studio._path, "x").parent
    assert not folder.exists() or list(folder.iterdir()) == []
    number = save(studio, change(studio, "delete", "users"))
    lost_rows.path_of(studio._path, number).write_bytes(b"not packed")
    with pytest.raises(UnavailableError, match="restore a backup"):
        revert(studio, number)
    assert len(content(studio)["users"]) == 1


def test_what_can_not_be_reverted_is_said(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="no save of this database"):
        revert(studio, "nothing")
    number = save(studio, change(studio, "update", "users") | {"password": "a new password"})
    with pytest.raises(ParameterError, match="passwords only"):
        revert(studio, number)
    number = save(studio, change(studio, "delete", "users"))
    monkeypatch.setattr(reverting, "MOST_ROWS", 10)
    with pytest.raises(ParameterError, match="more than 10 rows"):
        revert(studio, number)
    monkeypatch.undo()
    monkeypatch.setenv("PHARMDB_ENV", "production")
    with pytest.raises(ProtectedError, match="read-only until it is unlocked"):
        revert(studio, number)


def test_deeper_rows_come_back_after_those_that_they_refer_to(studio: Studio) -> None:
    key = "INTEGER PRIMARY KEY"
    run(studio, f"CREATE TABLE notes (id {key}, user_id BIGINT REFERENCES users (id) ON DELETE CASCADE)")
    run(studio, f"CREATE TABLE lines (id {key}, note_id INTEGER REFERENCES notes (id) ON DELETE CASCADE)")
    run(studio, "INSERT INTO notes VALUES (1, 1), (2, 1), (3, 2)")
    run(studio, "INSERT INTO lines VALUES (1, 1), (2, 2), (3, 2), (4, 3)")
    studio._tables = studio._catalogue()
    number = save(studio, change(studio, "delete", "users"))
    assert run(studio, "SELECT id FROM lines") == [(4,)]
    assert revert(studio, number)["problems"] == []
    assert run(studio, "SELECT * FROM lines ORDER BY id") == [(1, 1), (2, 2), (3, 2), (4, 3)]
