"""The chart of the simulation: room and time by number of users, with the measured points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import simulation
from benchmarks import users_measuring as measuring
from benchmarks.simulation import USERS, Model
from benchmarks.users_measuring import Point
from pharmdb import settings

PICTURE = settings.SOURCE / "docs" / "users.png"

# Okabe and Ito's colours, which colour-blind people can tell apart, with a different marker for each.
_TIMES = {
    measuring.SIGN_UP: ("#D55E00", "s"),
    measuring.SPLIT_SIGN_UP: ("#CC79A7", "^"),
    measuring.RECORD: ("#009E73", "D"),
    measuring.PROGRESS: ("#0072B2", "o"),
    measuring.LOOK_UP: ("#56B4E9", "v"),
}
_ROOM: dict[str, tuple[str, Callable[[int], float]]] = {
    "shards, on each worker": ("#0072B2", lambda users: users * simulation.LEARNER / simulation.workers(users)),
    "users, on all nodes": ("#D55E00", lambda users: simulation.copy(users) * (simulation.workers(users) + 1)),
    "users, on each node": ("#CC79A7", simulation.copy),
}


def draw(points: list[Point], path: Path = PICTURE) -> None:
    """Two panels: GiB by number of users, and milliseconds by number of users."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    figure.suptitle(
        "A Citus cluster by number of users: lines are simulated, markers are measured", x=0.01, ha="left", fontsize=12
    )
    room, times = figure.subplots(1, 2)
    for name, (colour, size) in _ROOM.items():
        room.plot(USERS, [size(users) / 2**30 for users in USERS], color=colour, linewidth=1.6)
        _name(room, name, colour, size(USERS[-1]) / 2**30)
    found = [
        sum(
            p.median for p in points if p.users == users and p.work in (measuring.HEAP, measuring.EMAILS, measuring.IDS)
        )
        for users in _measured(points)
    ]
    room.plot(_measured(points), [size / 2**30 for size in found], "s", color="#CC79A7", markersize=5)
    room.axhline(simulation.MEMORY / 2**30, color="#888888", linewidth=0.8, linestyle="--")
    room.annotate("memory for pages", (USERS[0], simulation.MEMORY / 2**30), (2, 3), textcoords="offset points")
    room.set_ylabel("GiB")
    _axes(room)
    model = Model(tuple(points))
    for work, (colour, marker) in _TIMES.items():
        here = [model.seconds(work, model.most, users) * 1e3 for users in USERS]
        apart = [model.apart(work, simulation.workers(users), users) * 1e3 for users in USERS]
        times.plot(USERS, here, color=colour, linewidth=1.6)
        times.plot(USERS, apart, color=colour, linewidth=1.2, linestyle="--")
        measured = [p for p in points if p.work == work and p.workers == model.most]
        x, y = [p.users for p in measured], [p.median * 1e3 for p in measured]
        times.plot(x, y, marker, color=colour, markersize=5)
        _name(times, work, colour, apart[-1])
    times.set_ylabel("milliseconds per call")
    times.set_title(
        f"solid: {model.most} workers on one machine; dashed: machines of their own", loc="left", fontsize=10
    )
    _axes(times)
    figure.savefig(path, dpi=110)


def _measured(points: list[Point]) -> list[int]:
    return sorted({p.users for p in points})


def _name(axes: Any, name: str, colour: str, y: float) -> None:
    axes.annotate(name, (USERS[-1], y), (6, 0), textcoords="offset points", color=colour, fontsize=9.5, va="center")


def _axes(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("users")
    # Space for the names at the ends of the lines.
    axes.set_xlim(USERS[0] / 1.4, USERS[-1] * 60)
    axes.set_xticks(USERS, [_count(users) for users in USERS])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _count(number: int) -> str:
    return f"{number // 1_000_000} M" if number >= 1_000_000 else f"{number // 1000} k"
