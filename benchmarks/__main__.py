"""`python -m benchmarks [part …]`: measures, prints each line when it is ready, and stores the figures of a full run.

With the default sizes, each part's lines are written to benchmarks/results.md and docs/performance.md, and the scaling
figures to docs/scale.csv and its chart. The part `cluster` needs a cluster, and renews the points of the simulation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import results, simulation, users_measuring
from benchmarks.ground import Ground
from benchmarks.timing import HEAD

# Name -> the table's heading; the module has the same name as the part, unless listed below.
PARTS = {
    "processes": "Whole processes",
    "resets": "Reset",
    "queries": "Hot queries and the upsert",
    "inserts": "Bulk insert",
    "frames": "Frames",
    "fingerprints": "Fingerprint",
    "seed": "Seeds",
    "accounts": "Many accounts",
    "cohort": "Cohorts",
    "scale": "Ten thousand to ten million attempts",
    "writers": "Eight writers",
    "copies": "Backup and restore",
    "upgrade": "Upgrade",
    "export": "Exports",
    "studio": "The studio's page",
    "cluster": "A Citus cluster",
    "class": "Classes",
}
_MODULES = {
    "frames": "framing",
    "seed": "seeding",
    "cohort": "cohorts",
    "copies": "backups",
    "upgrade": "upgrading",
    "export": "exports",
    "studio": "opening",
    "cluster": "clusters",
    "class": "classes",
}


def part(name: str) -> Callable[[Ground], Iterable[str]]:
    """The function that yields the part's lines."""
    main: Callable[[Ground], Iterable[str]] = import_module(f"benchmarks.{_MODULES.get(name, name)}").main
    return main


def measure(name: str, ground: Ground) -> list[str]:
    """Returns the part's lines, and prints each when it is ready."""
    print(f"\n### {PARTS[name]}\n\n{HEAD}", flush=True)
    lines, begin = [], time.monotonic()
    for line in part(name)(ground):
        lines.append(line)
        print(line, flush=True)
    print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return lines


def main(arguments: list[str] | None = None) -> None:
    usual = Ground(Path())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--attempts", type=int, default=usual.attempts, help="in the large databases (default: 1 M)")
    parser.add_argument("--rounds", type=int, default=usual.rounds, help="of what takes seconds (default: 5)")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    keep = (options.attempts, options.rounds) == (usual.attempts, usual.rounds)
    with TemporaryDirectory(prefix="pharmdb-bench-") as name:
        os.environ |= {f"PHARMDB_{place.upper()}": str(Path(name) / place) for place in ("backups", "exports")}
        ground = Ground(Path(name), options.attempts, options.rounds)
        found = results.read()
        try:
            for part_name in options.parts or PARTS:
                lines = found[part_name] = measure(part_name, ground)
                if keep and lines:
                    results.write(found, results.footer(ground))
                if part_name == "scale":
                    _picture(ground, keep)
                if keep and (measured := ground.folder / "users.csv").exists() and part_name == "cluster":
                    shutil.copyfile(measured, users_measuring.KEPT)
                    simulation.main()
            print(f"\n{results.footer(ground)}")
        finally:
            ground.close()


def _picture(ground: Ground, keep: bool) -> None:
    """Redraws the chart; that of a smaller run goes to a folder that is not committed."""
    from benchmarks import scale_picture

    points = ground.folder / "scale.csv"
    if keep:
        shutil.copyfile(points, scale_picture.POINTS)
        scale_picture.main()
    else:
        print(points.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
