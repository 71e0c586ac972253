"""User by e-mail, progress by key, the newest 50 attempts, 50 due reviews, one upsert: microseconds per call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import querying
from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Baseline, each, line

ROUNDS = 9
WORKS = {"user": "user by e-mail", "progress": "progress by key", "history": "history, newest 50", "due": "50 due"}
# The maximum latency of a query as a multiple of the raw driver's, and of Django's.
_MOST = {"user": (8, 0.5), "progress": (8, 0.5), "history": (2, 0.4), "due": (2, 0.4)}


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        clients = list(querying.clients(ground.large(dialect)))
        with ExitStack() as stack:
            for client in clients:
                client.read(stack)
            for query in querying.QUERIES:
                ours, *theirs = each(ROUNDS, ground.calls, *(getattr(client, query) for client in clients))
                most = (*_MOST[query], None)
                others = [Baseline(p.name, s, m) for p, s, m in zip(clients[1:], theirs, most, strict=False)]
                yield line(f"{WORKS[query]}, {dialect}", ours, *others)
        with ExitStack() as stack:
            ours, *theirs = each(ROUNDS, ground.calls, *(client.write(stack) for client in clients))
        names = ("{}, the floor", "{} `update_or_create`", "{}, reads and `upsert`")
        others = [
            Baseline(name.format(p.name), s, m)
            for p, s, m, name in zip(clients[1:], theirs, (None, 0.25, None), names, strict=False)
        ]
        yield line(f"progress upsert, one transaction each, {dialect}", ours, *others)
