"""Saving: all or nothing, no change unseen, sentences for what the database refuses, and a log of each save."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, Table, UniqueConstraint
from support import raw

from pharmdb.database import targets, transactions
from pharmdb.errors import LockedError, ProtectedError, UnavailableError
from pharmdb.models import MODELS
from pharmdb.seeding.passwords import scheme, verify_password
from pharmdb.studio_app import browsing, cascading, editing, save_log, sessions
from pharmdb.studio_app.catalogue import Catalogue, catalogue
from pharmdb.studio_app.cells import Cell
from pharmdb.studio_app.changes import Change, Saved
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import StatementLog


class Editor:
    """A person with a page: sees rows, and saves changes."""

    def __init__(self, url: str, log: Path) -> None:
        self.target = targets.target(url)
        self.log = log
        self.tables = self._tables()

    def _tables(self) -> Catalogue:
        with sessions.reading(self.target, StatementLog()) as session:
            return catalogue(session)

    def row(self, table: str, number: int = 0) -> tuple[tuple[str | None, ...], dict[str, Cell]]:
        """Key and cells of a row, as the page has them."""
        with sessions.reading(self.target, StatementLog()) as session:
            row = browsing.page(session, self.tables[table], View()).rows[number]
        return tuple(row.key), dict(zip(self.tables[table].columns, row.cells, strict=True))

    def update(self, table: str, number: int = 0, *, id: int = 1, password: str | None = None, **new: Any) -> Change:
        key, before = self.row(table, number)
        return Change(id, "update", table, key, new, before, password)

    def delete(self, table: str, number: int = 0, *, id: int = 1) -> Change:
        key, before = self.row(table, number)
        with sessions.reading(self.target, StatementLog()) as session:
            found = cascading.cascades(session, self.tables, self.tables[table], [key])
        return Change(id, "delete", table, key, before=before, cascade={f"{c.table}.{c.column}": c.rows for c in found})

    def save(self, *changes: Change, unlocked: bool = False) -> Saved:
        return editing.save(self.target, self.tables, changes, StatementLog(), unlocked=unlocked, log=self.log)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def editor(seeded: str, tmp_path: Path) -> Editor:
    return Editor(seeded, tmp_path / "runs" / "studio.jsonl")


def rows(editor: Editor, sql: str) -> list[tuple[Any, ...]]:
    with transactions.reading(editor.target) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def execute(editor: Editor, sql: str) -> None:
    with transactions.writing(editor.target) as connection:
        connection.exec_driver_sql(sql)


def counts(editor: Editor) -> list[Any]:
    return [rows(editor, f"SELECT * FROM {name} ORDER BY 1") for name in ("users", "attempts", "progress_by_tag")]


def attempt(id: int, /, **new: str | None) -> Change:
    values = {"user_id": "1", "entity_type": "case", "entity_id": "c1", "answers": "{}", "score": "50"}
    return Change(id, "insert", "attempts", values={**values, **new})


ONLY = "admin@pharmtrainer.test is the only administrator: promote another one first"


def test_the_last_administrator_stays(editor: Editor) -> None:
    before = counts(editor)
    demotion, deletion = editor.update("users", 1, role="USER"), editor.delete("users", 1)
    for change, column in ((demotion, "role"), (deletion, "")):
        saved = editor.save(editor.delete("users", 0, id=7), change)
        assert [(p.change, p.column, p.kind, p.sentence) for p in saved.problems] == [(1, column, "violation", ONLY)]
    assert counts(editor) == before
    assert not editor.log.exists()
    # Another one is promoted in the same save.
    promoted = editor.update("users", 0, id=2, role="ADMIN")
    assert editor.save(demotion, promoted).problems == []
    assert editor.save(editor.update("users", 1, role="ADMIN")).problems == []
    saved = editor.save(editor.delete("users", 0, id=1), editor.update("users", 1, id=2, role="USER"))
    both = "demo@pharmtrainer.test, admin@pharmtrainer.test are the only administrators: promote another one first"
    assert [(p.change, p.sentence) for p in saved.problems] == [(1, both), (2, both)]
    execute(editor, "UPDATE users SET role = 'USER'")
    assert editor.save(editor.delete("users", 1)).problems == []


def test_an_administrator_whom_another_program_demotes_is_waited_for(
    editor: Editor, seeded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(editor, "UPDATE users SET role = 'ADMIN'")
    change = editor.delete("users", 1)
    with raw.session(seeded) as application:
        with raw.transaction(application):
            application.execute("UPDATE users SET role = 'USER' WHERE id = 1")
            with monkeypatch.context() as patch:
                patch.setenv("PHARMDB_LOCK_TIMEOUT", "0.2")
                with pytest.raises(LockedError):
                    editor.save(change)
        assert [p.sentence for p in editor.save(change).problems] == [ONLY]


def test_the_statements_of_a_save_are_logged_once_each(editor: Editor) -> None:
    statement_log = StatementLog()

    def saved(*changes: Change) -> list[str]:
        last = max((e.number for e in statement_log.since(0)), default=0)
        editing.save(editor.target, editor.tables, changes, statement_log, log=editor.log)
        written = [
            e for e in statement_log.since(last) if not e.statement.startswith(("SELECT", "SET LOCAL", "PRAGMA"))
        ]
        return [f"{e.statement.split(' (')[0]} x{e.times}{' !' if e.error else ''}" for e in written]

    assert saved(*(attempt(n) for n in range(40))) == ["INSERT INTO attempts x40"]
    refused = saved(attempt(1), attempt(2, score="101"), attempt(3))
    assert refused[:2] == ["INSERT INTO attempts x2", "INSERT INTO attempts x1 !"]
    assert refused[2].startswith("ROLLBACK TO SAVEPOINT")


REFUSED = [
    ({"score": "100.5"}, "score", "a score is a number from 0 to 100"),
    ({"user_id": "99"}, "user_id", "there is no row of users with id = 99"),
    ({"entity_type": "exam"}, "entity_type", "one of question, case, calc"),
    ({"answers": "{"}, "answers", "not JSON"),
    ({"answers": "[NaN]"}, "answers", "JSON has no NaN"),
    ({"answers": None}, "answers", "answers can't be empty"),
    ({"score": "high"}, "score", "score takes a number"),
    ({"created_at": "yesterday"}, "created_at", "a time like 2026-01-31 23:59:00"),
    ({"id": "1.5"}, "id", "a whole number"),
    ({"nonsense": "1"}, "nonsense", "attempts has no column 'nonsense'"),
]


@pytest.mark.parametrize(("new", "column", "sentence"), REFUSED, ids=lambda part: str(part)[:30])
def test_what_is_refused_is_a_sentence_at_its_column(
    editor: Editor, new: dict[str, Any], column: str, sentence: str
) -> None:
    before = counts(editor)
    saved = editor.save(attempt(1), attempt(2, **new))
    assert [(p.change, p.column) for p in saved.problems] == [(2, column)]
    assert sentence in saved.problems[0].sentence
    assert counts(editor) == before
    assert not editor.log.exists()


def override(id: int, **new: Any) -> Change:
    values = {"name": f"o{id}", "json_text": "{", "is_active": "false", "created_by_id": "1"}
    return Change(id, "insert", "dataset_overrides", values={**values, **new})


def test_a_draft_is_any_text_and_an_active_override_is_json(editor: Editor) -> None:
    problems = editor.save(override(1), override(2, is_active="true")).problems
    assert {(p.change, p.kind) for p in problems} == {(2, "violation")}
    assert "json_text" in {p.column for p in problems}
    saved = editor.save(override(3), override(4, is_active="true", json_text="[]"))
    assert not saved.problems
    found = rows(editor, "SELECT name, json_text FROM dataset_overrides ORDER BY name")
    assert [tuple(row) for row in found] == [("o3", "{"), ("o4", "[]")]


def test_a_column_that_must_be_given_says_so(editor: Editor) -> None:
    (problem,) = editor.save(Change(1, "insert", "attempts", values={"user_id": "1"})).problems
    assert (problem.kind, problem.sentence) == ("violation", f"{problem.column} can't be empty")


def test_a_unique_key_over_several_columns_is_named_whole(editor: Editor) -> None:
    _, before = editor.row("progress_by_tag", 1)
    same: dict[str, str | None] = {name: str(before[name]) for name in ("user_id", "module", "course_block", "tag")}
    (problem, *others) = editor.save(Change(1, "insert", "progress_by_tag", values=same)).problems
    assert problem.sentence == "this user has a row for this module, course block and tag already"
    assert {p.column for p in [problem, *others]} == set(same)


def test_every_rule_of_the_models_is_told_in_words(editor: Editor) -> None:
    """No name of a constraint and no SQL reaches the page; a table of another program still gets both."""
    tables = (m.__table__ for m in MODELS)
    rules = [c for t in tables if isinstance(t, Table) for c in t.constraints]
    silent = [str(c.name) for c in rules if isinstance(c, (CheckConstraint, UniqueConstraint)) and not c.info["says"]]
    assert silent == []
    review: dict[str, str | None] = {
        "user_id": "1",
        "entity_type": "x",
        "entity_id": "y",
        "ease_factor": "2",
        "interval_days": "1",
    }
    review |= {"next_review_at": "2026-01-02", "last_reviewed_at": "2026-01-01"}
    tag = {"user_id": "1", "module": "m", "course_block": "b", "tag": "t"}
    broken: list[tuple[str, dict[str, str | None], str]] = [
        ("users", {"email": "Anna@example.org"}, "in lower case"),
        ("users", {"email": "anna"}, "exactly one @"),
        ("users", {"email": "a nna@example.org"}, "no spaces"),
        ("users", {"email": "demo@pharmtrainer.test"}, "another user has the same e-mail address"),
        ("user_settings", {"user_id": "1"}, "this user has settings already"),
        ("user_settings", {"user_id": "2", "language": "e1"}, "two to five English letters"),
        ("progress_by_tag", {**tag, "wrong_count": "-1"}, "a count is never below 0"),
        ("spaced_repetition_items", {**review, "ease_factor": "1"}, "from 1.3 to"),
        ("spaced_repetition_items", {**review, "interval_days": "0"}, "at least one day"),
        ("spaced_repetition_items", {**review, "next_review_at": "2025-01-01"}, "not earlier than the last one"),
        ("dataset_overrides", {"name": "n", "json_text": "{", "is_active": "true", "created_by_id": "1"}, "JSON"),
    ]
    for table, values, sentence in broken:
        password = "long enough" if table == "users" else None
        problems = editor.save(Change(1, "insert", table, values=values, password=password)).problems
        assert problems, values
        for problem in problems:
            assert sentence in problem.sentence
            assert "constraint" not in problem.sentence
    execute(editor, "CREATE TABLE other (id INTEGER PRIMARY KEY, n INTEGER CONSTRAINT few CHECK (n < 3) UNIQUE)")
    execute(editor, "INSERT INTO other VALUES (1, 1)")
    editor.tables = editor._tables()
    (problem,) = editor.save(Change(1, "insert", "other", values={"id": "2", "n": "5"})).problems
    assert problem.sentence.startswith("this violates the constraint few: ")
    (problem,) = editor.save(Change(1, "insert", "other", values={"id": "2", "n": "1"})).problems
    assert problem.sentence == "another row has the same n"


def test_all_problems_are_told_at_once(editor: Editor) -> None:
    saved = editor.save(attempt(1, score="101"), attempt(2, user_id="99"), editor.update("users", email="BAD", id=3))
    assert {(p.change, p.column) for p in saved.problems} == {(1, "score"), (2, "user_id"), (3, "email")}


changes = st.lists(
    st.sampled_from(
        [
            {"entity_id": "ok"},
            {"score": "0"},
            {"created_at": "2026-05-05T05:05:05+02:00"},
            {"answers": '{"a": [1, "ß"]}'},
            {"feedback": None},
            *(new for new, _, _ in REFUSED[:9]),
        ]
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(staged=changes)
def test_staged_changes_are_saved_all_or_none(editor: Editor, staged: list[dict[str, Any]]) -> None:
    execute(editor, "DELETE FROM attempts")
    saved = editor.save(*(attempt(n, **new) for n, new in enumerate(staged)))
    good = all(new not in [each for each, _, _ in REFUSED] for new in staged)
    assert (saved.problems == []) == good
    assert rows(editor, "SELECT count(*) FROM attempts") == [(len(staged) if good else 0,)]


def test_a_row_that_somebody_else_changed_is_not_overwritten(editor: Editor) -> None:
    change = editor.update("users", email="mine@pharmtrainer.test")
    execute(editor, "UPDATE users SET role = 'ADMIN' WHERE id = 1")
    (problem,) = editor.save(change).problems
    assert (problem.kind, problem.column, problem.theirs) == ("conflict", "role", "ADMIN")
    assert rows(editor, "SELECT email FROM users WHERE id = 1") == [("demo@pharmtrainer.test",)]


def test_a_password_that_somebody_else_set_is_a_conflict_without_the_hash(editor: Editor) -> None:
    change = editor.update("users", password="my own password")
    editor.save(editor.update("users", password="their password"))
    (problem,) = editor.save(change).problems
    assert (problem.kind, problem.column) == ("conflict", "password_hash")
    assert "$2b$" not in repr(problem)
    ((hashed,),) = rows(editor, "SELECT password_hash FROM users WHERE id = 1")
    assert verify_password("their password", hashed)


def test_a_long_value_that_somebody_else_changed_is_a_conflict(editor: Editor) -> None:
    execute(editor, f"INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'x', '{'a' * 5000}')")
    change = editor.update("bookmarks", entity_id="short")
    execute(editor, f"UPDATE bookmarks SET entity_id = '{'a' * 4999}b'")
    assert [p.column for p in editor.save(change).problems] == ["entity_id"]


def test_a_row_that_is_gone_says_so(editor: Editor) -> None:
    change = editor.update("users", 1, email="gone@pharmtrainer.test")
    execute(editor, "DELETE FROM users WHERE id = 2")
    assert [p.kind for p in editor.save(change).problems] == ["gone"]


def test_a_deletion_says_what_it_takes_along_and_takes_no_more(editor: Editor) -> None:
    change = editor.delete("users")
    assert change.cascade == {"user_settings.user_id": 1, "progress_by_tag.user_id": 4}
    editor.save(attempt(9))
    (problem,) = editor.save(change).problems
    assert "1 of attempts.user_id" in problem.sentence
    assert editor.save(editor.delete("users")).problems == []
    assert rows(editor, "SELECT count(*) FROM attempts") == [(0,)]


def test_a_deletion_counts_at_every_depth_and_names_what_forbids_it(editor: Editor) -> None:
    key = "INTEGER PRIMARY KEY"
    execute(editor, f"CREATE TABLE notes (id {key}, user_id BIGINT REFERENCES users (id) ON DELETE CASCADE)")
    execute(editor, f"CREATE TABLE lines (id {key}, note_id INTEGER REFERENCES notes (id) ON DELETE CASCADE)")
    execute(editor, f"CREATE TABLE bills (id {key}, user_id BIGINT REFERENCES users (id))")
    execute(editor, "INSERT INTO notes VALUES (1, 1), (2, 1), (3, 2)")
    execute(editor, "INSERT INTO lines VALUES (1, 1), (2, 2), (3, 2), (4, 3)")
    editor.tables = editor._tables()
    assert editor.delete("users").cascade.items() >= {("notes.user_id", 2), ("lines.note_id", 3)}
    execute(editor, "INSERT INTO bills VALUES (1, 1)")
    (problem,) = editor.save(editor.delete("users")).problems
    assert problem.sentence == "rows of bills still refer to this one; delete them first"


def test_a_new_password_is_hashed_and_never_written_as_text(editor: Editor) -> None:
    user = Change(1, "insert", "users", values={"email": "new@pharmtrainer.test"}, password="long enough")
    saved = editor.save(user)
    assert saved.problems == []
    ((hashed,),) = rows(editor, "SELECT password_hash FROM users WHERE email = 'new@pharmtrainer.test'")
    assert scheme(hashed) == "bcrypt"
    assert verify_password("long enough", hashed)
    text = editor.log.read_text(encoding="utf-8")
    assert "long enough" not in text
    assert "$2b$" not in text
    for password, sentence in [
        ("short", "at least 8"),
        ("é" * 37, "longer than 72 bytes"),
        ("long\0enough", "NUL"),
        (None, "a new user needs a password"),
    ]:
        (problem,) = editor.save(Change(1, "insert", "users", values={"email": "x@y"}, password=password)).problems
        assert sentence in problem.sentence
    (problem,) = editor.save(editor.update("users", password_hash="$2b$10$made-up")).problems
    assert problem.sentence == "password_hash can't be edited here"


def test_what_the_models_keep_up_to_date_is_kept(editor: Editor) -> None:
    execute(editor, "UPDATE user_settings SET updated_at = '2026-01-01T00:00:00.000+00:00'")
    assert editor.save(editor.update("user_settings", language="de")).problems == []
    ((count,),) = rows(editor, "SELECT count(*) FROM user_settings WHERE updated_at > '2026-01-02T00:00:00.000+00:00'")
    assert count == 1


def test_production_is_not_written_unless_unlocked(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    change = editor.update("users", email="changed@pharmtrainer.test")
    monkeypatch.setenv("PHARMDB_ENV", "production")
    with pytest.raises(ProtectedError, match="read-only until it is unlocked"):
        editor.save(change)
    assert not editor.log.exists()
    assert editor.save(change, unlocked=True).problems == []


def test_tables_of_pharmdb_itself_are_not_edited(editor: Editor) -> None:
    (problem,) = editor.save(Change(1, "insert", "alembic_version", values={"version_num": "x"})).problems
    assert problem.sentence == "pharmdb maintains this table itself"


def test_a_save_is_logged_with_who_when_key_before_and_after(editor: Editor) -> None:
    editor.save(editor.update("users", role="ADMIN"), attempt(2))
    saving, saved = editor.logged()
    assert (saving["state"], saved["state"], saved["save"]) == ("saving", "saved", saving["save"])
    assert saving["who"]
    assert saving["at"] <= saved["at"]
    update, insert = saving["changes"]
    assert update == {
        "change": 1,
        "kind": "update",
        "table": "users",
        "key": ["1"],
        "before": {"role": "USER"},
        "after": {"role": "ADMIN"},
    }
    # In the shards of a cluster the user is in the key, too.
    assert (insert["key"][0], insert["after"]["entity_id"]) == ("1", "c1")
    editor.save(editor.delete("attempts"))
    assert editor.logged()[-2]["changes"][0]["before"]["entity_id"] == "c1"
    assert [entry["state"] for entry in save_log.saves(editor.target, log=editor.log)] == ["saved", "saved"]
    assert oct(editor.log.stat().st_mode)[-3:] == "600"


def test_a_save_that_can_not_be_logged_is_not_made(editor: Editor) -> None:
    editor.log.parent.mkdir()
    editor.log.mkdir()
    with pytest.raises(UnavailableError, match="to log the save"):
        editor.save(editor.update("users", role="ADMIN"))
    assert rows(editor, "SELECT role FROM users WHERE id = 1") == [("USER",)]


def test_nul_goes_where_it_can(editor: Editor) -> None:
    bookmark = Change(1, "insert", "bookmarks", values={"user_id": "1", "entity_type": "x", "entity_id": "a\0b"})
    saved = editor.save(bookmark)
    if editor.target.is_sqlite:
        assert rows(editor, "SELECT entity_id FROM bookmarks") == [("a\0b",)]
        assert editor.row("bookmarks")[1]["entity_id"] == "a\0b"
    else:
        assert [p.sentence for p in saved.problems] == ["entity_id: PostgreSQL can't store NUL characters"]
    half = Change(1, "insert", "bookmarks", values={"user_id": "1", "entity_type": "x", "entity_id": "\ud800"})
    assert [p.sentence for p in editor.save(half).problems] == ["entity_id: a lone surrogate can't be stored"]


def test_a_save_that_is_committed_is_saved_though_its_log_fails(
    editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    saved = editor.save(attempt(1))
    assert saved.problems == []
    assert "saved, but not confirmed in the log" in saved.warning
    assert rows(editor, "SELECT count(*) FROM attempts") == [(1,)]


def staged(editor: Editor, name: str, *changes: Change) -> Saved:
    return editing.save(editor.target, editor.tables, changes, StatementLog(), log=editor.log, staged=name)


def test_staged_changes_are_saved_once(editor: Editor) -> None:
    first = staged(editor, "s1", attempt(7))
    assert (first.again, list(first.changes)) == (False, [7])
    second = staged(editor, "s1", attempt(7), attempt(8))
    assert (second.again, second.changes, second.keys) == (True, first.changes, first.keys)
    # Another kernel knows it from the log.
    editing._OUTCOMES.clear()
    third = staged(editor, "s1", attempt(7))
    assert (third.again, third.changes, third.keys) == (True, first.changes, first.keys)
    other = staged(editor, "s1", attempt(7, score="51"))
    assert (other.changes, other.differing) == ({}, (7,))
    assert rows(editor, "SELECT count(*) FROM attempts") == [(1,)]
    assert staged(editor, "s2", attempt(7)).again is False
    assert rows(editor, "SELECT count(*) FROM attempts") == [(2,)]


def test_what_was_refused_can_be_saved_when_it_is_mended(editor: Editor) -> None:
    assert staged(editor, "s1", attempt(1, score="101")).problems
    assert staged(editor, "s1", attempt(1)).problems == []
    assert rows(editor, "SELECT count(*) FROM attempts") == [(1,)]


def test_a_save_that_did_not_say_how_it_ended_is_not_repeated(editor: Editor) -> None:
    staged(editor, "s1", attempt(1))
    editing._OUTCOMES.clear()
    lines = editor.log.read_text(encoding="utf-8").split("\n")
    editor.log.write_text(lines[0] + "\n" + lines[1][:40], encoding="utf-8")
    with pytest.raises(UnavailableError, match="whose outcome was not logged") as refused:
        staged(editor, "s1", attempt(1))
    assert "pharmdb studio --model attempts" in refused.value.command
    assert rows(editor, "SELECT count(*) FROM attempts") == [(1,)]
    assert [entry["state"] for entry in save_log.saves(editor.target, log=editor.log)] == ["saving"]


def test_an_edit_reaches_exactly_one_row(editor: Editor) -> None:
    if editor.target.is_sqlite:
        execute(editor, "CREATE TABLE kept (id INTEGER PRIMARY KEY, a TEXT)")
        execute(editor, "CREATE TRIGGER keep BEFORE DELETE ON kept BEGIN SELECT RAISE(IGNORE); END")
        execute(editor, "CREATE TRIGGER same BEFORE UPDATE ON kept BEGIN SELECT RAISE(IGNORE); END")
        execute(editor, "CREATE TABLE loose (id TEXT PRIMARY KEY, a TEXT)")
        execute(editor, "INSERT INTO loose VALUES (NULL, 'a'), (NULL, 'b')")
    else:
        execute(editor, "CREATE TABLE kept (id INTEGER PRIMARY KEY, a TEXT)")
        execute(editor, "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        trigger = "CREATE TRIGGER keep BEFORE DELETE OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION nothing()"
        execute(editor, trigger)
    execute(editor, "INSERT INTO kept VALUES (1, 'a')")
    editor.tables = editor._tables()
    for change in (editor.update("kept", a="b", id=2), editor.delete("kept", id=2)):
        (problem,) = editor.save(attempt(1), change).problems
        assert (problem.change, problem.kind) == (2, "gone")
        assert "affected no row" in problem.sentence
    assert rows(editor, "SELECT count(*) FROM attempts") == [(0,)]
    assert not editor.log.exists()
    if editor.target.is_sqlite:
        assert (
            editor.tables["loose"].why_read_only
            == "the table has no primary key without NULL, so rows can't be identified"
        )


def test_the_log_is_readable_whatever_was_saved(editor: Editor) -> None:
    editor.save(attempt(1, entity_id="a\u2028b\u0085c"))
    with editor.log.open("ab") as file:
        file.write(b'{"state": "sav\n\xff\n[1]\n')
    editor.save(attempt(2))
    entries = save_log.saves(editor.target, log=editor.log)
    assert [entry["state"] for entry in entries] == ["saved", "saved"]
    assert entries[1]["changes"][0]["after"]["entity_id"] == "a\u2028b\u0085c"
