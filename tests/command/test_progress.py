"""Progress is shown to who looks on, and to nobody else."""

from __future__ import annotations

import io
import sys

import pytest

from pharmdb import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_many_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    assert list(progress.counted("abc", "letters", 3, " letters")) == ["a", "b", "c"]
    assert "letters" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_what_is_done_soon_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    with progress.counting("work", 2) as advance:
        advance(1)
    assert terminal.getvalue() == ""


def test_without_a_terminal_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY", 0)
    for place in (io.StringIO(), None):
        monkeypatch.setattr(sys, "__stderr__", place)
        assert list(progress.counted([1, 2], "work")) == [1, 2]
        assert place is None or place.getvalue() == ""
