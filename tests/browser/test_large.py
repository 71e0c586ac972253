"""A million rows: what the first page, the last one and those between cost."""

from __future__ import annotations

import re
import time

from chrome import Tabs
from playwright.sync_api import expect
from steps import column_texts, ready

from pharmdb import database
from pharmdb.studio import browsing
from pharmdb.studio.browsing import View
from pharmdb.studio.catalogue import catalogue
from pharmdb.studio.journal import Journal


def test_a_million_rows_page_by_page(tabs: Tabs, large: str) -> None:
    page = tabs.open(large, model="Attempt")
    assert float(re.search(r"([\d.]+) ms", page.locator(".ph-status").inner_text())[1]) < 300  # type: ignore[index]
    postgresql = not database.target(large).is_sqlite
    counted = "PostgreSQL's estimate" if postgresql else "more than 10,000 rows"
    expect(page.locator(".ph-status")).to_contain_text(counted)
    page.get_by_role("button", name="Last").click()
    ready(page)
    assert column_texts(page, "id")[-1].replace("→", "") == "1000000"
    deep = float(re.search(r"([\d.]+) ms", page.locator(".ph-status").inner_text())[1])  # type: ignore[index]
    assert deep < 300
    page.get_by_role("button", name="Previous").click()
    ready(page)
    assert column_texts(page, "id")[-1] == "999950"
    address = page.evaluate("location.hash")
    assert column_texts(tabs.open(large, address=address), "id") == column_texts(page, "id")
    page.get_by_role("button", name="First").click()
    ready(page)
    page.get_by_label("Rows a page").select_option("100")
    ready(page)
    page.get_by_role("button", name="Next").click()
    ready(page)
    assert column_texts(page, "id") == [str(n) for n in range(101, 201)]


def test_no_page_costs_more_for_its_depth(large: str) -> None:
    """Whole pages, with and without an index to serve the order."""
    with browsing.reading(database.target(large), Journal()) as session:
        table = catalogue(session)["attempts"]

        def seconds(view: View) -> float:
            times = []
            for _ in range(3):
                began = time.perf_counter()
                browsing.page(session, table, view)
                times.append(time.perf_counter() - began)
            return min(times)

        first = seconds(View())
        integer = "i" if session.is_sqlite else "t"
        deep = seconds(View(place=(f"{integer}:999000",)))
        assert first < 0.25
        assert deep < max(10 * first, 0.1)
        by_score = View(sort=(("score", True),))
        number = (77.0).hex() if session.is_sqlite else "77"
        place = (f"{'f' if session.is_sqlite else 't'}:{number}", f"{integer}:500000")
        assert seconds(View(sort=by_score.sort, place=place)) < max(3 * seconds(by_score), 0.1)
