"""What a dump holds: compared with its source row by row, in any order; old manifests; files that are none of ours."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection
from support import raw
from support.backups import backed_up
from support.contents import everything
from support.databases import Databases
from support.raw import run

import pharmdb
from pharmdb.backups import manifests, postgresql_dumps, postgresql_rows
from pharmdb.backups.manifests import Backup
from pharmdb.backups.postgresql_dumps import Dump
from pharmdb.backups.postgresql_rows import Content, Rows
from pharmdb.database import identities, targets, transactions
from pharmdb.errors import BackupError


@pytest.fixture
def filled(databases: Databases) -> str:
    url = databases.seeded("postgresql")
    with raw.session(url) as session:
        raw.fill(session)
    return url


# -- a dump that holds other rows -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "repair"),
    [
        ("CREATE TABLE later (n int)", "DROP TABLE later"),
        ("CREATE TABLE kept AS SELECT * FROM bookmarks; DELETE FROM bookmarks", "INSERT INTO bookmarks TABLE kept"),
        ("UPDATE attempts SET score = 100 - score", "UPDATE attempts SET score = 100 - score"),
        ("UPDATE attempts SET feedback = NULL", "UPDATE attempts SET feedback = '{\"a\": 1}'"),
    ],
)
def test_a_dump_of_another_snapshot_is_no_backup(
    filled: str, monkeypatch: pytest.MonkeyPatch, harm: str, repair: str
) -> None:
    run(filled, "UPDATE attempts SET feedback = '{\"a\": 1}', score = 30")
    dumping = postgresql_dumps.dumping

    @contextmanager
    def of_another(connection: Any, target: targets.Target, file: Path) -> Iterator[Dump]:
        with dumping(connection, target, file) as dump:
            yield dump
        run(filled, harm)
        with pharmdb.reading(target) as other, dumping(other, target, file) as another:
            pass
        vars(dump).update(vars(another))
        run(filled, repair)
        run(filled, "DROP TABLE IF EXISTS kept")

    before = everything(filled)
    with monkeypatch.context() as patch:
        patch.setattr(postgresql_dumps, "dumping", of_another)
        with pytest.raises(BackupError, match="with other rows"):
            pharmdb.backup(filled)
    assert everything(filled) == before
    assert not list(manifests.folder().iterdir())
    # The same rows in another order, as the nodes of a cluster may return them, are the same rows.
    with monkeypatch.context() as patch:
        patch.setattr(postgresql_dumps, "dumping", in_another_order(filled))
        assert backed_up(filled).tables["attempts"] > 1


def in_another_order(url: str) -> Any:
    dumping = postgresql_dumps.dumping

    @contextmanager
    def reordered(connection: Any, target: targets.Target, file: Path) -> Iterator[Dump]:
        with dumping(connection, target, file) as dump:
            yield dump
        run(
            url,
            "CREATE TABLE kept AS SELECT * FROM attempts ORDER BY id DESC; DELETE FROM attempts; "
            "INSERT INTO attempts TABLE kept; DROP TABLE kept",
        )
        with pharmdb.reading(target) as other, dumping(other, target, file) as another:
            pass
        vars(dump).update(vars(another))

    return reordered


LINE = st.binary(max_size=5).map(lambda text: text.replace(b"\n", b"").replace(b"\r", b"") + b"\n")


@given(st.lists(LINE, max_size=20).flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))), st.data())
def test_the_order_of_rows_does_not_matter_and_each_row_does(
    both: tuple[list[bytes], list[bytes]], data: st.DataObject
) -> None:
    lines, permuted = both
    one, other = Rows(), Rows()
    one.add(lines)
    cut = data.draw(st.integers(0, len(lines)))
    for part in (permuted[:cut], permuted[cut:]):
        other.add(part)
    assert one == other
    changed = data.draw(st.lists(LINE, max_size=20))
    third = Rows()
    third.add(changed)
    assert (third == one) == (sorted(changed) == sorted(lines))


class Slowly(io.BytesIO):
    """A pipe that returns a few bytes at a time."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._sizes.pop() if self._sizes else 3)


ROW = st.lists(st.sampled_from((b"\\\\", b".", b"a", b"\\N", b"\t", b"\\n", b"\\\\.")), max_size=4).map(b"".join)


