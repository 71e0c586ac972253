"""What a person sees and does in the grid, on both databases, with the real page and the real SQL."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from support.chrome import Tabs, fill
from support.parquet import parquet
from support.steps import add_row, axe, cell, column_texts, edit, filter_by, open_table, ready, save

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.seeding.passwords import verify_password

HOSTILE = {
    "script": "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
    "long": "long " * 4000,
    "emoji": "👩🏽‍⚕️ 💊 𝔭𝔥𝔞𝔯𝔪",
    "right to left": "العربية \u202egnp.exe",
    "markup": "&lt;b&gt; {{ 7 * 7 }} ${7 * 7} `x` | \\ \" '",
    "lines": "one\ntwo\tthree\r\nfour",
    "control": "bell \x07 escape \x1b[31m",
    "empty": "",
}


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    with transactions.reading(targets.target(url)) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def execute(url: str, sql: str, parameters: Any = ()) -> None:
    mark = "?" if targets.target(url).is_sqlite else "%s"
    with transactions.writing(targets.target(url)) as connection:
        connection.exec_driver_sql(sql.replace("?", mark), parameters)


def test_a_table_shows_its_rows_and_what_its_columns_are(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    expect(cell(page, 0, "email")).to_have_text("demo@pharmtrainer.test")
    expect(cell(page, 0, "password_hash")).to_have_text("••••••••")
    page.get_by_role("tab", name="Columns").click()
    role = page.locator("#root tr", has=page.locator("th", has_text=re.compile("^role$"))).inner_text()
    for part in ("one of a list: USER, ADMIN", "not NULL", "'USER'", "USER or ADMIN"):
        assert part in role
    user = page.locator("#root table.ph-plain").inner_text()
    assert "primary key" in user
    assert "trimmed, lower case, ASCII" in user
    open_table(page, "spaced_repetition_items")
    text = page.locator("#root table.ph-plain").inner_text()
    assert "→ users.id" in text
    assert "may be NULL" in text
    open_table(page, "alembic_version")
    expect(page.locator("#root")).to_contain_text("Read-only: pharmdb maintains this table itself")
    assert "$2b$" not in page.content()


def test_a_table_without_a_key_can_be_read_and_not_edited(tabs: Tabs, seeded: str) -> None:
    execute(seeded, "CREATE TABLE notes (body TEXT)")
    for number in range(60):
        execute(seeded, f"INSERT INTO notes VALUES ('note {number:02}')")
    page = tabs.open(seeded, model="notes")
    expect(cell(page, 0, "body")).to_have_text("note 00")
    page.get_by_role("button", name="Next").click()
    ready(page)
    assert column_texts(page, "body") == [f"note {n}" for n in range(50, 60)]
    cell(page, 0, "body").dblclick()
    expect(page.locator(".ph-message")).to_contain_text("no primary key")
    expect(page.get_by_role("button", name="Add row")).to_be_hidden()


def test_sort_filter_search_and_the_address_that_links_to_them(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 300)
    page = tabs.open(seeded, model="Attempt")
    expect(page.locator(".ph-status")).to_contain_text("row 1–50 of 300")
    page.get_by_role("columnheader", name="score").click()
    ready(page)
    page.get_by_role("columnheader", name="score").click()
    ready(page)
    assert column_texts(page, "score") == sorted(column_texts(page, "score"), key=float, reverse=True)
    expect(page.get_by_role("columnheader", name="score")).to_have_attribute("aria-sort", "descending")
    filter_by(page, "score", "between", "10", "20")
    filter_by(page, "user_id", "=", "2")
    scores = [float(text) for text in column_texts(page, "score")]
    expected = query(seeded, "SELECT score FROM attempts WHERE score BETWEEN 10 AND 20 AND user_id = 2")
    assert scores == sorted((row[0] for row in expected), reverse=True)
    address = page.evaluate("location.hash")
    page.get_by_label("Search", exact=True).fill("Q11")
    page.get_by_label("Search", exact=True).press("Enter")
    ready(page)
    assert set(column_texts(page, "entity_id")) <= {"q11", *(f"q11{n}" for n in range(10))}
    assert page.locator("td[data-column=entity_id] mark").first.inner_text() == "q11"
    other = tabs.open(seeded, model="User", address=address)
    assert [float(text) for text in column_texts(other, "score")] == scores
    # A refused filter says why at its place, and what was shown stays.
    status = other.locator(".ph-status").inner_text()
    filter_by(other, "score", ">", "many")
    expect(other.locator(".ph-message")).to_contain_text("score takes a number, not “many”")
    expect(other.locator(".ph-filter").last).to_contain_text("score takes a number, not “many”")
    expect(other.locator(".ph-filter").last.locator("input")).to_be_focused()
    assert (other.locator(".ph-status").inner_text(), len(column_texts(other, "score"))) == (status, len(scores))
    # What is being typed stays when another filter is added, or one is applied.
    other.locator(".ph-filter").last.locator("input").fill("9")
    other.get_by_role("button", name="Add filter").click()
    assert other.locator(".ph-filter").nth(-2).locator("input").input_value() == "9"
    other.get_by_role("columnheader", name="score").click()
    ready(other)
    assert other.locator(".ph-filter").nth(-2).locator("input").input_value() == "9"
    other.get_by_role("button", name="Clear filters").click()
    ready(other)
    filter_by(other, "entity_id", "in", "q7, q8")
    assert set(column_texts(other, "entity_id")) == {"q7", "q8"}
    other.get_by_role("button", name="Clear filters").click()
    filter_by(other, "created_at", "=", "2026-05-28")
    expect(other.locator(".ph-status")).to_contain_text("of 300 where created_at = 2026-05-28")
    filter_by(other, "feedback", "is not NULL")
    expect(other.locator(".ph-status")).to_contain_text("0 rows")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_grid_without_rows_says_why_and_what_to_do(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 60)
    page = tabs.open(seeded, model="Bookmark")
    empty = page.locator(".ph-empty")
    expect(empty).to_contain_text("bookmarks has no rows yet.")
    axe(page)
    empty.get_by_role("button", name="Add the first row").click()
    expect(page.get_by_role("dialog", name="New row of bookmarks")).to_be_visible()
    page.keyboard.press("Escape")
    add_row(page, user_id="1", entity_type="drug", entity_id="x")
    expect(empty).to_be_hidden()
    open_table(page, "attempts")
    filter_by(page, "score", ">", "99.5")
    expect(empty).to_have_text(re.compile("There is no row of attempts where score > 99.5. The table has 60 rows."))
    page.get_by_label("Search", exact=True).fill("q11")
    page.get_by_label("Search", exact=True).press("Enter")
    empty.get_by_role("button", name="Clear the filters and the search").click()
    ready(page)
    expect(page.get_by_label("Search", exact=True)).to_have_value("")
    expect(empty).to_be_hidden()
    page.get_by_label("Search", exact=True).fill("nowhere")
    page.get_by_label("Search", exact=True).press("Enter")
    empty.get_by_role("button", name="Clear the search").click()
    ready(page)
    page.get_by_role("button", name="Next").click()
    ready(page)
    # Somebody else deletes the rows of this page.
    execute(seeded, "DELETE FROM attempts WHERE id > 20")
    execute(seeded, "UPDATE pharmdb_environment SET name = 'production'")
    page.reload()
    ready(page)
    expect(empty).to_contain_text("No rows are left here.")
    empty.get_by_role("button", name="Go to the first page").click()
    ready(page)
    assert len(column_texts(page, "id")) == 20
    open_table(page, "dataset_overrides")
    expect(empty).to_contain_text("Rows can't be added here: production is read-only until it is unlocked.")
    execute(seeded, "ALTER TABLE bookmarks RENAME TO elsewhere")
    open_table(page, "bookmarks")
    expect(empty).to_contain_text("The rows can't be shown.")
    execute(seeded, "ALTER TABLE elsewhere RENAME TO bookmarks")
    empty.get_by_role("button", name="Try again").click()
    expect(empty).to_be_hidden()


def test_tables_are_listed_with_their_sizes_and_rows_are_gone_to(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 250)
    page = tabs.open(seeded)
    tables = page.get_by_role("navigation", name="Tables")
    expect(tables.get_by_role("button", name="attempts, 250 rows")).to_be_visible()
    page.get_by_role("button", name="Pin progress_by_tag").click()
    page.get_by_label("Search tables").focus()
    page.keyboard.press("ArrowDown")
    expect(tables.get_by_role("button", name="progress_by_tag, 4 rows")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.type("Attempt")
    page.keyboard.press("Enter")
    ready(page)
    expect(tables.get_by_role("button", name="attempts, 250 rows")).to_have_attribute("aria-current", "page")
    filter_by(page, "score", "≥", "50")
    kept = [row[0] for row in query(seeded, "SELECT id FROM attempts WHERE score >= 50 ORDER BY id")]
    expect(page.locator(".ph-status")).to_contain_text(f"row 1–50 of {len(kept)} where score ≥ 50")
    page.get_by_label("Go to a row by").select_option("id")
    page.get_by_label("Go to", exact=True).fill(str(kept[60]))
    page.get_by_label("Go to", exact=True).press("Enter")
    ready(page)
    expect(page.locator(".ph-status")).to_contain_text(f"row 61–{len(kept)} of {len(kept)}")
    expect(cell(page, 0, "id")).to_have_text(str(kept[60]))
    page.get_by_label("Go to", exact=True).fill("3")
    page.get_by_role("button", name="Go to this row").click()
    expect(page.locator(".ph-message")).to_contain_text("no row with id = 3 where score ≥ 50")
    # On a narrow page the list is folded away.
    page.set_viewport_size({"width": 390, "height": 800})
    expect(tables).to_be_hidden()
    page.get_by_role("button", name="☰ Tables").click()
    open_table(page, "users")
    expect(tables).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_reference_has_a_label_and_is_picked_from_a_list(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 3)
    page = tabs.open(seeded, model="Attempt")
    expect(cell(page, 0, "user_id")).to_contain_text("2 admin@pharmtrainer.test")
    cell(page, 0, "user_id").focus()
    page.keyboard.press("F2")
    page.keyboard.type("DEMO")
    expect(page.locator(".ph-choices [role=option]")).to_have_text(["1 demo@pharmtrainer.test"])
    axe(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(cell(page, 0, "user_id")).to_contain_text("1 demo@pharmtrainer.test")
    save(page)
    assert query(seeded, "SELECT user_id FROM attempts WHERE id = 1") == [(1,)]
    filter_by(page, "user_id.email", "contains", "admin")
    expect(page.locator(".ph-status")).to_contain_text("row 1–1 of 1 where user_id.email contains admin")


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_what_a_column_contains_is_shown_and_filters_by_one_click(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 120)
    page = tabs.open(seeded, model="Attempt")
    page.locator("thead th", has_text="score").focus()
    page.keyboard.press("f")
    ready(page)
    facet = page.get_by_role("complementary", name="Values of score")
    expect(facet).to_contain_text("101 different, the 20 most frequent")
    bars = facet.get_by_role("group", name="Distribution of score").get_by_role("button")
    bars.first.focus()
    page.keyboard.press("ArrowRight")
    expect(bars.nth(1)).to_be_focused()
    axe(page)
    page.keyboard.press("Enter")
    ready(page)
    scores = [float(text) for text in column_texts(page, "score")]
    assert set(scores) == {5, 6, 7, 8, 9, 10}
    facet.get_by_role("button", name="score = 10: 2 rows").click()
    ready(page)
    assert column_texts(page, "score") == ["10", "10"]
    expect(facet).to_contain_text("1 different")
    page.get_by_role("button", name="Close the values").click()
    expect(facet).to_be_hidden()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_value_is_set_in_all_selected_or_all_filtered_rows(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 120)
    page = tabs.open(seeded, model="Attempt")
    marks = page.locator("tbody .ph-mark")
    marks.nth(2).click()
    marks.nth(5).click(modifiers=["Shift"])
    expect(page.locator(".ph-chosen")).to_have_text("4 rows selected")
    page.get_by_role("button", name="Set value…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Column").select_option("score")
    dialog.get_by_label("New value").fill("many")
    dialog.get_by_role("button", name="Stage the changes").click()
    expect(dialog.get_by_role("alert")).to_have_text("score takes a number")
    dialog.get_by_label("New value").fill("77.5")
    axe(page)
    dialog.get_by_role("button", name="Stage the changes").click()
    expect(page.locator(".ph-message")).to_have_text("4 changes staged")
    save(page)
    assert query(seeded, "SELECT id FROM attempts WHERE score = 77.5 ORDER BY id") == [(3,), (4,), (5,), (6,)]
    # All rows of the page by key, and then all rows that the filter leaves.
    page.locator("thead .ph-mark").focus()
    page.keyboard.press(" ")
    expect(page.locator(".ph-chosen")).to_have_text("50 rows selected")
    filter_by(page, "score", "<", "60")
    left = query(seeded, "SELECT count(*) FROM attempts WHERE score < 60")[0][0]
    page.get_by_role("button", name="Set value…").click()
    dialog.get_by_label("Column").select_option("entity_type")
    dialog.get_by_label("New value").select_option("calc")
    expect(dialog.get_by_label(f"all rows where score < 60: {left}")).to_be_checked()
    dialog.get_by_role("button", name="Stage the changes").click()
    ready(page)
    expect(page.locator(".ph-staging")).to_contain_text(f"{left} staged changes")
    expect(page.locator(".ph-staging")).to_contain_text(f"and {left - 50} other changes")
    save(page)
    assert query(seeded, "SELECT count(*) FROM attempts WHERE entity_type = 'calc'") == [(left,)]
    # A save is one line, and each of its statements, too.
    page.get_by_role("tab", name="Log").click()
    ready(page)
    saves = page.get_by_role("region", name="Saves, newest first")
    lines = saves.locator(":scope > table > tbody > tr")
    assert [line.locator("td").nth(3).inner_text() for line in lines.all()] == [
        f"{left} updates of attempts",
        "4 updates of attempts",
    ]
    lines.first.get_by_text(f"Show each of the {left} changes").click()
    changes = lines.first.get_by_role("region", name="Changes of the save of")
    expect(changes.locator("tbody tr")).to_have_count(left)
    expect(changes).to_contain_text('{"entity_type":"question"}')
    axe(page)
    statements = page.get_by_role("region", name="Statements, newest first").locator("tbody tr")
    updates = statements.filter(has_text="UPDATE attempts SET entity_type")
    assert [text.strip() for text in updates.locator("td").all_inner_texts()][2::2][:2] == [str(left), str(left)]
    updates.locator("summary").click()
    expect(updates).to_contain_text(f"and {left - 21} more")
    assert statements.filter(has_text="SAVEPOINT").count() == 0


def test_relations_lead_both_ways_and_back(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    cell(page, 0, "email").click()
    page.keyboard.press("Alt+Enter")
    page.get_by_role("button", name="progress_by_tag (user_id): 4 rows").click()
    ready(page)
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", "progress_by_tag")
    expect(page.locator(".ph-studio")).to_have_attribute("data-rows", "4")
    cell(page, 1, "user_id").focus()
    page.keyboard.press("Control+Enter")
    ready(page)
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", "users")
    assert column_texts(page, "email") == ["demo@pharmtrainer.test"]
    trail = page.get_by_role("navigation", name="Trail")
    trail.get_by_role("button").nth(1).click()
    ready(page)
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", "progress_by_tag")
    trail.get_by_role("button").nth(0).click()
    ready(page)
    assert len(column_texts(page, "email")) == 2


def test_edits_of_every_type_are_staged_and_saved_together(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 3)
    page = tabs.open(seeded)
    cell(page, 0, "role").dblclick()
    page.locator(".ph-editor select").select_option("ADMIN")
    page.get_by_role("button", name="OK", exact=True).click()
    edit(page, 1, "email", "boss@pharmtrainer.test")
    edit(page, 1, "password_hash", "a new password 1")
    open_table(page, "attempts")
    edit(page, 0, "score", "12.5")
    edit(page, 0, "created_at", "2026-02-03T04:05:06.789")
    cell(page, 0, "answers").dblclick()
    page.locator(".ph-editor textarea").fill('{"choice": ')
    page.get_by_role("button", name="OK", exact=True).click()
    expect(page.locator(".ph-editor .ph-sentence")).to_contain_text("not JSON")
    page.locator(".ph-editor textarea").fill('{"choice": ["ß", null]}')
    page.get_by_role("button", name="OK", exact=True).click()
    edit(page, 1, "feedback", '""')
    assert query(seeded, "SELECT count(*) FROM attempts WHERE score = 12.5") == [(0,)]
    expect(page.locator(".ph-staging")).to_contain_text("4 staged changes")
    assert "a new password 1" not in page.content()
    save(page)
    expect(page.locator(".ph-message")).to_have_text("4 changes saved")
    assert query(seeded, "SELECT role, email FROM users ORDER BY id") == [
        ("ADMIN", "demo@pharmtrainer.test"),
        ("ADMIN", "boss@pharmtrainer.test"),
    ]
    ((hashed,),) = query(seeded, "SELECT password_hash FROM users WHERE email = 'boss@pharmtrainer.test'")
    assert verify_password("a new password 1", hashed)
    expect(cell(page, 0, "created_at")).to_have_text("2026-02-03 04:05:06.789")
    expect(cell(page, 0, "answers")).to_contain_text("ß")
    entries = [json.loads(line) for line in tabs.log.read_text(encoding="utf-8").splitlines()]
    assert [entry["state"] for entry in entries] == ["saving", "saved"]
    logged = {change["table"]: change for change in entries[0]["changes"]}
    assert logged["users"]["after"] == {"email": "boss@pharmtrainer.test", "password_hash": "••••••••"}
    page.get_by_role("tab", name="Log").click()
    page.get_by_text("Show each of the 4 changes").click()
    expect(page.get_by_role("region", name="Saves, newest first")).to_contain_text("boss@pharmtrainer.test")
    statements = page.get_by_role("region", name="Statements, newest first")
    expect(statements).to_contain_text("UPDATE users SET")
    assert "$2b$" not in page.content()


def test_null_is_told_from_empty(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 2)
    page = tabs.open(seeded, model="Attempt")
    expect(cell(page, 0, "feedback")).to_have_text("NULL")
    edit(page, 0, "entity_id", "")
    expect(cell(page, 0, "entity_id")).to_have_text("empty")
    edit(page, 1, "entity_id", "NULL")
    edit(page, 1, "feedback", "null")
    save(page)
    assert query(seeded, "SELECT entity_id, feedback IS NULL FROM attempts ORDER BY id") == [
        ("", True),
        ("NULL", False),
    ]
    expect(cell(page, 1, "entity_id").locator(".ph-quiet")).to_have_count(0)
    cell(page, 1, "feedback").focus()
    page.keyboard.press("Delete")
    cell(page, 1, "entity_id").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".ph-message")).to_contain_text("entity_id can't be NULL")
    save(page)
    assert query(seeded, "SELECT feedback IS NULL FROM attempts ORDER BY id") == [(True,), (True,)]


def test_a_violation_is_a_sentence_at_its_cell_and_nothing_is_saved(tabs: Tabs, seeded: str) -> None:
    before = query(seeded, "SELECT * FROM users ORDER BY id")
    page = tabs.open(seeded)
    edit(page, 0, "email", "admin@pharmtrainer.test")
    cell(page, 1, "role").dblclick()
    page.locator(".ph-editor select").select_option("USER")
    page.get_by_role("button", name="OK", exact=True).click()
    save(page)
    expect(cell(page, 0, "email")).to_contain_text("another user has the same e-mail address")
    expect(cell(page, 0, "email")).to_have_attribute("aria-invalid", "true")
    expect(cell(page, 0, "email")).to_be_focused()
    expect(page.locator(".ph-staging")).to_contain_text("2 staged changes")
    # A message belongs to the tab in which it was said.
    expect(page.locator(".ph-message")).to_contain_text("Nothing was saved")
    page.get_by_role("tab", name="SQL").click()
    expect(page.locator(".ph-message")).to_be_empty()
    page.get_by_role("tab", name="Rows").click()
    assert query(seeded, "SELECT * FROM users ORDER BY id") == before
    edit(page, 0, "email", "other@pharmtrainer.test")
    save(page)
    sentence = "admin@pharmtrainer.test is the only administrator: promote another one first"
    expect(cell(page, 1, "role")).to_contain_text(sentence)
    expect(page.locator(".ph-message")).to_have_text(f"Nothing was saved: {sentence}")
    cell(page, 0, "role").dblclick()
    page.locator(".ph-editor select").select_option("ADMIN")
    page.get_by_role("button", name="OK", exact=True).click()
    save(page)
    expect(page.locator(".ph-staging")).to_be_hidden()
    assert query(seeded, "SELECT email, role FROM users ORDER BY id") == [
        ("other@pharmtrainer.test", "ADMIN"),
        ("admin@pharmtrainer.test", "USER"),
    ]


def test_two_editors_see_each_other_and_overwrite_nothing_unseen(tabs: Tabs, seeded: str) -> None:
    ann, ben = tabs.open(seeded), tabs.open(seeded)
    ann.bring_to_front()
    edit(ann, 0, "email", "ann@pharmtrainer.test")
    ben.bring_to_front()
    edit(ben, 0, "email", "ben@pharmtrainer.test")
    ann.bring_to_front()
    save(ann)
    ben.bring_to_front()
    save(ben)
    staging = ben.locator(".ph-staging")
    expect(staging).to_contain_text("it is now “ann@pharmtrainer.test”")
    expect(staging).to_contain_text("yours is “ben@pharmtrainer.test”")
    assert query(seeded, "SELECT email FROM users WHERE id = 1") == [("ann@pharmtrainer.test",)]
    staging.get_by_role("button", name="Take theirs").click()
    expect(cell(ben, 0, "email")).to_have_text("ann@pharmtrainer.test")
    expect(ben.locator(".ph-message")).to_be_empty()
    expect(cell(ben, 0, "email")).to_be_focused()
    edit(ben, 0, "email", "ben@pharmtrainer.test")
    execute(seeded, "UPDATE users SET email = 'eve@pharmtrainer.test' WHERE id = 1")
    save(ben)
    staging.get_by_role("button", name="Keep mine").click()
    save(ben)
    assert query(seeded, "SELECT email FROM users WHERE id = 1") == [("ben@pharmtrainer.test",)]
    execute(seeded, "DELETE FROM users WHERE id = 1")
    ann.bring_to_front()
    edit(ann, 0, "email", "ghost@pharmtrainer.test")
    save(ann)
    expect(ann.locator(".ph-message")).to_contain_text("somebody else has deleted this row in the meantime")


def test_adding_duplicating_and_deleting_with_what_hangs_on_it(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    cell(page, 0, "email").click()
    page.get_by_role("button", name="Duplicate").click()
    edit(page, 0, "email", "new@pharmtrainer.test")
    save(page)
    expect(cell(page, 0, "password_hash")).to_contain_text("a new user needs a password")
    edit(page, 0, "password_hash", "first password")
    add_row(page, email="newer@pharmtrainer.test", password_hash="second password")
    save(page)
    assert query(seeded, "SELECT email, role FROM users ORDER BY id")[2:] == [
        ("new@pharmtrainer.test", "USER"),
        ("newer@pharmtrainer.test", "USER"),
    ]
    cell(page, 0, "id").focus()
    page.keyboard.press("Shift+Space")
    cell(page, 3, "id").focus()
    page.keyboard.press("Shift+Space")
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Delete 2 rows of users?")
    expect(dialog).to_contain_text("4 rows of progress_by_tag (user_id): deleted with it")
    page.get_by_role("button", name="Stage the deletion").click()
    assert len(query(seeded, "SELECT id FROM users")) == 4
    # Even and odd rows alike show that they go.
    colours = page.locator(".ph-deleted td:first-child").evaluate_all(
        "cells => cells.map((cell) => getComputedStyle(cell).backgroundColor)"
    )
    assert colours == ["rgb(251, 227, 228)"] * 2
    execute(seeded, "DELETE FROM progress_by_tag WHERE tag = 'asthma'")
    save(page)
    expect(page.locator(".ph-message")).to_contain_text("would now affect")
    assert len(query(seeded, "SELECT id FROM users")) == 4
    page.get_by_role("button", name="Discard all").click()
    page.get_by_role("button", name="Discard", exact=True).click()
    cell(page, 0, "id").focus()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Stage the deletion").click()
    save(page)
    assert query(seeded, "SELECT count(*) FROM progress_by_tag") == [(0,)]


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_new_rows_come_from_a_form_from_text_and_from_the_clipboard(tabs: Tabs, seeded: str, tmp_path: Path) -> None:
    page = tabs.open(seeded, model="Attempt")
    page.get_by_role("button", name="Add row").click()
    form = page.get_by_role("dialog", name="New row of attempts")
    axe(page)
    form.get_by_label("user_id *").fill("1")
    form.get_by_role("button", name="Stage the row").click()
    expect(form).to_contain_text("entity_id must be filled in")
    expect(form.get_by_label("entity_type *")).to_be_focused()
    form.get_by_label("entity_type *").select_option("case")
    form.get_by_label("entity_id *").fill("c1")
    form.get_by_label("answers *").fill("{}")
    form.get_by_label("score *").fill("55")
    form.get_by_role("button", name="Stage, and add another").click()
    expect(form.get_by_label("entity_id *")).to_have_value("")
    page.keyboard.press("Escape")
    # A file, with a column that is no column and a value that does not fit.
    lines = ["score;user_id;entity_type;entity_id;answers;mood", "70;1;case;c2;{};good", "many;2;calc;c3;[1];bad"]
    (tmp_path / "rows.csv").write_text("\r\n".join(lines), encoding="utf-8")
    page.get_by_role("button", name="Import…").click()
    page.get_by_label("File").set_input_files(tmp_path / "rows.csv")
    expect(page.get_by_label("or text")).to_have_value(re.compile("mood"))
    axe(page)
    page.get_by_role("button", name="Stage the rows").click()
    report = page.get_by_role("dialog", name="2 rows staged")
    expect(report).to_contain_text("mood: attempts has no such column")
    expect(report).to_contain_text("line 3: score takes a number, not “many”")
    report.get_by_role("button", name="Close").click()
    expect(cell(page, 2, "score")).to_have_attribute("aria-invalid", "true")
    edit(page, 2, "score", "7")
    save(page)
    found = query(seeded, "SELECT user_id, entity_type, entity_id, score FROM attempts ORDER BY entity_id")
    assert found == [(1, "case", "c1", 55), (1, "case", "c2", 70), (2, "calc", "c3", 7)]
    # Lines below the last row are new rows.
    page.evaluate("text => navigator.clipboard.writeText(text)", "c3b\t{}\t8\nc4\t{}\t9")
    cell(page, 2, "entity_id").click()
    page.keyboard.press("Control+v")
    expect(page.locator(".ph-message")).to_contain_text("3 cells pasted and staged, 1 new row staged")
    edit(page, 0, "user_id", "1")
    cell(page, 0, "entity_type").dblclick()
    page.locator(".ph-editor select").select_option("case")
    page.get_by_role("button", name="OK", exact=True).click()
    save(page)
    assert query(seeded, "SELECT score FROM attempts WHERE entity_id IN ('c3b', 'c4') ORDER BY 1") == [(8,), (9,)]


def test_staging_is_taken_back_by_key_and_saved_from_anywhere(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    page.get_by_label("Search", exact=True).press_sequentially("pharm")
    edit(page, 0, "email", "one@pharmtrainer.test")
    edit(page, 1, "email", "two@pharmtrainer.test")
    page.keyboard.press("Control+z")
    expect(page.locator(".ph-message")).to_have_text("undone: 1 change staged")
    expect(cell(page, 1, "email")).to_have_text("admin@pharmtrainer.test")
    # What was typed in the search field is not what is undone.
    expect(page.get_by_label("Search", exact=True)).to_have_value("pharm")
    page.keyboard.press("Control+z")
    expect(page.locator(".ph-message")).to_have_text("undone: 0 changes staged")
    expect(cell(page, 0, "email")).to_have_text("demo@pharmtrainer.test")
    page.keyboard.press("Control+z")
    expect(page.locator(".ph-message")).to_have_text("nothing to undo")
    page.keyboard.press("Control+y")
    page.keyboard.press("Control+Shift+Z")
    expect(page.locator(".ph-staging")).to_contain_text("2 staged changes")
    expect(page.locator(".ph-staging")).to_contain_text("change users 1 (demo@pharmtrainer.test): email")
    # In an open editor, and in the search field.
    cell(page, 0, "email").dblclick()
    page.locator(".ph-editor input").fill("three@pharmtrainer.test")
    page.keyboard.press("Control+s")
    expect(page.locator(".ph-message")).to_have_text("2 changes saved")
    edit(page, 0, "email", "four@pharmtrainer.test")
    page.get_by_label("Search", exact=True).press("Control+s")
    expect(page.locator(".ph-message")).to_have_text("1 change saved")
    assert query(seeded, "SELECT email FROM users ORDER BY id") == [
        ("four@pharmtrainer.test",),
        ("two@pharmtrainer.test",),
    ]
    # The panel of staged changes covers neither the rows nor the buttons below them.
    edit(page, 0, "email", "five@pharmtrainer.test")
    boxes = [page.locator(part).bounding_box() for part in (".ph-gridroom", ".ph-status", ".ph-message", ".ph-staging")]
    edges = [(box["y"], box["y"] + box["height"]) for box in boxes if box]
    assert all(above[1] <= below[0] + 1 for above, below in pairwise(edges))
    assert edges[-1][1] <= 800


def test_a_save_is_reverted_from_the_log_with_all_that_it_took_along(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 1200)
    page = tabs.open(seeded)
    before = query(seeded, "SELECT * FROM attempts ORDER BY id")
    cell(page, 0, "id").focus()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1: demo@pharmtrainer.test")
    execute(seeded, "DELETE FROM attempts WHERE user_id = 1 AND id > 50")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete…").click()
    expect(dialog).to_contain_text("The log keeps every deleted row")
    before = [row for row in before if row[1] != 1 or row[0] <= 50]
    page.get_by_role("button", name="Stage the deletion").click()
    save(page)
    assert query(seeded, "SELECT count(*) FROM attempts WHERE user_id = 1") == [(0,)]
    page.get_by_role("tab", name="Log").click()
    saves = page.get_by_role("region", name="Saves, newest first")
    expect(saves).to_contain_text("deleted with it: ")
    saves.get_by_role("button", name=re.compile("Revert the save")).click()
    axe(page)
    page.get_by_role("button", name="Revert", exact=True).click()
    expect(page.locator(".ph-message")).to_contain_text("set a new password for users demo@pharmtrainer.test")
    assert query(seeded, "SELECT * FROM attempts ORDER BY id") == before
    assert query(seeded, "SELECT count(*) FROM progress_by_tag WHERE user_id = 1") == [(4,)]
    expect(saves).to_contain_text("reverted")


def test_a_backup_is_offered_before_a_large_deletion(tabs: Tabs, seeded: str) -> None:
    fill(seeded, 2400)
    page = tabs.open(seeded)
    cell(page, 0, "id").focus()
    page.get_by_role("button", name="Delete…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("These are 1,206 rows in all")
    dialog.get_by_role("button", name="Back up first").click()
    expect(dialog.get_by_role("status")).to_contain_text("backed up: ")
    assert len(pharmdb.backup(seeded, list_only=True).backups) == 1


def test_what_is_staged_outlives_a_reload_and_a_password_does_not(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    edit(page, 0, "email", "kept@pharmtrainer.test")
    edit(page, 1, "password_hash", "never written down")
    assert "never written down" not in page.evaluate("JSON.stringify([sessionStorage, localStorage])")
    page.reload()
    ready(page)
    expect(cell(page, 0, "email")).to_have_text("kept@pharmtrainer.test")
    save(page)
    assert query(seeded, "SELECT email FROM users WHERE id = 1") == [("kept@pharmtrainer.test",)]


def test_cells_are_copied_to_a_spreadsheet_and_back(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded, model="ProgressByTag")
    cell(page, 0, "module").click()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "questions\tcardiology\nquestions\tcardiology"
    pasted = 'cases\t"tab\tand ""quote"""\r\ncases\tplain\r\n'
    page.evaluate("text => navigator.clipboard.writeText(text)", pasted)
    cell(page, 0, "module").click()
    page.keyboard.press("Control+v")
    expect(page.locator(".ph-message")).to_have_text("4 cells pasted and staged")
    expect(page.locator(".ph-staging")).to_contain_text("2 staged changes")
    save(page)
    assert query(seeded, "SELECT module, course_block FROM progress_by_tag ORDER BY id")[:2] == [
        ("cases", 'tab\tand "quote"'),
        ("cases", "plain"),
    ]
    # A formula is copied as text, and comes back as it was.
    page.evaluate("text => navigator.clipboard.writeText(text)", "'=1+1\t'-5")
    cell(page, 0, "module").click()
    page.keyboard.press("Control+v")
    save(page)
    assert query(seeded, "SELECT module, course_block FROM progress_by_tag ORDER BY id")[0] == ("=1+1", "-5")
    cell(page, 0, "module").click()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+c")
    assert page.evaluate("navigator.clipboard.readText()") == "'=1+1\t-5"
    page.evaluate("navigator.clipboard.writeText('7')")
    cell(page, 0, "correct_count").click()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Control+v")
    save(page)
    assert query(seeded, "SELECT correct_count, wrong_count FROM progress_by_tag ORDER BY id")[:3] == [
        (7, 7),
        (7, 7),
        (0, 0),
    ]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_hostile_content_is_shown_as_text(tabs: Tabs, seeded: str) -> None:
    hostile = dict(HOSTILE)
    if targets.target(seeded).is_sqlite:
        hostile["nul"] = "before\0after"
    for text in hostile.values():
        execute(seeded, "INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'x', ?)", (text,))
    page = tabs.open(seeded, model="Bookmark")
    shown = dict(zip(hostile, column_texts(page, "entity_id"), strict=True))
    assert page.evaluate("window.hacked") is None
    assert page.locator("#root script, #root img").count() == 0
    assert shown["script"] == hostile["script"]
    assert shown["emoji"].replace("⟨U+200D⟩", "\u200d") == hostile["emoji"]
    assert "⟨U+202E⟩gnp.exe" in shown["right to left"]
    assert shown["lines"] == "one↵two⇥three↵four"
    assert "␇" in shown["control"]
    assert shown["long"].endswith("20,000 characters")
    assert shown["empty"] == "empty"
    # A value that is edited beside a hostile one, and one that is long, keep every character.
    for row in range(len(hostile)):
        edit(page, row, "entity_type", "y")
    cell(page, 1, "entity_id").dblclick()
    assert page.locator(".ph-editor textarea").input_value() == hostile["long"]
    page.keyboard.press("Escape")
    save(page)
    assert query(seeded, "SELECT entity_type, entity_id FROM bookmarks ORDER BY id") == [
        ("y", text) for text in hostile.values()
    ]


