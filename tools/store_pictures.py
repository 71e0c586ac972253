"""Takes the documentation's screenshots of the studio in a real browser."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Page, sync_playwright
from support.chrome import ARGUMENTS, Tabs, chromium, fill
from support.steps import cell, edit, filter_by, ready, save

import pharmdb

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main() -> None:
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        url = f"sqlite:///{folder}/pharm.db"
        pharmdb.reset(url, backup=False)
        fill(url, 20_000)
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        tabs = Tabs(context, Path(folder) / "studio.jsonl")
        _staged(tabs.open(url, model="Attempt"))
        page = tabs.open(url)
        page.emulate_media(color_scheme="dark")
        _relations(page)
        browser.close()


def _staged(page: Page) -> None:
    """A search, a filter, a sort order, and two staged edits, of which one violates a constraint."""
    page.get_by_role("columnheader", name="score").click()
    ready(page)
    filter_by(page, "score", ">", "40")
    page.get_by_label("Search", exact=True).fill("q11")
    page.get_by_label("Search", exact=True).press("Enter")
    ready(page)
    edit(page, 1, "score", "99.5")
    edit(page, 3, "score", "500")
    save(page)
    _shoot(page, "studio.png")


def _relations(page: Page) -> None:
    """The rows that refer to a user, and what a deletion would affect."""
    cell(page, 0, "email").click()
    page.keyboard.press("Alt+Enter")
    ready(page)
    cell(page, 0, "id").focus()
    page.get_by_role("button", name="Delete…").click()
    page.wait_for_selector("dialog")
    _shoot(page, "studio-delete.png")


def _shoot(page: Page, name: str) -> None:
    # The real path is a temporary folder, which would mean nothing to a reader.
    page.locator(".ph-head .ph-title").evaluate("title => { title.textContent = 'sqlite:///data/pharm.db'; }")
    page.screenshot(path=DOCS / name, animations="disabled")
    print(f"docs/{name}")


if __name__ == "__main__":
    main()
