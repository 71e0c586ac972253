"""Stores the figures of each part in benchmarks/results.md and in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks.ground import Ground, asked_of_pharmdb, dsn
from benchmarks.timing import HEAD
from pharmdb import settings

FILE = settings.SOURCE / "benchmarks" / "results.md"
DOCUMENT = settings.SOURCE / "docs" / "performance.md"
BEGIN, END = "<!-- figures: make bench -->", "<!-- end of the figures -->"
_PACKAGES = ("sqlalchemy", "psycopg", "pandas", "django", "sqlite-utils", "alembic", "papermill")


def read() -> dict[str, list[str]]:
    """The lines of each part from its latest measurement."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    parts = re.findall(r"^<!-- (\w+) -->\n(.*?)(?=^<!--|\Z)", text, re.MULTILINE | re.DOTALL)
    return {
        name: [line for line in body.splitlines() if line.startswith("| ") and line not in HEAD]
        for name, body in parts
        if name != "footer"
    }


def write(lines: dict[str, list[str]], footer: str) -> None:
    """Replaces results.md, and the figures in docs/performance.md. Raises ValueError if that page has no markers."""
    from benchmarks.__main__ import PARTS

    known = [(name, PARTS[name]) for name in PARTS if lines.get(name)]
    sections = [f"<!-- {name} -->\n**{title}**\n\n{HEAD}\n" + "\n".join(lines[name]) for name, title in known]
    text = "\n\n".join([*sections, f"<!-- footer -->\n{footer}"]) + "\n"
    FILE.write_text(text, encoding="utf-8")
    before, begin, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} has no markers for the figures: {BEGIN} … {END}")
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def footer(ground: Ground) -> str:
    """Machine, versions and settings, as queried during the run."""
    with psycopg.connect(dsn(ground.server.uri())) as connection:
        postgresql = connection.info.parameter_status("server_version")
    settings = asked_of_pharmdb(ground.server.uri())
    probe = f"sqlite:///{ground.folder}/footer.db"
    with sqlite3.connect(ground.folder / "footer.db") as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE IF NOT EXISTS probe (id INTEGER)")
    pragmas = asked_of_pharmdb(probe)
    words = ", ".join(f"{name} {value}" for name, value in pragmas.items())
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory() / 2**30:.0f} GiB, "
        f"{platform.system()}; Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, PostgreSQL {postgresql} over a Unix socket; {packages}.\n"
        f"Settings of pharmdb and of every baseline, as queried on their own connections: SQLite {words}; "
        f"PostgreSQL {', '.join(f'{name} {value}' for name, value in settings.items())}, all else as initdb leaves it."
    )


def _processor() -> str:
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.+)$", cpu.read_text(), re.MULTILINE) if cpu.exists() else []
    return f"{names[0] if names else platform.processor()} ({platform.machine()})"


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