def test_columns_are_resized_moved_pinned_and_hidden_by_key(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)

    def heads() -> list[str]:
        return page.locator("thead th .ph-name").all_inner_texts()

    page.locator("thead th", has_text="email").focus()
    width = page.locator("thead th", has_text="email").bounding_box()["width"]  # type: ignore[index]
    page.keyboard.press("Alt+Shift+ArrowRight")
    assert page.locator("thead th", has_text="email").bounding_box()["width"] == width + 20  # type: ignore[index]
    page.keyboard.press("Alt+ArrowRight")
    assert heads() == ["id", "password_hash", "email", "role", "created_at"]
    page.keyboard.press("p")
    assert heads()[0] == "email"
    page.locator("thead th", has_text="role").focus()
    page.keyboard.press("h")
    assert "role" not in heads()
    page.reload()
    ready(page)
    assert heads() == ["email", "id", "password_hash", "created_at"]
    grip = page.locator("thead th", has_text="email").locator(".ph-grip").bounding_box()
    assert grip
    page.mouse.move(grip["x"] + 3, grip["y"] + 5)
    page.mouse.down()
    page.mouse.move(grip["x"] + 63, grip["y"] + 5)
    page.mouse.up()
    assert page.locator("thead th", has_text="email").bounding_box()["width"] == width + 80  # type: ignore[index]
    page.get_by_role("tab", name="Columns").click()
    page.get_by_role("button", name="Reset layout").click()
    page.get_by_role("tab", name="Rows").click()
    assert heads() == ["id", "email", "password_hash", "role", "created_at"]


