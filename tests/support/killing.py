"""Kills a verb at a random instant of its work: a warm process forks a child for it, and the child gets SIGKILL."""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from pharmdb.database import locks
from support import raw
from support.processes import warm

ROUNDS = int(os.environ.get("PHARMDB_HARM_ROUNDS") or 3)
SEED = int(os.environ.get("PHARMDB_HARM_SEED") or secrets.randbelow(10**9))
# `make harm`: everything in full; else a part that a run of all tests can wait for.
THOROUGH = ROUNDS >= 20
PATIENCE = 120


def dice(*case: object) -> random.Random:
    """The random numbers of one case; `said` of the same case tells how to have them again."""
    return random.Random(f"{SEED} {case}")


def said(*case: object) -> str:
    return f"{case}; again with PHARMDB_HARM_SEED={SEED} PHARMDB_HARM_ROUNDS={ROUNDS}"


class Stable:
    """Starts children that have all imports done and work alone; `hashes` spares them the slow hashing."""

    def __init__(self, hashes: dict[str, str]) -> None:
        self._context = warm()
        self._hashes = hashes

    def start(self, verb: str, url: str, options: dict[str, Any]) -> tuple[Any, Any]:
        """A child that has begun this very moment, and the pipe on which it says when it is done."""
        mine, its = self._context.Pipe()
        environment = {k: v for k, v in os.environ.items() if k.startswith("PHARMDB_")}
        child = self._context.Process(
            target=_work, args=(its, verb, url, options, environment, self._hashes), daemon=True
        )
        child.start()
        its.close()
        assert mine.poll(PATIENCE)
        assert mine.recv() == "begun"
        return child, mine

    def duration(self, verb: str, url: str, options: dict[str, Any]) -> float:
        """Seconds that the whole work takes when nobody kills it."""
        child, pipe = self.start(verb, url, options)
        start = time.perf_counter()
        assert pipe.poll(PATIENCE)
        assert pipe.recv() == "done"
        took = time.perf_counter() - start
        child.join(PATIENCE)
        assert child.exitcode == 0
        return took

    def kill(self, verb: str, url: str, options: dict[str, Any], instant: float) -> bool:
        """Whether the kill fell inside the work: it had begun, and was not done."""
        child, pipe = self.start(verb, url, options)
        # This waits for the instant, or for the work to be done before.
        pipe.poll(instant)
        # Done and gone at that very moment: then this kill did no harm, and doesn't count.
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.join(PATIENCE)
        assert child.exitcode is not None
        try:
            word = pipe.recv() if pipe.poll(0) else ""
        except (EOFError, ConnectionResetError):
            word = ""
        pipe.close()
        assert word in ("", "done"), word
        return child.exitcode == -signal.SIGKILL and not word


def wait(url: str) -> None:
    """Until the server has noticed that the killed client is gone."""
    if not url.startswith("sqlite"):
        with raw.session(url) as session, raw.transaction(session):
            session.execute("SET LOCAL lock_timeout = '60s'")
            session.execute(f"SELECT pg_advisory_xact_lock({locks.ADVISORY_LOCK})")


def _work(
    pipe: Any, verb: str, url: str, options: dict[str, Any], environment: dict[str, str], hashes: dict[str, str]
) -> None:
    for name in list(os.environ):
        if name.startswith("PHARMDB_"):
            del os.environ[name]
    os.environ.update(environment)
    import pharmdb
    from pharmdb.database import indexes
    from pharmdb.seeding import passwords

    # So that few rows are loaded like many.
    indexes._MANY = 1000
    passwords.hash_password = lambda password: hashes[password]
    run = getattr(pharmdb, verb)
    pipe.send("begun")
    try:
        run(url, **options)
    except Exception as error:  # noqa: BLE001 - the parent tells it
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send("done")


def instants(numbers: random.Random, duration: float, inside: list[float]) -> Iterator[float]:
    """ROUNDS instants over the work's duration; where not one kill fell inside so far, more of them."""
    for n in range(ROUNDS + 20):
        if n >= ROUNDS and inside:
            return
        yield numbers.uniform(0, duration)
