"""What a person does with the studio, one step each, for the tests in a browser."""

from __future__ import annotations

import re

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page

from support.chrome import READY


def ready(page: Page) -> None:
    page.wait_for_selector(READY)


def open_table(page: Page, name: str) -> None:
    """Chooses a table in the list at the left."""
    page.locator(f'.ph-tables [data-table="{name}"]').click()
    ready(page)


def cell(page: Page, row: int, column: str) -> Locator:
    """A cell of the grid; `row` counts from 0, staged new rows included."""
    return page.locator(".ph-grid tbody tr").nth(row).locator(f'td[data-column="{column}"]')


def column_texts(page: Page, column: str) -> list[str]:
    return page.locator(f'.ph-grid td[data-column="{column}"]').all_inner_texts()


def edit(page: Page, row: int, column: str, text: str) -> None:
    cell(page, row, column).dblclick()
    page.locator(".ph-editor input, .ph-editor textarea").first.fill(text)
    page.get_by_role("button", name="OK", exact=True).click()


def add_row(page: Page, **values: str) -> None:
    """Stages a new row with its form."""
    page.get_by_role("button", name="Add row").click()
    form = page.get_by_role("dialog")
    for column, text in values.items():
        field = form.get_by_label(re.compile(rf"^{column}( \*)?$"))
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(text)
        else:
            field.fill(text)
    form.get_by_role("button", name="Stage the row").click()


def filter_by(page: Page, column: str, operator: str, *values: str) -> None:
    page.get_by_role("button", name="Add filter").click()
    box = page.locator(".ph-filter").last
    box.locator("select").nth(0).select_option(column)
    box.locator("select").nth(1).select_option(operator)
    for field, value in zip(box.locator("input").all(), values, strict=True):
        field.fill(value)
    page.get_by_role("button", name="Apply").click()
    ready(page)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save all").click()
    ready(page)


def axe(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found] == []
