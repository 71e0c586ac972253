"""The studio as `make studio` serves it, and in JupyterLab: with its kernel, and what keeps both safe."""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect
from support.chrome import READY, Tabs, watched
from support.databases import Databases
from support.project import ROOT
from support.serving import Served, free_port, serve, serve_studio
from support.steps import column_texts, filter_by, open_table, ready

import pharmdb
from pharmdb.command import program
from pharmdb.database import targets, transactions
from pharmdb.studio_app import browsing, page_server, sessions
from pharmdb.studio_app.catalogue import catalogue
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.serving import HERE
from pharmdb.studio_app.statement_log import StatementLog

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"


@pytest.fixture(scope="module")
def studio(large: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """Voilà on the database with a million attempts."""
    with serve_studio(large, tmp_path_factory.mktemp("home")) as served:
        yield served, large


@pytest.fixture
def page(studio: tuple[Served, str], browser: Browser) -> Iterator[Page]:
    served, _ = studio
    with watched(browser, served.origin) as context:
        page = context.new_page()
        page.clock.install()
        page.goto(served.url)
        page.wait_for_selector(READY, timeout=40_000)
        yield page


def change_email(page: Page, text: str) -> None:
    page.locator('tbody tr td[data-column="email"]').first.dblclick()
    page.locator(".ph-editor input").fill(text)
    page.get_by_role("button", name="OK", exact=True).click()
    page.get_by_role("button", name="Save all").click()
    expect(page.locator(".ph-message")).to_have_text("1 change saved")


def emails(url: str) -> list[str]:
    with transactions.reading(targets.target(url)) as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT email FROM users ORDER BY id")]


def test_voila_shows_edits_cancels_and_survives_a_dead_kernel(page: Page, studio: tuple[Served, str]) -> None:
    served, url = studio
    assert "token" not in page.url
    change_email(page, "voila@pharmtrainer.test")
    assert emails(url)[0] == "voila@pharmtrainer.test"
    page.get_by_role("tab", name="SQL").click()
    page.get_by_label("One statement").fill(SLOW)
    page.get_by_role("button", name="Run").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.locator(".ph-result [role=alert]")).to_contain_text("cancelled")
    page.get_by_label("time-out, s").fill("1")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".ph-result [role=alert]")).to_contain_text("timed out after 1 s")
    # Others are served while a statement runs.
    page.get_by_label("time-out, s").fill("30")
    page.get_by_role("button", name="Run").click()
    page.locator('.ph-tables [data-table="progress_by_tag"]').click()
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", "progress_by_tag")
    page.get_by_role("button", name="Cancel", exact=True).click()
    ready(page)
    page.get_by_role("tab", name="Rows").click()
    page.locator('tbody tr td[data-column="module"]').first.dblclick()
    page.locator(".ph-editor input").fill("staged")
    page.get_by_role("button", name="OK", exact=True).click()
    for kernel in served.kernels():
        kernel.kill()
        kernel.wait(10)
    page.get_by_role("button", name="Save all").click()
    page.clock.run_for(15_000)
    expect(page.get_by_role("alert").first).to_contain_text("1 staged change kept in this page", timeout=20_000)
    page.reload()
    page.wait_for_selector(READY, timeout=40_000)
    expect(page.locator(".ph-studio")).to_have_attribute("data-table", "progress_by_tag")
    expect(page.locator('tbody tr td[data-column="module"]').first).to_have_text("staged")
    page.get_by_role("button", name="Save all").click()
    expect(page.locator(".ph-message")).to_have_text("1 change saved")


