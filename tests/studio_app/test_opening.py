"""Opening the page of `pharmdb studio`: the token and the log-in, a kernel for each page, a database that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from psycopg import sql
from support.chrome import READY, watched
from support.databases import DIALECTS, Databases
from support.serving import Served, serve_studio
from support.steps import axe

from pharmdb.database import targets
from pharmdb.studio_app import access


@pytest.fixture(scope="module", params=DIALECTS)
def served(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, str]]:
    url = databases.seeded(request.param)
    with serve_studio(url, tmp_path_factory.mktemp("home"), "--model", "ProgressByTag") as served:
        yield served, url


@pytest.fixture
def context(served: tuple[Served, str], browser: Browser) -> Iterator[BrowserContext]:
    with watched(browser, served[0].origin) as context:
        yield context


def opened(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url, timeout=40_000)
    page.wait_for_selector(READY, timeout=40_000)
    return page


@contextmanager
def gone(url: str) -> Iterator[None]:
    """The database has another name meanwhile."""
    target = targets.target(url)
    if target.is_sqlite:
        target.path.rename(target.path.with_suffix(".away"))
        yield
        target.path.with_suffix(".away").rename(target.path)
        return
    names = [sql.Identifier(name) for name in (target.name, f"{target.name}_away")]
    with psycopg.connect(
        targets.target(url).url.set(drivername="postgresql", database="postgres").render_as_string(False),
        autocommit=True,
    ) as server:
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [target.name])
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*names))
        yield
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*reversed(names)))


def test_each_page_has_a_kernel_that_ends_with_it(served: tuple[Served, str], context: BrowserContext) -> None:
    server, _ = served
    first = opened(context, server.url)
    (kernel,) = server.kernels()
    first.reload(timeout=40_000)
    first.wait_for_selector(READY, timeout=40_000)
    psutil.wait_procs([kernel], 20)
    second = opened(context, f"{server.origin}/")
    kernels = server.kernels()
    assert len(kernels) == 2
    # A tab that is closed, and one that is torn away without a word.
    second.close(run_before_unload=True)
    first.close()
    assert psutil.wait_procs(kernels, 20)[1] == []
    assert server.kernels() == []
    assert server.lines == ["Press Ctrl+C to stop it.\n"], "nothing that is usual is a warning"


def test_who_has_no_token_is_asked_for_it_and_then_sees_the_bookmark(
    served: tuple[Served, str], context: BrowserContext
) -> None:
    server, _ = served
    page = context.new_page()
    page.goto(f"{server.origin}/#table=users&sort=-email")
    expect(page).to_have_title("Log in to the studio – pharmdb studio")
    text = page.locator("body").inner_text()
    assert "pharmdb studio" in text
    assert "upyter" not in page.content()
    axe(page)
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    field.fill("guess")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    page.get_by_label("Token").fill(server.token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector(READY, timeout=40_000)
    assert page.url == f"{server.origin}/#table=users&sort=-email"
    expect(page).to_have_title(f"users – {targets.target(served[1]).name} – pharmdb studio")


def test_a_database_that_is_gone_is_said_on_the_page_with_what_to_do(
    served: tuple[Served, str], context: BrowserContext
) -> None:
    server, url = served
    page = opened(context, server.url)
    page.locator('tbody tr td[data-column="module"]').first.dblclick()
    page.locator(".ph-editor input").fill("staged")
    page.get_by_role("button", name="OK", exact=True).click()
    with gone(url):
        page.locator('.ph-tables [data-table="users"]').click()
        expect(page.locator(".ph-message")).to_contain_text("expected:")
        page.reload()
        expect(page).to_have_title("The database can't be shown – pharmdb studio")
        kind = "MissingFileError" if targets.target(url).is_sqlite else "NoSuchDatabaseError"
        expect(page.get_by_role("alert")).to_have_text(kind)
        expect(page.locator("code").last).to_contain_text(
            "pharmdb reset" if targets.target(url).is_sqlite else "createdb"
        )
        assert "Traceback" not in page.content()
        axe(page)
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(READY, timeout=40_000)
    page.locator('.ph-tables [data-table="progress_by_tag"]').click()
    expect(page.locator('tbody td[data-column="module"]').first).to_have_text("staged")


def test_bookmarks_outlive_the_server(databases: Databases, browser: Browser, tmp_path: Path) -> None:
    url = databases.seeded("sqlite")
    with serve_studio(url, tmp_path) as first, watched(browser, first.origin) as context:
        opened(context, f"{first.url}#table=bookmarks").close()
        first.process.terminate()
        first.process.wait(20)
        with serve_studio(url, tmp_path, port=first.port) as second:
            assert second.token == first.token
            page = opened(context, f"{second.origin}/#table=bookmarks")
            expect(page.locator(".ph-studio")).to_have_attribute("data-table", "bookmarks")


def test_the_token_of_each_database_is_its_own_and_for_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    one, other = targets.target("sqlite:///one.db"), targets.target("postgresql://somebody@server/one?sslmode=require")
    assert access.token(one) == access.token(one) != access.token(other)
    assert access.token(other) == access.token(targets.target("postgresql://else@server/one")), "whoever connects"
    file = access.token_file(one)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    kept = access.token(one)
    file.chmod(0o644)
    renewed = access.token(one)
    assert renewed != kept, "others may have read it"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("password\n")
    assert len(access.token(one)) == len(kept)
    assert sorted(tmp_path.rglob("*.token")) == sorted(map(access.token_file, (one, other)))
    assert access.cookie_secret(kept) != access.cookie_secret(renewed)
    assert kept.encode() not in access.cookie_secret(kept)
