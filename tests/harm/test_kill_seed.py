"""kill -9 at random instants of a large seed: nothing of it or all of it, and no trace of what it needed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import killing, raw
from support.databases import Databases
from support.large_seeds import large, staged

import pharmdb

# Enough for each part of the work to take a while.
ROWS = 50_000 if killing.THOROUGH else 5000


@pytest.fixture(scope="module")
def seed_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    return large(tmp_path_factory.mktemp("large") / "seed", ROWS)


@pytest.fixture(scope="module")
def stable(databases: Databases, seed_dir: str) -> killing.Stable:
    made = killing.Stable({"Secret-of-mine-1": "!"})
    # The first child waits for the imports; a duration measured with it would be far too long.
    made.duration("seed", databases.migrated("sqlite"), {"seed_dir": seed_dir})
    return made


def test_a_kill_leaves_nothing_or_all_of_a_large_seed(
    databases: Databases, dialect: str, stable: killing.Stable, seed_dir: str, request: pytest.FixtureRequest
) -> None:
    message = killing.said(request.node.name)
    numbers = killing.dice(request.node.name)
    options = {"seed_dir": seed_dir}
    whole = databases.migrated(dialect)
    duration = stable.duration("seed", whole, options)
    expected = pharmdb.seed(whole, **options).fingerprint
    inside: list[float] = []
    for instant in killing.instants(numbers, duration, inside):
        url = databases.migrated(dialect)
        before = raw.everything(url)
        if stable.kill("seed", url, options, instant):
            inside.append(instant)
        killing.wait(url)
        where = f"killed after {instant:.4f} of {duration:.4f} s; {message}"
        with pharmdb.reading(pharmdb.target(url)) as connection:
            found = pharmdb.fingerprint(connection, seed=True)
        assert found == expected or raw.everything(url) == before, where
        assert staged(url) == [], where
        assert pharmdb.seed(url, **options).fingerprint == expected, where
    assert inside, f"no kill fell inside the work of {duration:.4f} s; {message}"


def test_the_temporary_files_are_gone_with_the_process(seed_dir: str, tmp_path: Path, databases: Databases) -> None:
    """SQLite takes the name of such a file away as soon as it has opened it."""
    import os
    import signal
    import subprocess
    import sys

    code = (
        "import sys, os, time; from pharmdb.seeding import progress_rows\n"
        "progress = progress_rows.Progress()\n"
        "progress.fill((n, 'x' * 1000, 'b', 'c', n, 0, 0) for n in range(20000))\n"
        "opened = [os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd') if int(f) > 2 "
        "and os.path.lexists(f'/proc/self/fd/{f}')]\n"
        "print([name for name in opened if sys.argv[1] in name], flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env=os.environ | {"SQLITE_TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert "etilqs" in child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert list(tmp_path.iterdir()) == []