def test_a_million_rows_page_by_page(tabs: Tabs, large: str) -> None:
    page = tabs.open(large, model="Attempt")
    assert float(re.search(r"([\d.]+) ms", page.locator(".ph-status").inner_text())[1]) < 300  # type: ignore[index]
    # An estimate comes first; the exact number follows.
    expect(page.locator(".ph-status")).to_contain_text("row 1–50 of 1,000,000 ·")
    page.get_by_label("Go to", exact=True).fill("654,321")
    page.get_by_label("Go to", exact=True).press("Enter")
    ready(page)
    expect(page.locator(".ph-status")).to_contain_text("row 654,321–654,370 of 1,000,000")
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
    page.get_by_label("Rows per page").select_option("100")
    ready(page)
    page.get_by_role("button", name="Next").click()
    ready(page)
    assert column_texts(page, "id") == [str(n) for n in range(101, 201)]


def test_no_page_costs_more_for_its_depth(large: str) -> None:
    """Whole pages, with and without an index to serve the order."""
    with sessions.reading(targets.target(large), StatementLog()) as session:
        table = catalogue(session)["attempts"]

        def seconds(view: View) -> float:
            times = []
            for _ in range(3):
                began = time.perf_counter()
                browsing.page(session, table, view)
                times.append(time.perf_counter() - began)
            return min(times)

        first = seconds(View())
        integer = "i" if table.sqlite else "t"
        deep = seconds(View(place=(f"{integer}:999000",)))
        assert first < 0.25
        assert deep < max(10 * first, 0.1)
        by_score = View(sort=(("score", True),))
        number = (77.0).hex() if table.sqlite else "77"
        place = (f"{'f' if table.sqlite else 't'}:{number}", f"{integer}:500000")
        assert seconds(View(sort=by_score.sort, place=place)) < max(3 * seconds(by_score), 0.1)


def test_voila_pages_and_exports_a_million_rows(page: Page, studio: tuple[Served, str], tmp_path: Path) -> None:
    open_table(page, "attempts")
    expect(page.locator(".ph-status")).to_contain_text("row 1–50 of 1,000,000")
    page.get_by_role("button", name="Last").click()
    expect(page.locator('tbody td[data-column="id"]').last).to_have_text("1000000")
    filter_by(page, "score", "<", "8")
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "attempts.csv")
    lines = (tmp_path / "attempts.csv").read_bytes().splitlines()
    # Scores run from 0 to 100 in turn.
    assert len(lines) == 1 + sum(1 for n in range(1, 1_000_001) if n % 101 < 8)
    page.get_by_role("button", name="Clear filters").click()
    ready(page)
    page.get_by_role("button", name="Export").click()
    expect(page.locator(".ph-message")).to_contain_text("exporting attempts")
    page.get_by_role("button", name="Stop the export").click()
    expect(page.locator(".ph-message")).to_contain_text("cancelled")


def test_only_this_machine_is_served_and_only_with_the_token(studio: tuple[Served, str]) -> None:
    served, _ = studio
    listening = {
        c.laddr.ip for c in psutil.Process(served.process.pid).net_connections() if c.laddr.port == served.port
    }
    assert listening == {"127.0.0.1"}
    without = served.get("/")
    assert without.status in (302, 403)
    assert without.getheader("Location", "/login").startswith("/login")
    assert served.get("/?token=wrong").status in (302, 403)
    for path in ("/", f"/?token={served.token}", "/voila/static/voila.js", "/login"):
        assert served.get(path, Host=f"rebound.example:{served.port}").status == 403
    assert served.get(f"/voila/files/studio.ipynb?token={served.token}").status in (403, 404)
    headers = dict(served.get("/login").getheaders())
    policy = headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", f"ws://127.0.0.1:{served.port}", "script-src 'self'"):
        assert part in policy
    assert "http:" not in policy.replace(f"http://localhost:{served.port}", "").replace(
        f"http://127.0.0.1:{served.port}", ""
    )
    # The form's origin is checked; the page itself tells nobody its address, which contained the token.
    assert headers["Referrer-Policy"] == "same-origin"
    assert served.get("/").getheader("Referrer-Policy") == "no-referrer"
    assert served.get(f"/?token={served.token}").getheader("Referrer-Policy") == "no-referrer"


