"""The studio's page: seconds until its rows are shown and it can be used, in Chromium.

Each round opens the page in a new browser context, with nothing in its cache, and then reloads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Baseline, line
from pharmdb import settings

if TYPE_CHECKING:
    from playwright.sync_api import Page

ALLOWED = 2.5
# Notes the time since the page was asked for at the moment in which the grid is complete and nothing is pending.
_CLOCK = """
new MutationObserver((_, observer) => {
  if (!document.querySelector('.ph-studio[data-busy="0"][data-rows] td')) return;
  observer.disconnect();
  document.documentElement.dataset.usable = performance.now() / 1000;
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table. Raises RuntimeError without Chromium."""
    for dialect in DIALECTS:
        # In a process of its own: the browser's driver needs an event loop for itself.
        arguments = (ground.large(dialect), str(ground.rounds), str(ground.folder))
        command = [sys.executable, "-m", "benchmarks.opening", *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=settings.SOURCE)
        first, again = json.loads(done.stdout)
        for work, seconds in (("first page", first), ("reload", again)):
            what = f"{work} of {ground.attempts:,} attempts until it can be used, {dialect}"
            yield line(what, seconds, Baseline("allowed", [ALLOWED], 1))


def measure(url: str, rounds: int, home: Path) -> tuple[list[float], list[float]]:
    """The seconds of the first pages and of the reloads."""
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(settings.SOURCE / "tests"))
    from support.chrome import ARGUMENTS, chromium
    from support.serving import serve_studio

    path = chromium()
    if path is None:
        raise RuntimeError("no Chromium here (Debian: apt-get install chromium)")
    first, again = [], []
    with serve_studio(url, home, "--model", "Attempt") as served, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for _ in range(rounds):
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            context.add_init_script(_CLOCK)
            page = context.new_page()
            page.goto(served.url)
            first.append(_usable(page))
            page.reload()
            again.append(_usable(page))
            context.close()
        browser.close()
    return first, again


def _usable(page: Page) -> float:
    page.wait_for_selector("html[data-usable]", state="attached")
    return float(page.get_attribute("html", "data-usable") or "nan")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
