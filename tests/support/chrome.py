"""A real browser for the tests: Debian's Chromium, driven by Playwright. No page may ask another host for anything."""

from __future__ import annotations

import base64
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pharmdb
from pharmdb.database import targets, transactions
from pharmdb.studio_app.bundle import bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

    from support.databases import Databases

STATIC = Path(pharmdb.__file__).parent / "studio_app" / "static"
ROWS = 1_000_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
READY = '.ph-studio[data-busy="0"][data-rows]'
# Nothing answers there: each request is answered by the test itself.
ORIGIN = "http://localhost:9"


def chromium() -> str | None:
    # The headless shell opens a page in a third of the time: it draws no window around it.
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def required() -> str:
    """Chromium's path; without it a test is skipped, or fails in CI."""
    path = chromium()
    if path is None:
        reason = "no Chromium here (Debian: apt-get install chromium): what the studio shows is not tested"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = required()
    from playwright.sync_api import expect, sync_playwright

    # A busy machine is slow, and not wrong.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, host: str, **options: Any) -> Iterator[BrowserContext]:
    """A browser's context in which every request elsewhere and every error of a script is a failure at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True, **options)
    context.set_default_timeout(15_000)
    faults: list[str] = []

    def request(request: Any) -> None:
        if not request.url.startswith((host, "blob:", "data:", "about:")):
            faults.append(request.url)

    def page(page: Page) -> None:
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "websocket", lambda ws: None if ws.url.startswith(host.replace("http", "ws")) else faults.append(ws.url)
        )
        page.on("dialog", lambda dialog: dialog.accept())

    context.on("request", request)
    context.on("page", page)
    yield context
    context.close()
    assert not faults, faults


def _direct(url: str, model: str, log: Path) -> Any:
    """The studio without a kernel between: requests are answered at once, by the same code."""
    from pharmdb.studio_app.widget import Studio

    class Direct(Studio):
        def submit(self, function: Callable[..., None], *arguments: Any) -> None:
            function(*arguments)

        def send(self, content: Any, buffers: Any = None) -> None:
            self.sent.append({"content": content, "buffers": [base64.b64encode(b).decode() for b in buffers or []]})

        def hear(self, message: dict[str, Any]) -> list[dict[str, Any]]:
            self.sent.clear()
            self._receive(None, message, [])
            return list(self.sent)

    direct = Direct(targets.target(url), model, log=log)
    direct.sent = []
    direct._threads.shutdown()
    direct._threads = direct
    return direct


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>studio</title>
<link rel="stylesheet" href="studio.css"></head><body><style>:root { color-scheme: light dark } body { margin: 0 }
h1 { font: 600 16px sans-serif; margin: 10px 12px 0 }</style>
<main data-studio-page><h1>pharmdb studio</h1><div id="root"></div></main>
<script type="module">
import studio from "./studio.js";
let hear;
const model = {
  get: (name) => window.traits[name],
  on: (_, callback) => { hear = callback; },
  off: () => {},
  send: async (message) => {
    if (window.dead) return;
    for (const { content, buffers } of await window.kernel(message)) {
      hear(content, buffers.map((b) => new DataView(Uint8Array.from(atob(b), (c) => c.charCodeAt(0)).buffer)));
    }
  },
};
window.traits = await window.traitsOf();
window.close_ = studio.render({ model, el: document.getElementById("root") });
</script></body></html>"""


class Tabs:
    """Opens the studio in tabs of one browser context: `open(url)` gives a page that is ready."""

    def __init__(self, context: BrowserContext, log: Path) -> None:
        self.context = context
        self.log = log

    def open(self, url: str, *, model: str = "User", address: str = "", clock: bool = False) -> Page:
        """With `clock` the page's time can be moved on by the test."""
        studio = _direct(url, model, self.log)
        page = self.context.new_page()
        if clock:
            page.clock.install()
        page.expose_function("kernel", studio.hear)
        page.expose_function("traitsOf", lambda: {"table": studio.table, "title": studio.title})
        page.route(f"{ORIGIN}/**", self._answer)
        page.goto(f"{ORIGIN}/{address}")
        page.wait_for_selector(READY)
        return page

    @staticmethod
    def _answer(route: Route) -> None:
        name = route.request.url.removeprefix(f"{ORIGIN}/").partition("#")[0]
        if name == "studio.js":
            route.fulfill(body=bundle(STATIC / name), content_type="text/javascript; charset=utf-8")
        elif name == "studio.css":
            body = (STATIC / name).read_text(encoding="utf-8")
            route.fulfill(body=body, content_type="text/css; charset=utf-8")
        elif name == "":
            route.fulfill(body=_PAGE, content_type="text/html; charset=utf-8")
        else:
            route.fulfill(status=404, body="")


@pytest.fixture
def tabs(browser: Browser, tmp_path: Path) -> Iterator[Tabs]:
    permissions = ["clipboard-read", "clipboard-write"]
    with watched(browser, ORIGIN, permissions=permissions) as context:
        yield Tabs(context, tmp_path / "studio.jsonl")


def fill(url: str, rows: int = ROWS) -> None:
    """Attempts of two users, made by the database itself."""
    target = targets.target(url)
    form = "%Y-%m-%dT%H:%M:%f+00:00"
    time = (
        "to_timestamp(1780000000 + n)" if not target.is_sqlite else f"strftime('{form}', 1780000000 + n, 'unixepoch')"
    )
    document = """'{"choice": "b"}'""" + ("" if target.is_sqlite else "::jsonb")
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"
    statement = (
        f"{numbers} INSERT INTO attempts (user_id, entity_type, entity_id, answers, score, feedback, created_at) "
        f"SELECT 1 + n - n / 2 * 2, 'question', 'q' || (n - n / 400 * 400), {document}, n - n / 101 * 101, NULL, "
        f"{time} FROM numbers"
    )
    if target.is_sqlite:
        # These rows keep every rule, and nobody waits for the disk.
        with closing(sqlite3.connect(target.path)) as raw:
            for pragma in ("synchronous = OFF", "ignore_check_constraints = ON", "foreign_keys = OFF"):
                raw.execute(f"PRAGMA {pragma}")
            indexes = "FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'attempts' AND sql IS NOT NULL"
            declared = raw.execute(f"SELECT name, sql {indexes}").fetchall()
            # An index that is made afterwards is made in one go.
            for name, _ in declared:
                raw.execute(f"DROP INDEX {name}")
            raw.execute(statement)
            for _, sql in declared:
                raw.execute(sql)
            raw.commit()
        return
    with transactions.writing(target) as connection:
        connection.exec_driver_sql(statement.replace("%", "%%"))
        connection.exec_driver_sql("ANALYZE attempts")


@pytest.fixture(scope="session", params=("sqlite", "postgresql"))
def large(request: pytest.FixtureRequest, databases: Databases) -> str:
    """The URL of a database with a million attempts."""
    url = databases.seeded(request.param)
    fill(url)
    return url
