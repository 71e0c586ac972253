"""The simulation of a cluster's users: what the page says is what it computes from the stored points."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT

from benchmarks import simulation, simulation_picture
from benchmarks import users_measuring as measuring
from benchmarks.simulation import BEGIN, END, Model
from benchmarks.users_measuring import LOOK_UP, SIGN_UP, Point

ABOUT, POINTS = measuring.read()


def test_the_page_and_its_file_have_the_simulated_figures(tmp_path: Path) -> None:
    page = simulation.DOCUMENT.read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == simulation.text(ABOUT, POINTS)
    simulation.write(tmp_path / "users.csv", simulation.checks(POINTS))
    assert (tmp_path / "users.csv").read_text() == (ROOT / "docs" / "users.csv").read_text()
    with (tmp_path / "users.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(POINTS)


def test_the_stored_points_say_when_and_how_they_were_measured() -> None:
    assert measuring.COMMAND in ABOUT
    assert {p.users for p in POINTS} == set(measuring.SIZES)
    assert {0, 1} < {p.workers for p in POINTS}


def test_sizes_and_levels_are_those_of_postgresql() -> None:
    """Measured, not given: within a tenth, and the levels exactly."""
    sizes = [c for c in simulation.checks(POINTS) if "size" in c.work or c.work == measuring.HEIGHT]
    assert len(sizes) == 4 * len(measuring.SIZES)
    for check in sizes:
        assert check.simulated == pytest.approx(check.measured, rel=0 if check.work == measuring.HEIGHT else 0.1), check


@given(st.integers(1, 10**9), st.integers(1, 60))
def test_an_index_has_room_for_every_entry(users: int, value: int) -> None:
    size, levels = simulation.index(users, value)
    entry = value + simulation.ENTRY_HEADER + simulation.POINTER
    assert size >= users * entry
    assert levels == 1 or simulation.index(math.ceil(users / 2), value)[1] in (levels - 1, levels)


def line(work: str, seconds: list[float]) -> list[Point]:
    """The same at two sizes, without workers, with one and with three."""
    of = zip((0, 1, 3), seconds, strict=True)
    return [Point(work, workers, users, s, s, s) for workers, s in of for users in (10_000, 100_000)]


def test_each_worker_more_costs_a_new_user_but_no_other_statement() -> None:
    model = Model(tuple(line(SIGN_UP, [1.0, 2.0, 4.0]) + line(LOOK_UP, [1.0, 2.0, 4.0])))
    assert model.seconds(SIGN_UP, 0, 10_000) == 1.0
    assert model.seconds(SIGN_UP, 2, 10_000) == 3.0
    assert model.seconds(LOOK_UP, 2, 10_000) == 3.0
    waits = 4 * simulation.TRIP + 3 * simulation.SYNC
    assert model.apart(SIGN_UP, 5, 10_000) == pytest.approx(6.0 + waits)
    assert model.apart(LOOK_UP, 5, 10_000) == pytest.approx(2.0)


def test_users_that_don_t_fit_into_memory_are_read_from_the_disk() -> None:
    model = Model(tuple(line(LOOK_UP, [0.0, 0.0, 0.0])))
    assert model.seconds(LOOK_UP, 1, 10**7) < simulation.READ
    users = 2 * 10**8
    assert simulation.copy(users) > 2 * simulation.MEMORY
    assert simulation.READ < model.seconds(LOOK_UP, 1, users) < 2.1 * simulation.READ


def test_the_picture_is_drawn_from_the_points(tmp_path: Path) -> None:
    simulation_picture.draw(POINTS, tmp_path / "users.png")
    assert (tmp_path / "users.png").stat().st_size > 10_000
