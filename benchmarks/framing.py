"""All attempts with all columns as a dataframe: seconds and peak memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

import pharmdb
from benchmarks import ground
from benchmarks.ground import DIALECTS, Ground, peak_mib
from benchmarks.timing import Baseline, alternate, line, memory

_QUERY = "SELECT * FROM attempts"
# The required speed-up over pandas.
_FASTER = {"SQLite": 3, "PostgreSQL": 8}


def ours(url: str) -> pd.DataFrame:
    with pharmdb.reading(pharmdb.target(url)) as connection:
        return pharmdb.attempts_frame(connection)


def as_it_comes(url: str) -> pd.DataFrame:
    """pandas over SQLAlchemy, with the dtypes that pandas chooses."""
    engine = ground.engine(url)
    frame = pd.read_sql(_QUERY, engine)
    engine.dispose()
    return frame


def with_our_dtypes(url: str) -> pd.DataFrame:
    """pandas over SQLAlchemy, with columns converted to our dtypes; documents are text."""
    engine = ground.engine(url)
    # Without the cast, PostgreSQL's driver would decode each document.
    text = "answers::text AS answers, score, feedback::text AS feedback" if not url.startswith("sqlite") else ""
    columns = f"id, user_id, entity_type, entity_id, {text or 'answers, score, feedback'}, created_at"
    frame = pd.read_sql(f"SELECT {columns} FROM attempts", engine, parse_dates={"created_at": {"utc": True}})
    engine.dispose()
    kinds = pd.CategoricalDtype(["question", "case", "calc"])
    dtypes: Any = {"id": "Int64", "user_id": "Int64", "entity_type": kinds, "score": "Float64", "feedback": "str"}
    return frame.astype(dtypes | {"created_at": "datetime64[us, UTC]"})


# Imports come first, so that their memory is in both measurements.
_FRAME = """
from benchmarks import framing
import pharmdb
pharmdb.attempts_frame, pharmdb.reading
(before,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")]
frame = framing.ours(sys.argv[1])
print(before, frame.memory_usage(deep=True).sum())
"""


def peak_and_size(url: str) -> tuple[float, float]:
    """MiB of the peak and of the dataframe, in a separate process."""
    peak, said = peak_mib(_FRAME, url)
    before, size = map(int, said.splitlines()[0].split())
    return peak - before / 1024, size / 2**20


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    for dialect in DIALECTS:
        url = ground.large(dialect)
        works = (partial(work, url) for work in (ours, with_our_dtypes, as_it_comes))
        own, alike, any_ = alternate(ground.rounds, *works)
        most = 1 / _FASTER[dialect]
        yield line(
            f"frame of {ground.attempts:,} attempts, {dialect}",
            own,
            Baseline("`pandas.read_sql`", any_, most),
            Baseline("`pandas.read_sql`, with our dtypes", alike),
        )
        peak, size = peak_and_size(url)
        yield memory(f"peak memory of that frame, {dialect}", peak, "the frame itself", size, most=2.5)
