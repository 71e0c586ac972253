"""`python -m benchmarks.simulation`: what users cost on a Citus cluster, from ten thousand to a hundred million.

It needs no cluster: the model is given some of the points in benchmarks/users.csv and is checked against the others.
The tables and the chart are in docs/distributed.md, and every point is in docs/users.csv.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import users_measuring as measuring
from benchmarks.users_measuring import (
    CLIENTS,
    LOOK_UP,
    MANY,
    PROGRESS,
    RECORD,
    SIGN_UP,
    SPLIT_LOOK_UP,
    SPLIT_SIGN_UP,
    Point,
)
from pharmdb import settings

DOCUMENT = settings.SOURCE / "docs" / "distributed.md"
POINTS = settings.SOURCE / "docs" / "users.csv"
BEGIN, END = "<!-- figures: python -m benchmarks.simulation -->", "<!-- end of the figures -->"
USERS = tuple(10**n for n in range(4, 9))

# Bytes of a page and of its header, of a B-tree's special space, of a line pointer, of a row's and of an index entry's
# header, and what sizes are rounded up to. PostgreSQL's documentation, "Database Page Layout" and "B-Tree Indexes".
PAGE, PAGE_HEADER, SPECIAL, POINTER, ROW_HEADER, ENTRY_HEADER, ALIGNED = 8192, 24, 16, 4, 24, 8, 8
# How full a B-tree's leaves and its upper pages are after ordered inserts. PostgreSQL's src/include/access/nbtree.h.
LEAF_FILL, UPPER_FILL = 0.90, 0.70
# Bytes of the values of a user: id, e-mail, hash, role and time; texts have a header of one byte. The measured users.
EMAIL, ID, TIME = len(measuring.email(1)) + 1, 8, 8
USER = ID + EMAIL + len(measuring.HASH) + 1 + len("USER") + 1 + TIME
# Bytes of everything else of one learner after a course of 90 days, with indexes: a cohort of 10,330 on PostgreSQL 15.
LEARNER = 55_000
# Bytes of shards that one worker holds, and memory in which a node caches pages: a server with 1 TB of disk, half full,
# and 32 GiB of memory, half of it for pages. Assumptions.
DISK, MEMORY = 500e9, 16 * 2**30
# Seconds to descend one level of a cached index, and to read a page from an SSD. Assumptions, from data sheets.
LEVEL, READ = 0.5e-6, 100e-6
# Seconds to a machine in the same room and back, and until a disk has written. Assumptions.
TRIP, SYNC = 0.2e-3, 0.3e-3
# How often that is waited for, one after the other. Citus's documentation, "Two-Phase Commit" and "Reference tables":
# what is written on several nodes is prepared there, committed on the coordinator, and committed there. A user's row is
# read from the coordinator's own copy; an attempt is written by three statements and a commit on one worker.
TRIPS = {SIGN_UP: 4, SPLIT_SIGN_UP: 5, LOOK_UP: 0, SPLIT_LOOK_UP: 2, PROGRESS: 1, RECORD: 5}
SYNCS = {SIGN_UP: 3, SPLIT_SIGN_UP: 3, RECORD: 1}
# Shards of each table (citus.shard_count), and rows/s of a COPY to a new node (docs/performance.md, "Bulk insert").
SHARDS, COPY = 32, 80_000


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def heap(users: int) -> int:
    """Bytes of the table `users`."""
    per_page = (PAGE - PAGE_HEADER) // (_aligned(ROW_HEADER + USER) + POINTER)
    return math.ceil(users / per_page) * PAGE


def _fan(value: int, fill: float) -> int:
    """Entries of an index page for values of so many bytes."""
    return int((PAGE - PAGE_HEADER - SPECIAL) * fill / (_aligned(ENTRY_HEADER + value) + POINTER))


def index(users: int, value: int) -> tuple[int, int]:
    """Bytes and levels of a unique index of values of so many bytes."""
    level = math.ceil(users / _fan(value, LEAF_FILL))
    pages, levels = level, 1
    while level > 1:
        level = math.ceil(level / _fan(value, UPPER_FILL))
        pages, levels = pages + level, levels + 1
    # The first page describes the index.
    return (pages + 1) * PAGE, levels


def copy(users: int) -> int:
    """Bytes of the users with their indexes, which every node has."""
    return heap(users) + index(users, EMAIL)[0] + index(users, ID)[0]


def workers(users: int) -> int:
    """The workers that hold the shards."""
    return math.ceil(users * LEARNER / DISK)


@dataclass(frozen=True)
class Model:
    """Seconds of each work. Given are the points without workers, with one and with the most, but not the most users.

    On one machine each node more takes the same from all. On machines of their own, a statement about one user takes as
    long however many there are, but a new user is written to every node: with each the seconds grow by what was
    measured, which is too much, because there the nodes write at the same time.
    """

    points: tuple[Point, ...]

    @property
    def least(self) -> int:
        return min(p.users for p in self.points)

    @property
    def most(self) -> int:
        """Workers of the largest measured cluster."""
        return max(p.workers for p in self.points)

    def is_given(self, p: Point) -> bool:
        return p.workers in (0, 1, self.most) and p.users < max(p.users for p in self.points)

    def seconds(self, work: str, workers: int, users: int) -> float:
        """As measured: with all nodes on one machine, and no wait for a network or a disk."""

        def given(number: int) -> float:
            return statistics.mean(
                p.median for p in self.points if (p.work, p.workers) == (work, number) and self.is_given(p)
            )

        if not workers:
            return given(0) + self._more(users)
        each = (given(self.most) - given(1)) / max(self.most - 1, 1)
        return given(1) + each * (workers - 1) + self._more(users)

    def apart(self, work: str, workers: int, users: int) -> float:
        """On machines of their own."""
        slower = workers if work == SIGN_UP else 1
        return self.seconds(work, slower, users) + TRIPS[work] * TRIP + SYNCS.get(work, 0) * SYNC

    def _more(self, users: int) -> float:
        """For the levels that an index has grown by, and for a leaf and a row that are not in memory."""
        levels = index(users, EMAIL)[1] - index(self.least, EMAIL)[1]
        return levels * LEVEL + 2 * READ * max(0.0, 1 - MEMORY / copy(users))


@dataclass(frozen=True)
class Check:
    """A measured point beside the simulated one; a given point is not a check."""

    work: str
    workers: int
    users: int
    measured: float
    simulated: float
    given: bool

    @property
    def error(self) -> float:
        return self.simulated / self.measured - 1


def checks(points: Iterable[Point]) -> list[Check]:
    """Every measured point."""
    model = Model(tuple(points))
    sizes: dict[str, Callable[[int], float]] = {
        measuring.HEAP: heap,
        measuring.EMAILS: lambda users: index(users, EMAIL)[0],
        measuring.IDS: lambda users: index(users, ID)[0],
        measuring.HEIGHT: lambda users: index(users, EMAIL)[1],
    }
    return [
        Check(
            *(p.work, p.workers, p.users, p.median),
            sizes[p.work](p.users) if p.work in sizes else model.seconds(p.work, p.workers, p.users),
            given=p.work not in sizes and model.is_given(p),
        )
        for p in model.points
    ]


def table(head: list[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def checked(found: list[Check]) -> str:
    """The points with the most users on the largest cluster, and what does not depend on one."""
    most, largest = max(c.users for c in found), max(c.workers for c in found)
    rows = [
        [
            c.work,
            f"{c.workers} workers" if c.workers else "each node",
            *(_shown(c, value) for value in (c.measured, c.simulated)),
            f"{c.error:+.0%}",
        ]
        for c in found
        if c.users == most and (c.workers == largest or c.work in (_BYTES | {measuring.HEIGHT}))
    ]
    return table([f"{most:,} users", "where", "measured", "simulated", "error"], rows)


_BYTES = {measuring.HEAP, measuring.EMAILS, measuring.IDS}


def _shown(check: Check, value: float) -> str:
    if check.work in _BYTES:
        return f"{value / 2**20:.1f} MiB"
    return f"{value:.0f}" if check.work == measuring.HEIGHT else _ms(value)


def projected(points: Iterable[Point]) -> str:
    """What it comes to from USERS' first to its last number, on machines of their own; one column for each."""
    model = Model(tuple(points))
    columns = [_column(model, users) for users in USERS]
    head = ["", *(f"{users:,} users" for users in USERS)]
    return table(head, ([name, *(column[name] for column in columns)] for name in columns[0]))


