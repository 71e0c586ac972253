"""Every `sh` and `python` block of the documents, run once in a copy of the project as a newcomer would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import legacy
from support.postgres import SUPERUSER, Server
from support.project import ROOT, tracked

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in DOCUMENTS}
# What may stand in a `console` block, and why it is not run.
NOT_RUN = {
    r"pipx? install": "needs a network, and an environment of its own",
    r"conda ": "needs conda",
    r"make test|-m pytest": "would run this test",
    r"npm |npx ": "works in the application's folder, with Node.js",
    r"pg_basebackup |pg_ctl ": "needs another server",
    r"make harm": "takes many minutes",
    r"pharmdb studio": "serves until it is ended",
    r"distribute .*--no-dry-run|psql -h coordinator|benchmarks cluster": "needs a Citus cluster",
    r"benchmarks\.simulation": "a test of its own compares the page with what it prints",
    r"--backup \d{8}T": "there is no backup of this name",
    r"--action set-password": "asks for the password at a terminal",
}
# What documents name and a clean clone does not have.
NOT_CLONED = (
    "data/pharm.db",
    "data/backups",
    "data/exports",
    "data/exports/pharm.db",
    "data/exports/pseudonyms.key",
    "data/studio",
)


@dataclass(frozen=True)
class Block:
    """A fenced block; `shown` is the output that the document shows directly below it."""

    document: str
    kind: str
    text: str
    shown: str = ""

    @property
    def name(self) -> str:
        return f"{self.document}: {self.text.strip().splitlines()[-1].strip()[:40]}"


def blocks(document: str, text: str) -> list[Block]:
    """The blocks of a document in their order; a `text` block is what the block before it prints.

    Raises ValueError for a fence without a kind, of which nobody knows whether it is to be run.
    """
    found: list[Block] = []
    for kind, body in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        if not kind:
            raise ValueError(f"{document}: a block without a kind: {body}")
        if kind == "text":
            before = found.pop()
            found.append(Block(document, before.kind, before.text, body))
        else:
            found.append(Block(document, kind, body))
    return found


BLOCKS = [block for document, text in TEXTS.items() for block in blocks(document, text)]
RUN = [block for block in BLOCKS if block.kind in ("sh", "python")]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files, in a folder with a space in its name, with this environment as its .venv."""
    folder = tmp_path_factory.mktemp("read me") / "pharmdb"
    for path in tracked():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    (folder / ".venv").symlink_to(sys.prefix)
    # The page on upgrades begins with an old file.
    legacy.sample(folder)
    # The environment is this one, and not to be made anew.
    os.utime(folder / "requirements.lock", (0, 0))
    os.utime(folder / "pyproject.toml", (0, 0))
    return folder


@pytest.fixture(scope="module")
def environment(project: Path, server: Server) -> dict[str, str]:
    """The copy's pharmdb with this environment's packages, the test server for libpq, a known-good database."""
    settings = {name: value for name, value in os.environ.items() if not name.startswith("PHARMDB_")}
    settings |= {
        "PYTHONPATH": str(project),
        "PATH": f"{project / '.venv' / 'bin'}:{server.binaries}:{settings['PATH']}",
        "PGHOST": str(server.data),
        "PGUSER": SUPERUSER,
    }
    subprocess.run([sys.executable, "-c", "import pharmdb; pharmdb.reset()"], cwd=project, env=settings, check=True)
    return settings


@pytest.fixture(scope="module")
def known_good(project: Path, environment: dict[str, str]) -> dict[Path, bytes]:
    """The files of the database as the reset left them."""
    return {path: path.read_bytes() for path in (project / "data").glob("pharm.db*")}


@pytest.fixture
def at_home(project: Path, known_good: dict[Path, bytes]) -> Path:
    """The copy with its database as after a reset, so that no block needs another one."""
    for path in (project / "data").glob("pharm.db*"):
        path.unlink()
    for path, content in known_good.items():
        path.write_bytes(content)
    return project


@pytest.mark.parametrize("block", RUN, ids=[block.name for block in RUN])
def test_a_block_runs_and_prints_what_is_shown(at_home: Path, environment: dict[str, str], block: Block) -> None:
    command = ["bash", "-e", "-c", block.text] if block.kind == "sh" else [sys.executable, "-c", block.text]
    result = subprocess.run(
        command,
        cwd=at_home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert block.shown in result.stdout


def test_the_blocks_are_found() -> None:
    text = "a\n```sh\nx\ny\n```\n\n```text\nout\n```\n1. b\n   ```console\n   $ z\n   ```\n"
    assert blocks("d", text) == [Block("d", "sh", "x\ny\n", "out\n"), Block("d", "console", "   $ z\n")]
    with pytest.raises(ValueError, match="without a kind"):
        blocks("d", "```\nx\n```\n")


def test_each_block_stands_once() -> None:
    assert len({(block.kind, block.text) for block in RUN}) == len(RUN)


def test_every_page_with_commands_is_run() -> None:
    assert {block.document for block in RUN} > {"README.md", "CONTRIBUTING.md", "docs/upgrade.md", "docs/python-api.md"}


def test_what_is_not_run_has_a_reason() -> None:
    for block in BLOCKS:
        if block.kind == "console":
            commands = re.findall(r"^ *\$ (.+)$", block.text, re.MULTILINE)
            assert commands, block
            assert [command for command in commands if not any(re.search(each, command) for each in NOT_RUN)] == []
        else:
            # SQL is for a database's own shell.
            assert block.kind in ("sh", "python", "sql"), block


@pytest.mark.parametrize("document", TEXTS)
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    text = TEXTS[document]
    for path in re.findall(r"`((?:pharmdb|migrations|tests|tools|data|docs|notebooks|benchmarks)/[\w/.-]*)`", text):
        assert path in NOT_CLONED or (ROOT / path).exists(), path
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / document).parent / link).exists(), link


@pytest.mark.parametrize("document", TEXTS)
def test_every_section_that_a_document_links_to_is_there(document: str) -> None:
    for link, section in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", TEXTS[document]):
        path = (ROOT / document).parent / link if link else ROOT / document
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("document", TEXTS)
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^\$ |^)make ([a-z]+)\b", TEXTS[document], re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_page_is_linked_from_the_readme() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXTS["README.md"])
    assert {document for document in TEXTS if document != "README.md"} | {"CHANGELOG.md"} <= set(links)


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_every_command_is_in_the_readmes_table() -> None:
    named = re.findall(r"^\| `pharmdb (\w+)` \|", TEXTS["README.md"], re.MULTILINE)
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - {"index"}
    assert sorted(named) == sorted(notebooks)


def test_every_module_is_on_the_map() -> None:
    found = mapped(TEXTS["CONTRIBUTING.md"])
    whole = tuple(place for place in found if place.endswith("/"))
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pharmdb").rglob("*.py")}
    shown = {name for name in modules if name in found or name.startswith(whole) or "/__" in name}
    assert modules == shown


def test_the_map_names_only_what_is_there() -> None:
    for place in mapped(TEXTS["CONTRIBUTING.md"]):
        assert (ROOT / place).exists(), place


def mapped(text: str) -> list[str]:
    """The paths in the first cells of the map: a name without a folder is in the folder of the one before it."""
    paths: list[str] = []
    for cell in re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", cell):
            paths.append(name if "/" in name else str(Path(paths[-1]).parent / name))
    return paths
