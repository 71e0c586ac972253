"""The seed's files as streams: long ones, odd line ends, very many faults, a file that changes after it was read."""

from __future__ import annotations

import gc
import io
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import raw
from support.seeds import PROGRESS_HEADER, USERS, counts, folder, progress

import pharmdb
from pharmdb import csv_faults, csv_reading
from pharmdb.database import driver_errors
from pharmdb.errors import NoPermissionError, NoRoomError, SeedError
from pharmdb.seeding import seeding

P, U = "progress.csv", "users.csv"


def lines(rows: range, **values: str) -> str:
    row = {"email": "own@example.org", "tag": "tag {n}", "count": "0"} | values
    template = f"{row['email']},questions,renal,{row['tag']},{row['count']},0\n"
    return "".join(template.format(n=n) for n in rows)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(text=st.text("a\r\n\u2028\x85é", max_size=20), mark=st.booleans())
def test_lines_end_where_python_says(text: str, mark: bool) -> None:
    content = text.encode("utf-8-sig" if mark else "utf-8")
    assert list(csv_reading._lines(io.BytesIO(content))) == list(io.StringIO(text, newline=""))


def test_line_ends_of_old_macs(migrated: str, tmp_path: Path) -> None:
    seed_dir = folder(tmp_path, USERS.replace("\n", "\r"), f"{PROGRESS_HEADER}\n{lines(range(3))}".replace("\n", "\r"))
    assert counts(pharmdb.seed(migrated, seed_dir=seed_dir))["progress_by_tag"] == (3, 0, 0)


def test_a_key_is_found_again_over_any_distance(tmp_path: Path) -> None:
    rows = lines(range(20_000)) + lines(range(5, 6)) + lines(range(20_000, 30_000)) + lines(range(5, 6), count="7")
    with pytest.raises(SeedError) as caught:
        seeding.read(folder(tmp_path, USERS, f"{PROGRESS_HEADER}\n{rows}"))
    value, reason = "own@example.org, questions, renal, tag 5", "duplicate key, first in line 7"
    assert caught.value.problems == [(P, 20_002, "tag", value, reason), (P, 30_003, "tag", value, reason)]


def test_the_first_of_very_many_faults_are_told_and_the_others_counted(seeded: str, tmp_path: Path) -> None:
    """Values, keys and users mixed, so that none of the kinds comes to the limit alone."""
    rows = "".join(
        lines(range(n, n + 1), count="many") + lines(range(1)) + lines(range(n, n + 1), email="nobody@example.org")
        for n in range(1, 1001)
    )
    seed_dir = folder(tmp_path, USERS + "x\n", f"{PROGRESS_HEADER}\n{lines(range(1))}{rows}")
    before = raw.everything(seeded)
    with pytest.raises(SeedError) as caught:
        pharmdb.seed(seeded, seed_dir=seed_dir)
    assert raw.everything(seeded) == before
    found = caught.value.problems
    assert [p[1] for p in found if p[0] == P] == list(range(3, 3 + csv_faults.MOST_FAULTS))
    assert found[-1] == (U, 3, "", "***", "1 values for 4 columns")
    assert {p[4] for p in found[:3]} == {
        "not a whole number",
        "duplicate key, first in line 2",
        "no such user in users.csv",
    }
    assert caught.value.more == 3000 - csv_faults.MOST_FAULTS
    assert "3001 problem(s)" in str(caught.value)
    assert "and 2801 more, the first 801 of them in the error's .problems" in str(caught.value)


def test_what_is_not_utf8_is_told_alone_wherever_it_stands(tmp_path: Path) -> None:
    rows = lines(range(3000), count="many").encode() + b"\xff\n" + b'"never closed\n'
    with pytest.raises(SeedError) as caught:
        seeding.read(folder(tmp_path, USERS, PROGRESS_HEADER.encode() + b"\n" + rows))
    assert caught.value.problems == [(P, 3002, "", repr(b"\xff"), "not UTF-8")]
    # After a fault that ends the reading, too.
    for start in (b"x\n", PROGRESS_HEADER.encode() + b'\n"a"b\n'):
        with pytest.raises(SeedError) as caught:
            seeding.read(folder(tmp_path, USERS, start + b"\xc3"))
        assert [p[4] for p in caught.value.problems] == ["not UTF-8"]


def test_a_file_that_breaks_off_is_told_with_the_faults_before(tmp_path: Path) -> None:
    rows = lines(range(2)) + lines(range(1)) + lines(range(9, 10), email="nobody@example.org") + '"'
    with pytest.raises(SeedError) as caught:
        seeding.read(folder(tmp_path, USERS, f"{PROGRESS_HEADER}\n{rows}"))
    assert [(p[1], p[4]) for p in caught.value.problems] == [
        (4, "duplicate key, first in line 2"),
        (6, "not CSV: unexpected end of data"),
    ]


def test_what_was_checked_is_what_is_written(migrated: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed_dir = folder(tmp_path, USERS, f"{PROGRESS_HEADER}\n{lines(range(3000))}")
    hash_passwords = seeding.hash_passwords

    def meanwhile(*arguments: object) -> object:
        (tmp_path / P).write_text("somebody else was here")
        return hash_passwords(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(seeding, "hash_passwords", meanwhile)
    assert counts(pharmdb.seed(migrated, seed_dir=seed_dir))["progress_by_tag"] == (3000, 0, 0)
    assert {row.tag for row in progress(migrated)} == {f"tag {n}" for n in range(3000)}


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    seed_dir = folder(tmp_path, USERS, None)
    os.mkfifo(tmp_path / P)
    writer = threading.Thread(target=(tmp_path / P).write_text, args=(f"{PROGRESS_HEADER}\n{lines(range(2000))}",))
    writer.start()
    assert len(seeding.read(seed_dir).progress) == 2000
    writer.join()


def test_progress_can_be_gone_through_again_and_twice_at_once(tmp_path: Path) -> None:
    rows = seeding.read(folder(tmp_path, USERS, f"{PROGRESS_HEADER}\n{lines(range(3))}")).progress
    expected = [("own@example.org", "questions", "renal", f"tag {n}", 0, 0) for n in range(3)]
    assert list(rows) == list(rows) == expected
    assert list(zip(rows, rows, strict=True)) == list(zip(expected, expected, strict=True))


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_half_read_and_left_to_the_collector(tmp_path: Path) -> None:
    rows = iter(seeding.read(folder(tmp_path, USERS, f"{PROGRESS_HEADER}\n{lines(range(3))}")).progress)
    next(rows)
    circle: list[object] = [rows]
    circle.append(circle)
    del rows, circle
    gc.collect()


def test_the_folder_for_temporary_files_is_named_when_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", "/full")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(NoRoomError) as caught, driver_errors.temporary_room():
        raise error
    assert caught.value.found == "/full: database or disk is full"
    assert caught.value.command.startswith("export SQLITE_TMPDIR=/")
    assert caught.value.note == "or free space in /full"
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    with pytest.raises(NoPermissionError), driver_errors.temporary_room():
        raise error