def test_a_page_of_another_origin_can_not_talk_to_the_kernel(page: Page, studio: tuple[Served, str]) -> None:
    served, _ = studio
    kernel = json.loads(page.locator("#jupyter-config-data").text_content() or "")["kernelId"]
    channels = f"/api/kernels/{kernel}/channels"
    cookies = "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in page.context.cookies())
    upgrade = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "x" * 22 + "==",
        "Sec-WebSocket-Version": "13",
    }
    # The browser sends its cookie along for any page that asks; the origin is what tells them apart.
    assert served.get(channels, Origin=served.origin, Cookie=cookies, **upgrade).status == 101
    assert served.get(channels, Origin="http://rebound.example", Cookie=cookies, **upgrade).status == 403
    assert served.get(channels, Origin=served.origin, **upgrade).status == 403


def test_idle_kernels_are_culled(tmp_path: Path) -> None:
    settings = page_server.configuration("token", 5555, tmp_path).MappingKernelManager
    assert settings.cull_idle_timeout == page_server.IDLE
    assert settings.cull_connected
    assert 0 < settings.cull_interval < page_server.IDLE


def test_a_taken_port_is_said_with_a_free_one(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = ["studio", "--port", str(port), "--database-url", databases.seeded("sqlite")]
        assert program.main(arguments) == 1
    said = capsys.readouterr().err
    assert f"port {port} to be free" in said
    free = int(re.search(r"next: +pharmdb studio --port (\d+)", said)[1])  # type: ignore[index]
    assert free != port


def test_a_schema_that_is_not_the_newest_is_said(databases: Databases, capsys: pytest.CaptureFixture[str]) -> None:
    url = databases.seeded("sqlite")
    pharmdb.migrate(url, revision="-1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert program.main(["studio", "--port", str(taken.getsockname()[1]), "--database-url", url]) == 1
    said = capsys.readouterr().err
    assert "RevisionError" in said
    assert "pharmdb migrate --database-url" in said


@pytest.mark.parametrize("options", [["--model", "Nobody"], ["--database-url", "sqlite:////nonexistent/x.db"]])
def test_what_the_studio_can_not_open_is_said_before_it_is_served(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    monkeypatch.setenv("PHARMDB_URL", databases.seeded("sqlite"))
    assert program.main(["studio", "--port", str(free_port()), *options]) == 1
    printed = capsys.readouterr()
    assert "expected:" in printed.err
    assert "http" not in printed.out


def test_the_studio_is_served_whatever_the_temporary_and_the_home_folder_are(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 40)
    long.mkdir()
    (tmp_path / "home").mkdir(mode=0o555)
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with serve_studio(databases.seeded("sqlite"), tmp_path / "kept", "--model", "ProgressByTag") as served:
        answer = served.get(f"/?token={served.token}")
        cookie = answer.getheader("Set-Cookie", "").partition(";")[0]
        page = served.get(answer.getheader("Location", "/"), Cookie=cookie) if answer.status == 302 else answer
        assert page.status == 200
        assert "progress_by_tag: 4 rows" in page.read().decode()
        (kernel,) = served.kernels()
        (file,) = [Path(word) for word in kernel.cmdline() if word.endswith(".json")]
        assert json.loads(file.read_text())["transport"] == "ipc", "sockets in a short folder, for its owner alone"
    assert not file.exists()
    assert [*long.iterdir(), *(tmp_path / "home").iterdir()] == []


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, databases: Databases, kernels: dict[str, str]
) -> Iterator[tuple[Served, dict[str, str]]]:
    """JupyterLab on copies of the notebook, one for each database."""
    folder = tmp_path_factory.mktemp("lab")
    urls = {dialect: databases.seeded(dialect) for dialect in ("sqlite", "postgresql")}
    copies = {dialect: ("studio", url) for dialect, url in urls.items()} | {
        "inspect": ("inspect", databases.seeded("sqlite"))
    }
    for copy, (name, url) in copies.items():
        notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        cell = notebook["cells"][1]
        cell["source"] = "".join(cell["source"]).replace('database_url: str = ""', f"database_url: str = {url!r}")
        (folder / f"{copy}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={free_port()}",
        "--ip=127.0.0.1",
    ]
    settings = ["--LabApp.news_url=None", f"--ServerApp.root_dir={folder}", "--ServerApp.port_retries=0"]
    with serve(
        [*command, *settings], urls["sqlite"], r"http://(127\.0\.0\.1|localhost):\d+/lab\?token=\S+", folder, **kernels
    ) as served:
        yield served, urls


def run_all(page: Page) -> None:
    """Runs the notebook, once its kernel is there."""
    # On a slow machine JupyterLab asks for a kernel, because the notebook's own is not there yet.
    page.add_locator_handler(page.get_by_role("button", name="Select", exact=True), lambda choice: choice.click())
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=40_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_jupyterlab_shows_a_snapshot_and_then_the_studio(
    lab: tuple[Served, dict[str, str]], browser: Browser, dialect: str
) -> None:
    served, urls = lab
    with watched(browser, served.origin) as context:
        page = context.new_page()
        page.goto(f"{served.origin}/lab/workspaces/{dialect}/tree/{dialect}.ipynb?reset&token={served.token}")
        snapshot = page.locator(".jp-OutputArea-output table.dataframe caption", has_text="users: 2 rows")
        expect(snapshot).to_be_visible(timeout=40_000)
        run_all(page)
        expect(page.locator(READY)).to_be_visible(timeout=40_000)
        cells = page.locator(".jp-Cell").count()
        focused = page.locator('tbody tr td[data-column="id"]').first
        focused.click()
        for key in ("b", "a", "Escape", "d", "Escape", "d", "Escape", "x", "Escape"):
            page.keyboard.press(key)
        assert page.locator(".jp-Cell").count() == cells, "no command of JupyterLab's fires from inside"
        change_email(page, "lab@pharmtrainer.test")
        assert emails(urls[dialect])[0] == "lab@pharmtrainer.test"


def test_the_tables_of_inspect_are_plain_and_then_searchable(
    lab: tuple[Served, dict[str, str]], browser: Browser
) -> None:
    served, _ = lab
    with watched(browser, served.origin) as context:
        page = context.new_page()
        page.goto(f"{served.origin}/lab/workspaces/inspect/tree/inspect.ipynb?reset&token={served.token}")
        expect(page.get_by_role("cell", name="arrhythmias", exact=True)).to_be_visible(timeout=40_000)
        expect(page.get_by_label("Search the table")).to_have_count(0)
        run_all(page)
        progress = page.locator(".jp-OutputArea-output", has_text="last_attempt_at").filter(has=page.locator("input"))
        progress.get_by_label("Search the table").fill("ASTH", timeout=40_000)
        expect(progress.get_by_role("status")).to_have_text("1 of 4 rows")
        expect(progress.locator("mark")).to_have_text("asth")
        progress.get_by_label("Search the table").fill("")
        tags = progress.locator("tbody td:nth-child(3)")
        stored = tags.all_inner_texts()
        heading = progress.get_by_role("columnheader", name="tag")
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "ascending")
        assert tags.all_inner_texts() == sorted(stored)
        heading.get_by_role("button").press("Enter")
        assert tags.all_inner_texts() == sorted(stored, reverse=True)
        heading.get_by_role("button").press("Enter")
        assert tags.all_inner_texts() == stored


def test_the_page_of_the_studio_names_no_other_host() -> None:
    for path in (*HERE.glob("static/*"), *HERE.glob("voila/**/*.j2")):
        # The namespace of SVG is a name, and no request.
        text = path.read_text(encoding="utf-8").replace('"http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|//cdn|@import", text), path
