"""User by e-mail, progress by key, the newest 50 attempts, 50 due reviews, one upsert: microseconds a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import querying
from benchmarks.ground import DIALECTS, Ground
from benchmarks.timing import Peer, each, line

ROUNDS = 9
WORKS = {"user": "user by e-mail", "progress": "progress by key", "history": "history, newest 50", "due": "50 due"}
# So many times a peer's latency a query may take: the raw driver's, Django's.
_MOST = {"user": (8, 0.5), "progress": (8, 0.5), "history": (2, 0.4), "due": (2, 0.4)}


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        peers = list(querying.peers(ground.large(dialect)))
        with ExitStack() as stack:
            for peer in peers:
                peer.read(stack)
            for query in querying.QUERIES:
                ours, *theirs = each(ROUNDS, ground.calls, *(getattr(peer, query) for peer in peers))
                most = (*_MOST[query], None)
                others = [Peer(p.name, s, m) for p, s, m in zip(peers[1:], theirs, most, strict=False)]
                yield line(f"{WORKS[query]}, {dialect}", ours, *others)
        with ExitStack() as stack:
            ours, *theirs = each(ROUNDS, ground.calls, *(peer.write(stack) for peer in peers))
        names = ("{}, the floor", "{} `update_or_create`", "{}, reads and `upsert`")
        others = [
            Peer(name.format(p.name), s, m)
            for p, s, m, name in zip(peers[1:], theirs, (None, 0.25, None), names, strict=False)
        ]
        yield line(f"progress upsert, one transaction each, {dialect}", ours, *others)