@given(st.lists(ROW, max_size=8), st.lists(st.integers(1, 9), max_size=30))
def test_the_rows_of_a_script_end_where_they_end(rows: list[bytes], sizes: list[int]) -> None:
    data = b"".join(row + b"\n" for row in rows)
    script = postgresql_dumps._Script(Slowly(b"COPY t FROM stdin;\n" + data + b"\\.\n\nSELECT 1;\n-- end", sizes))
    assert script.line() == b"COPY t FROM stdin;\n"
    assert b"".join(script.rows()) == data
    assert [script.line() for _ in range(5)] == [b"\n", b"SELECT 1;\n", b"-- end", b"", b""]


# -- the rows of the source --------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 3000])
def test_the_lines_of_a_copy_are_those_that_the_driver_reads(databases: Databases, rows: int) -> None:
    statement = rf"COPY (SELECT n, E'a\\b\n\u00fc', NULL FROM generate_series(1, {rows}) n) TO STDOUT"
    with raw.session(databases.empty("postgresql")) as session, session.cursor() as cursor:
        with cursor.copy(statement) as copy:
            expected = [bytes(line) for line in copy]
        for _ in range(2):
            with cursor.copy(statement) as copy:
                assert [bytes(line) for line in postgresql_rows._lines(session, copy)] == expected
    assert len(expected) == rows


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1 / (2900 - n)", psycopg.errors.DivisionByZero),
        ("pg_cancel_backend(pg_backend_pid()) FROM (SELECT 1) WHERE 2900 < n", psycopg.errors.QueryCanceled),
        ("pg_terminate_backend(pg_backend_pid()) FROM (SELECT 1) WHERE 2900 < n", psycopg.OperationalError),
    ],
)
def test_a_copy_that_ends_too_early_is_an_error(databases: Databases, expression: str, error: type[Exception]) -> None:
    statement = f"COPY (SELECT n, (SELECT {expression}) FROM generate_series(1, 3000) n) TO STDOUT"
    read: list[memoryview] = []
    with raw.session(databases.empty("postgresql")) as session, session.cursor() as cursor:
        with pytest.raises(error), cursor.copy(statement) as copy:
            read.extend(postgresql_rows._lines(session, copy))
        assert 1000 < len(read) < 3000
        if error is not psycopg.OperationalError:
            assert cursor.execute("SELECT 1").fetchone() == (1,)


# -- pg_dump, pg_restore and the file side by side --------------------------------------------------


@pytest.fixture
def wide(filled: str) -> str:
    """A database whose dump is larger than the pipes between the programs."""
    text = "SELECT string_agg(md5(n || ' ' || m), '') FROM generate_series(1, 60) m"
    columns = "user_id, entity_type, entity_id, answers, score"
    run(
        filled,
        f"INSERT INTO attempts ({columns}) SELECT (SELECT min(id) FROM users), 'question', 'q', "
        f"to_jsonb(({text})), 1 FROM generate_series(1, 400) n",
    )
    return filled