def _column(model: Model, users: int) -> dict[str, str]:
    number = workers(users)
    emails, levels = index(users, EMAIL)
    sign_up = model.apart(SIGN_UP, number, users)
    return {
        "workers": f"{number}",
        "shards of each table on a worker": f"{SHARDS / number:.0f}",
        "GiB of shards on each worker": _gib(users * LEARNER / number),
        "GiB of `users` on each node": _gib(copy(users)),
        "GiB of `users` on all nodes": _gib(copy(users) * (number + 1)),
        "GiB of the indexes of `users`, on each node": _gib(emails + index(users, ID)[0]),
        "levels of the e-mails' index": f"{levels}",
        **{work: _ms(model.apart(work, number, users)) for work in (SIGN_UP, SPLIT_SIGN_UP)},
        # Eight clients wait at the same time, but the coordinator and one worker have no more processors than measured.
        "new users a second, 8 clients": f"{min(CLIENTS / sign_up, 1 / model.seconds(MANY, number, users)):,.0f}",
        # An update of a reference table locks it on all nodes until the commit; an insert does not.
        "changed users a second, all clients": f"{1 / sign_up:,.0f}",
        **{work: _ms(model.apart(work, number, users)) for work in (LOOK_UP, SPLIT_LOOK_UP, PROGRESS, RECORD)},
        "minutes to copy `users` to a new node": f"{users / COPY / 60:.1f}",
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _gib(size: float) -> str:
    return f"{size / 2**30:.3f}" if size < 2**30 else f"{size / 2**30:.1f}"


def text(about: str, points: list[Point]) -> str:
    """Both tables, with how large the errors are."""
    found = checks(points)
    unknown = sorted((c for c in found if not c.given), key=lambda c: abs(c.error))
    worst = unknown[-1]
    said = (
        f"Measured: {about}. Of {len(unknown)} points that the model is not given, the error is "
        f"{statistics.median(abs(c.error) for c in unknown):.0%} in the median, and {abs(worst.error):.0%} at most: "
        f"{worst.work}, {worst.workers} workers, {worst.users:,} users, measured {_shown(worst, worst.measured)}."
    )
    return f"{checked(found)}\n\n{said}\n\n{projected(points)}"


def write(path: Path, found: list[Check]) -> None:
    """Every measured point with the simulated one: seconds, bytes or levels."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["work", "workers", "users", "measured", "simulated", "given"])
        rows.writerows([c.work, c.workers, c.users, f"{c.measured:.4g}", f"{c.simulated:.4g}", c.given] for c in found)


def main() -> None:
    """Prints the tables, and renews the page, the chart and the file with its points."""
    from benchmarks import simulation_picture

    about, points = measuring.read()
    page = DOCUMENT.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} has no markers for the figures: {BEGIN} … {END}")
    print(text(about, points))
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text(about, points)}\n\n{END}{after}", encoding="utf-8")
    write(POINTS, checks(points))
    simulation_picture.draw(points)


if __name__ == "__main__":
    main()
