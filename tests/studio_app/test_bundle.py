"""The studio's script: its modules, and the one text that goes to the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.project import ROOT

from pharmdb.studio_app.bundle import BundleError, bundle, ordered
from pharmdb.studio_app.searching import Searchable
from pharmdb.studio_app.widget import STATIC, Studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ENTRIES = [STATIC / "studio.js", STATIC / "searching.js"]
NODE = shutil.which("node")


def script(folder: Path, **modules: str) -> Path:
    """Writes modules by their names, and returns the path of `entry`."""
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder / "entry.js"


def test_modules_come_after_those_that_they_need_and_once(tmp_path: Path) -> None:
    entry = script(
        tmp_path,
        entry='import { a } from "./a.js";\nimport { b } from "./b.js";\n\nexport default { a, b };\n',
        a='import {\n  base,\n  other,\n} from "./base.js";\n\nexport async function a() {\n  return base;\n}\n',
        b='import { base } from "./base.js";\n\nexport const b = base;\n',
        base="export let base = 1;\nexport class other {}\nconst exported = base;\n",
    )
    assert list(ordered(entry)) == ["base.js", "a.js", "b.js", "entry.js"]
    assert bundle(entry) == (
        "let base = 1;\nclass other {}\nconst exported = base;\n\n"
        "async function a() {\n  return base;\n}\n\n"
        "const b = base;\n\n"
        "export default { a, b };\n"
    )


A = "export const a = 1;\n"
IMPORT_A = 'import { a } from "./a.js";\n'
IMPORT_B = 'import { b } from "./b.js";\n'
FAULTS: list[tuple[dict[str, str], str]] = [
    ({"entry": IMPORT_A + "const b = a;\n", "a": A + "let b = 2;\n"}, "entry.js: b is also declared in a.js"),
    ({"entry": IMPORT_A}, "entry.js: there is no a.js"),
    ({}, "entry.js: there is no entry.js"),
    ({"entry": 'import { a, c } from "./a.js";\n', "a": A + "const c = 2;\n"}, "entry.js: a.js does not export c"),
    ({"entry": 'import { a as c } from "./a.js";\n', "a": A}, "entry.js: a.js does not export a as c"),
    (
        {"entry": IMPORT_A, "a": IMPORT_B + A, "b": IMPORT_A + "export const b = 1;\n"},
        "a.js: circular import: entry.js → a.js → b.js → a.js",
    ),
    ({"entry": IMPORT_A, "a": A + "export default { a };\n"}, "a.js: not understood: export default { a };"),
    *(
        ({"entry": f"{line}\n", "a": A}, f"entry.js: not understood: {line}")
        for line in (
            'import a from "./a.js";',
            'import { a } from "elsewhere";',
            'import { a } from "../a.js";',
            'export { a } from "./a.js";',
        )
    ),
]


@pytest.mark.parametrize(("modules", "fault"), FAULTS, ids=[fault for _, fault in FAULTS])
def test_what_can_not_be_made_one_text_is_refused(tmp_path: Path, modules: dict[str, str], fault: str) -> None:
    with pytest.raises(BundleError, match=f"^{re.escape(fault)}$"):
        bundle(script(tmp_path, **modules))


def test_every_module_is_reached_and_has_one_job() -> None:
    reached = set().union(*(ordered(entry) for entry in ENTRIES))
    assert {path.name for path in STATIC.glob("*.js")} == reached
    for path in STATIC.glob("*.js"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("// "), f"{path.name} does not say what it is for"
        assert len(lines) < 300, path


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.name)
def test_the_text_parses(entry: Path, tmp_path: Path) -> None:
    if NODE is None:
        reason = "no Node.js here: it is not tested that the script parses"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    text = tmp_path / "bundle.mjs"
    text.write_text(bundle(entry), encoding="utf-8")
    subprocess.run([NODE, "--check", text], check=True, timeout=60)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.name)
def test_no_name_of_a_module_hides_one_of_the_browsers(browser: Browser, entry: Path) -> None:
    """All modules share one scope, in which a function `find` would take the place of `window.find` in each of them."""
    names = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", bundle(entry), re.MULTILINE)
    assert "render" in names
    with closing(browser.new_page()) as page:
        assert page.evaluate("names => names.filter((name) => name in window)", names) == []


def test_the_widgets_send_the_whole_text() -> None:
    for sent, entry in zip((Studio._esm, Searchable._esm), ENTRIES, strict=True):
        assert sent == bundle(entry)
        assert sent.endswith("export default { render };\n")
        assert not re.search(r"^import ", sent, re.MULTILINE)


def test_the_linters_lock_has_hashes_and_names_no_host() -> None:
    lock = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in lock + (ROOT / ".npmrc").read_text(encoding="utf-8")
    packages = json.loads(lock)["packages"]
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert wanted["private"]
    assert packages.pop("")["devDependencies"] == wanted["devDependencies"]
    assert len(packages) > 1
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