@pytest.fixture
def stand_in(wide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a script in the place of a client of PostgreSQL; in it, `"$real" "$@"` is the client."""
    with pharmdb.reading(pharmdb.target(wide)) as connection:
        version = postgresql_dumps.server_version(connection)

    def put(name: str, script: str) -> None:
        real, path = postgresql_dumps.client(name, version), tmp_path / name
        path.write_text(f'#!/bin/sh\nreal=\'{real}\'\n[ "$1" = --version ] && exec "$real" "$@"\n{script}\n')
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


@pytest.mark.parametrize(
    ("program", "script", "expected", "found"),
    [
        ("pg_dump", "echo 'it broke' >&2; exit 1", "pg_dump", "it broke"),
        ("pg_dump", '"$real" "$@" | head -c 200000; echo "it broke" >&2; exit 1', "pg_dump", "it broke"),
        ("pg_dump", '"$real" "$@" | head -c 200000; kill -9 $$', "pg_dump", ""),
        ("pg_dump", 'yes "it broke" | head -c 200000 >&2; exec "$real" "$@" --no-such-option', "pg_dump", "no-such"),
        ("pg_dump", '"$real" "$@" | head -c 200000', "pg_restore", "end of file"),
        ("pg_restore", "exit 1", "pg_restore", "no error output"),
        ("pg_restore", "head -c 100000 > /dev/null; echo 'it broke' >&2; exit 1", "pg_restore", "it broke"),
        ("pg_restore", "head -c 100000 > /dev/null; kill -9 $$", "pg_restore", "no error output"),
        ("pg_restore", "exit 0", "the same rows", "with other rows"),
        ("pg_restore", '"$real" "$@" | head -c 100000', "the same rows", "with other rows"),
    ],
)
def test_a_client_that_ends_too_early_leaves_no_backup(
    wide: str, stand_in: Callable[[str, str], None], program: str, script: str, expected: str, found: str
) -> None:
    stand_in(program, script)
    before, running = everything(wide), set(psutil.Process().children())
    with pytest.raises(BackupError) as error:
        pharmdb.backup(wide)
    assert expected in error.value.expected
    assert found in error.value.found
    assert everything(wide) == before
    assert not list(manifests.folder().iterdir())
    assert set(psutil.Process().children()) <= running


def test_a_reader_that_falls_behind_is_waited_for(
    wide: str, stand_in: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, stored_rows = tmp_path / "gate", postgresql_rows.stored_rows
    os.mkfifo(gate)
    stand_in("pg_restore", f'read go < \'{gate}\'; exec "$real" "$@"')

    def then_open(connection: Connection) -> Content:
        source = stored_rows(connection)
        gate.write_text("go\n")
        return source

    monkeypatch.setattr(postgresql_rows, "stored_rows", then_open)
    taken = backed_up(wide)
    assert taken.size > 2 * 2**16
    assert taken.tables["attempts"] > 400


@pytest.mark.parametrize("harm", ["file", "body"])
def test_nothing_keeps_running_if_the_file_or_the_reading_of_the_source_fails(
    wide: str, stand_in: Callable[[str, str], None], tmp_path: Path, harm: str
) -> None:
    target, running = pharmdb.target(wide), set(psutil.Process().children())
    if harm == "body":
        stand_in("pg_dump", "exec tail -f /dev/null")

    def dump() -> None:
        copy = tmp_path if harm == "file" else tmp_path / "copy"
        with pharmdb.reading(target) as connection, postgresql_dumps.dumping(connection, target, copy):
            if harm == "body":
                raise KeyboardInterrupt

    with pytest.raises(IsADirectoryError if harm == "file" else KeyboardInterrupt):
        dump()
    assert set(psutil.Process().children()) <= running


# -- manifests of older code ------------------------------------------------------------------------


def rewrite(taken: Backup, **changes: Any) -> None:
    path = Path(f"{taken.path}.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _asked(target: targets.Target) -> identities.Identity:
    with transactions.watching(target) as connection:
        return identities.of(connection, target)


def test_the_digest_of_an_old_manifest_is_still_checked(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pharmdb.reading(pharmdb.target(filled)) as connection:
        digest = postgresql_rows.old_digest(connection)
    before, taken = everything(filled), backed_up(filled)
    rewrite(taken, format=2, fingerprint="f" * 64, digest=digest)
    run(filled, "DELETE FROM attempts")
    assert pharmdb.restore(filled).backup == replace(taken, digest=digest)
    assert everything(filled) == before
    rewrite(taken, digest="0" * 64)
    run(filled, "DELETE FROM attempts")
    before = everything(filled)
    # Asked whose the other backups are, the database answers: the restore's own lock is gone.
    monkeypatch.setattr(identities, "look", _asked)
    with pytest.raises(BackupError, match="other rows after loading"):
        pharmdb.restore(filled)
    assert everything(filled) == before


def test_the_old_digest_is_what_older_code_computed(databases: Databases) -> None:
    url = databases.empty("postgresql")
    run(url, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)")
    with pharmdb.reading(pharmdb.target(url)) as connection:
        found = postgresql_rows.old_digest(connection)
    assert found == "a399e1313909d8373f1315d07916c495e8cf25406e83d50d001a3fbe2ab5ca52"


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\1" * 9000])
def test_a_foreign_file_with_a_manifest_of_its_own_replaces_nothing(databases: Databases, content: bytes) -> None:
    for url in (databases.seeded("sqlite"), databases.seeded("postgresql")):
        other, taken = backed_up(url), backed_up(url)
        taken.path.write_bytes(content)
        rewrite(taken, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        before = everything(url)
        with pytest.raises(BackupError) as error:
            pharmdb.restore(url)
        assert all((error.value.expected, error.value.found, error.value.command or error.value.note))
        assert everything(url) == before
        pharmdb.restore(url, backup=other.id)
        assert everything(url) == before