def test_the_grid_is_used_by_key_alone(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    page.locator(".ph-grid [tabindex='0']").focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowRight")
    expect(cell(page, 0, "email")).to_be_focused()
    page.keyboard.type("keys@pharmtrainer.test")
    page.keyboard.press("Enter")
    expect(cell(page, 0, "email")).to_be_focused()
    page.keyboard.press("Control+s")
    expect(page.locator(".ph-message")).to_have_text("1 change saved")
    expect(cell(page, 0, "email")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    ready(page)
    expect(page.locator("thead th", has_text="email")).to_have_attribute("aria-sort", "ascending")
    page.keyboard.press("End")
    expect(page.locator("thead th").last).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("F2")
    expect(page.get_by_role("dialog", name="Edit created_at")).to_be_visible()
    page.keyboard.press("Escape")
    expect(cell(page, 0, "created_at")).to_be_focused()
    every = page.locator("#root button, #root input, #root select, #root textarea, #root [tabindex]")
    assert every.count() > 20
    assert (
        page.locator("#root :is(button, input, select, textarea, [tabindex]):not([data-lm-suppress-shortcuts])").count()
        == 0
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_axe_finds_no_violation(tabs: Tabs, seeded: str, scheme: str) -> None:
    fill(seeded, 60)
    page = tabs.open(seeded)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    axe(page)
    edit(page, 0, "email", "admin@pharmtrainer.test")
    add_row(page, email="new@pharmtrainer.test", password_hash="long enough")
    save(page)
    cell(page, 1, "email").click()
    page.keyboard.press("Alt+Enter")
    ready(page)
    axe(page)
    cell(page, 1, "role").dblclick()
    axe(page)
    page.keyboard.press("Escape")
    open_table(page, "attempts")
    filter_by(page, "entity_id", "contains", "q")
    page.get_by_label("Search", exact=True).fill("q1")
    page.get_by_label("Search", exact=True).press("Enter")
    ready(page)
    axe(page)
    page.get_by_role("tab", name="SQL").click()
    page.get_by_label("One statement").fill("SELECT * FROM attempts")
    page.get_by_role("button", name="Run").click()
    ready(page)
    axe(page)
    for name in ("Columns", "Log", "Schema"):
        page.get_by_role("tab", name=name).click()
        ready(page)
        axe(page)


def test_sql_reads_completes_explains_and_does_not_write(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    page.get_by_role("tab", name="SQL").click()
    box = page.get_by_label("One statement")
    words = page.get_by_role("listbox", name="Tables and columns")
    box.fill("SELECT u.ema")
    box.press("End")
    box.press("Control+Space")
    expect(words).to_be_hidden()
    box.fill("SELECT ema")
    box.press("End")
    box.press("Control+Space")
    expect(words.get_by_role("option", name="email")).to_be_visible()
    box.press("Enter")
    box.press_sequentially(" FROM user")
    assert words.get_by_role("option").all_inner_texts() == ["users", "user_settings", "user_id"]
    box.press("ArrowDown")
    box.press("ArrowDown")
    box.press("ArrowUp")
    box.press("Tab")
    assert box.input_value() == "SELECT email FROM users"
    # A word that is finished stays as it is.
    box.press_sequentially(" ORDER BY id desc")
    expect(words.get_by_role("option", name="description")).to_be_visible()
    box.press("Enter")
    assert box.input_value() == "SELECT email FROM users ORDER BY id desc\n"
    box.fill("SELECT * FROM users ORDER BY id")
    box.press("Control+Enter")
    ready(page)
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text("admin@pharmtrainer.test")
    expect(result).to_contain_text("••••••••")
    page.get_by_role("button", name="Plan").click()
    ready(page)
    expect(page.locator(".ph-plan")).to_contain_text(re.compile("SCAN|Sort|Scan"))
    for statement, sentence in [
        ("DELETE FROM users", "unlock the studio to write"),
        ("SELECT 1; DELETE FROM users", "several"),
        ("DROP TABLE users", "only revisions change the schema"),
        ("SELECT password_hash FROM users", "names no secret column"),
        ("SELEKT", "SELEKT"),
    ]:
        box.fill(statement)
        page.get_by_role("button", name="Run").click()
        ready(page)
        expect(page.locator(".ph-result [role=alert]")).to_contain_text(sentence)
    assert len(query(seeded, "SELECT id FROM users")) == 2
    page.get_by_role("button", name="Unlock…").click()
    page.get_by_label("Name").fill(targets.target(seeded).name)
    page.get_by_role("button", name="Unlock", exact=True).click()
    ready(page)
    # What writes is tried first, and says how many rows it would change.
    box.fill("DELETE FROM users WHERE id = 1")
    page.get_by_role("button", name="Run").click()
    ready(page)
    dialog = page.get_by_role("dialog", name="This statement changes 1 row")
    assert len(query(seeded, "SELECT id FROM users")) == 2
    dialog.get_by_role("button", name="Run it").click()
    expect(page.locator(".ph-result")).to_contain_text("1 row changed")
    ready(page)
    expect(page.locator(".ph-result")).to_contain_text("1 row changed")
    assert len(query(seeded, "SELECT id FROM users")) == 1
    assert "DELETE FROM users WHERE id = 1" in tabs.log.read_text(encoding="utf-8")


def test_statements_are_kept_linked_parametrized_charted_and_exported(tabs: Tabs, seeded: str, tmp_path: Path) -> None:
    fill(seeded, 1500)
    page = tabs.open(seeded)
    page.get_by_role("tab", name="SQL").click()
    box = page.get_by_label("One statement")
    statement = (
        "SELECT entity_id, count(*) AS n FROM attempts WHERE score >= :least GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 4"
    )
    box.fill(statement)
    least, kind = page.get_by_label(":least", exact=True), page.get_by_label(":least is")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".ph-result [role=alert]")).to_contain_text(":least is empty, so nothing was run")
    expect(least).to_be_focused()
    axe(page)
    kind.select_option("NULL")
    expect(least).to_be_hidden()
    kind.press("Enter")
    expect(page.locator(".ph-result [role=status]")).to_contain_text("0 rows")
    kind.select_option("value")
    least.fill("50")
    least.press("Enter")
    ready(page)
    # Numbers are aligned at their last digit, and so is their heading.
    aligned = "cells => cells.map((cell) => getComputedStyle(cell).textAlign)"
    assert page.locator(".ph-result .ph-plain th").evaluate_all(aligned) == ["start", "end"]
    assert page.locator(".ph-result .ph-plain tr").nth(1).locator("td").evaluate_all(aligned) == ["start", "end"]
    page.get_by_text("Chart", exact=True).click()
    chart = page.get_by_role("table", name="n by entity_id")
    assert chart.get_by_role("row").count() == 4
    axe(page)
    page.get_by_role("button", name="Save as…").click()
    page.get_by_label("Name").fill("most tried")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Copy link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    box.fill("SELECT id FROM attempts ORDER BY id")
    box.press("Control+Enter")
    ready(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export the result").click()
    download.value.save_as(tmp_path / "result.csv")
    # The whole result, and not only what is shown of it.
    expect(page.locator(".ph-result")).to_contain_text("1000 rows, and there are more")
    assert len((tmp_path / "result.csv").read_text(encoding="utf-8").splitlines()) == 1501
    page.get_by_label("Saved statements").select_option("most tried")
    expect(box).to_have_value(statement)
    page.get_by_label("Recent statements").select_option(index=1)
    expect(box).to_have_value("SELECT id FROM attempts ORDER BY id")
    # A link shows a statement, and does not run it.
    other = tabs.open(seeded, address=link.removeprefix("http://localhost:9/"))
    expect(other.get_by_label("One statement")).to_have_value(statement)
    expect(other.get_by_label(":least", exact=True)).to_be_visible()
    expect(other.locator(".ph-result")).to_be_empty()


def test_production_is_read_only_until_its_name_is_typed(tabs: Tabs, seeded: str) -> None:
    execute(seeded, "UPDATE pharmdb_environment SET name = 'production'")
    page = tabs.open(seeded)
    expect(page.locator(".ph-badge")).to_have_text("production, read-only")
    expect(page.get_by_role("button", name="Add row")).to_be_hidden()
    cell(page, 0, "email").dblclick()
    expect(page.locator(".ph-message")).to_contain_text("production is read-only until it is unlocked")
    page.get_by_role("button", name="Unlock…").click()
    page.get_by_label("Name").fill("wrong")
    page.get_by_label("Name").press("Enter")
    ready(page)
    expect(page.locator(".ph-studio")).to_have_attribute("data-unlocked", "false")
    page.get_by_role("button", name="Unlock…").click()
    page.get_by_label("Name").fill(targets.target(seeded).name)
    page.get_by_label("Name").press("Enter")
    ready(page)
    edit(page, 0, "email", "changed@pharmtrainer.test")
    save(page)
    assert query(seeded, "SELECT email FROM users WHERE id = 1") == [("changed@pharmtrainer.test",)]


def test_the_schema_is_drawn(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    page.get_by_role("tab", name="Schema").click()
    picture = page.get_by_role("img", name="attempts → users")
    expect(picture).to_be_visible()
    # Each line begins at its column and ends at the one that it refers to.
    assert "attempts.user_id → users.id" in picture.locator(".ph-link title").all_text_contents()
    line = picture.locator(".ph-link", has=page.locator("title", has_text="attempts.user_id → users.id"))
    ends = line.evaluate(
        """line => [0, line.getTotalLength()].map((at) => {
            const point = line.getPointAtLength(at).matrixTransform(line.getScreenCTM());
            return [point.x, point.y]; })"""
    )
    table = {
        name: picture.locator("g", has=page.locator(f"text.ph-tablename:text-is('{name}')"))
        for name in ("attempts", "users")
    }
    for (x, y), name, column in zip(ends, ("attempts", "users"), ("user_id", "id"), strict=True):
        box = table[name].locator("rect").bounding_box()
        text = table[name].get_by_text(column, exact=True).first.bounding_box()
        assert box
        assert text
        assert min(abs(x - box["x"]), abs(x - box["x"] - box["width"])) < 3
        assert text["y"] - 3 < y < text["y"] + text["height"] + 3
    width = picture.bounding_box()["width"]  # type: ignore[index]
    page.get_by_role("button", name="Larger").click()
    assert picture.bounding_box()["width"] > width  # type: ignore[index]
    page.get_by_role("button", name="Original size").click()
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.locator(".ph-studio")).to_have_attribute("data-width", "narrow")
    assert picture.bounding_box()["width"] < 390  # type: ignore[index]
    page.emulate_media(color_scheme="dark")
    assert page.locator(".ph-tablename").first.evaluate("t => getComputedStyle(t).fill") == "rgb(232, 235, 238)"


def test_a_kernel_that_is_gone_is_noticed_and_nothing_staged_is_lost(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded, clock=True)
    edit(page, 0, "email", "staged@pharmtrainer.test")
    page.evaluate("window.dead = true")
    page.get_by_role("button", name="Save all").click()
    page.clock.run_for(15_000)
    expect(page.get_by_role("alert").first).to_contain_text("1 staged change kept in this page")
    expect(page.locator(".ph-studio")).to_have_attribute("data-busy", "0")
    page.reload()
    ready(page)
    expect(cell(page, 0, "email")).to_have_text("staged@pharmtrainer.test")


def test_a_kernel_that_is_silent_from_the_start_is_noticed(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded, clock=True)
    page.add_init_script("window.dead = true")
    page.reload()
    page.wait_for_selector(".ph-studio")
    page.clock.run_for(15_000)
    expect(page.get_by_role("alert").first).to_contain_text("The kernel does not answer")


def test_unlocking_asks_for_a_name(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    page.get_by_role("button", name="Unlock…").click()
    page.get_by_role("dialog").get_by_role("button", name="Unlock", exact=True).click()
    expect(page.locator(".ph-message")).to_contain_text("type the database's name")
    expect(page.locator(".ph-studio")).to_have_attribute("data-unlocked", "false")


def test_a_save_whose_answer_is_late_is_made_once(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded, model="Bookmark", clock=True)
    add_row(page, user_id="1", entity_type="drug", entity_id="late")
    # The kernel hears the save, and its answer is lost.
    page.evaluate(
        """() => { const kernel = window.kernel; window.kernel = async (message) => {
            if (message.op === "save") await kernel(message);
            return message.op === "save" || message.op === "ping" ? [] : kernel(message); } }"""
    )
    page.get_by_role("button", name="Save all").click()
    page.clock.run_for(15_000)
    expect(page.get_by_role("alert").first).to_contain_text("It is not known whether the changes were saved")
    assert query(seeded, "SELECT count(*) FROM bookmarks") == [(1,)]
    page.reload()
    ready(page)
    page.get_by_role("button", name="Save all").click()
    expect(page.locator(".ph-message")).to_have_text("1 change already saved")
    assert query(seeded, "SELECT count(*) FROM bookmarks") == [(1,)]


def test_an_export_is_the_whole_filtered_result(tabs: Tabs, seeded: str, tmp_path: Path) -> None:
    fill(seeded, 120)
    page = tabs.open(seeded, model="Attempt")
    filter_by(page, "score", ">", "20")
    expected = query(seeded, "SELECT count(*) FROM attempts WHERE score > 20")[0][0]
    assert expected > 50
    files = {}
    for name, extension in [("csv", "csv"), ("json", "json"), ("markdown", "md"), ("parquet", "parquet")]:
        page.get_by_label("as", exact=True).select_option(name)
        box = page.get_by_label("formulas as text")
        assert box.is_checked()
        assert box.is_visible() == (name == "csv")
        with page.expect_download() as download:
            page.get_by_role("button", name="Export").click()
        files[name] = tmp_path / f"attempts.{extension}"
        assert download.value.suggested_filename == f"attempts.{extension}"
        download.value.save_as(files[name])

    assert len(files["csv"].read_text(encoding="utf-8").splitlines()) == expected + 1
    assert len(json.loads(files["json"].read_text(encoding="utf-8"))) == expected
    assert len(files["markdown"].read_text(encoding="utf-8").splitlines()) == expected + 2
    rows = parquet(f"SELECT count(*), min(score), count(feedback) FROM '{files['parquet']}'")
    assert rows == [(expected, 21.0, 0)]
