"""Back and Forward in the browser: they walk through the views, and the tab's title says which one is shown."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect
from support.chrome import Tabs
from support.steps import column_texts, filter_by, ready

from pharmdb.database import targets, transactions


def shows(page: Page, table: str, rows: int) -> None:
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", table)
    expect(page.locator(".ph-studio")).to_have_attribute("data-rows", str(rows))
    expect(page).to_have_title(re.compile(rf"^{table} – \S.* – pharmdb studio$"))
    ready(page)


def test_back_and_forward_walk_through_tables_filters_sorts_and_pages(tabs: Tabs, seeded: str) -> None:
    with transactions.writing(targets.target(seeded)) as connection:
        for number in range(60):
            connection.exec_driver_sql(
                f"INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'drug', 'd{number}')"
            )
    page = tabs.open(seeded)
    shows(page, "users", 2)
    page.locator('.ph-tables [data-table="bookmarks"]').click()
    shows(page, "bookmarks", 50)
    page.get_by_role("button", name="Next", exact=True).click()
    shows(page, "bookmarks", 10)
    filter_by(page, "entity_id", "=", "d7")
    shows(page, "bookmarks", 1)
    page.locator('.ph-tables [data-table="users"]').click()
    shows(page, "users", 2)
    page.get_by_role("columnheader", name="email").click()
    ready(page)
    ascending = column_texts(page, "email")
    page.get_by_role("columnheader", name="email").click()
    expect(page.locator('.ph-grid td[data-column="email"]').first).to_have_text(ascending[-1])
    page.get_by_role("tab", name="SQL").click()
    page.keyboard.press("Alt+ArrowLeft")
    expect(page.get_by_role("tab", name="SQL")).to_have_attribute("aria-selected", "true")
    page.go_back()
    # What is shown is the table again, and not the console above it.
    expect(page.locator('.ph-grid td[data-column="email"]').first).to_have_text(ascending[0])
    page.go_back()
    expect(page).to_have_url(re.compile(r"#table=users$"))
    for table, rows in (("bookmarks", 1), ("bookmarks", 10), ("bookmarks", 50), ("users", 2)):
        page.go_back()
        shows(page, table, rows)
    for table, rows in (("bookmarks", 50), ("bookmarks", 10), ("bookmarks", 1)):
        page.go_forward()
        shows(page, table, rows)


def test_the_trail_of_references_goes_along(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded, model="ProgressByTag")
    page.locator('td[data-column="user_id"]').first.get_by_role("button").click()
    shows(page, "users", 1)
    trail = page.get_by_role("navigation", name="Trail")
    expect(trail).to_contain_text("progress_by_tag")
    page.go_back()
    shows(page, "progress_by_tag", 4)
    expect(trail).to_be_hidden()
    page.go_forward()
    shows(page, "users", 1)
    expect(trail).to_contain_text("progress_by_tag")


def test_a_saved_change_is_no_new_view(tabs: Tabs, seeded: str) -> None:
    page = tabs.open(seeded)
    entries = page.evaluate("history.length")
    page.locator('td[data-column="email"]').first.dblclick()
    page.locator(".ph-editor input").fill("saved@pharmtrainer.test")
    page.get_by_role("button", name="OK", exact=True).click()
    page.get_by_role("button", name="Save all").click()
    expect(page.locator(".ph-message")).to_have_text("1 change saved")
    assert page.evaluate("history.length") == entries


def test_a_refused_filter_leaves_no_trace_in_the_history(tabs: Tabs, seeded: str) -> None:
    with transactions.writing(targets.target(seeded)) as connection:
        for number in range(60):
            connection.exec_driver_sql(
                f"INSERT INTO bookmarks (user_id, entity_type, entity_id) VALUES (1, 'drug', 'd{number}')"
            )
    page = tabs.open(seeded, model="Bookmark")
    page.get_by_role("button", name="Next", exact=True).click()
    shows(page, "bookmarks", 10)
    entries, address = page.evaluate("[history.length, location.hash]")
    filter_by(page, "id", ">", "many")
    expect(page.locator(".ph-filter")).to_contain_text("id takes")
    # The page begins with another row after this save, and is the same view.
    page.locator('td[data-column="id"]').first.click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Stage the deletion").click()
    page.get_by_role("button", name="Save all").click()
    expect(page.locator(".ph-message")).to_have_text("1 change saved")
    moved = page.evaluate("location.hash")
    assert moved != address
    assert page.evaluate("history.length") == entries
    # The address tells what is shown, and not what was refused.
    page.evaluate("""location.hash = '#table=bookmarks&f=["id",">","many","",[]]'""")
    expect(page.locator(".ph-message")).to_contain_text("id takes")
    expect(page).to_have_url(re.compile(re.escape(moved) + "$"))
