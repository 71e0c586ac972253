"""An upgrade, compared with raw loops and with pgloader, none of which account for the rows."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sqlalchemy import make_url

import pharmdb
from benchmarks.ground import CACHE, DIALECTS, Ground, begun, dsn, insert, peak_mib, postgresql, settle
from benchmarks.timing import Baseline, line, memory
from pharmdb import settings
from pharmdb.database import storable, targets, transactions
from pharmdb.legacy import stages

USERS = 500
# Each takes up to a minute.
_MOST_ROUNDS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def build(path: Path, attempts: int) -> None:
    """Creates an old file at stage 4; every document is different, like learners' answers."""
    from support.legacy import make, row

    users = [row("users", n, email=f"learner{n}@example.test") for n in range(1, USERS + 1)]
    make(f"sqlite:///{path}", 4, users)
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {attempts})"
    answers = "'choice', json_array(char(97 + n % 5)), 'seconds', n % 600, 'question', 'q' || n"
    feedback = "'right', json(iif(n % 2, 'true', 'false')), 'hint', 'see note ' || n"
    # A JSON string that contains JSON.
    twice = "json_quote(json_object({}) || '')"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            f'{numbers} INSERT INTO "Attempt" '
            '("userId", "entityType", "entityId", answers, score, feedback, "createdAt") '
            f"SELECT 1 + n % {USERS}, 'question', 'q' || (n % 400), {twice.format(answers)}, n % 101, "
            f"{twice.format(feedback)}, 1735689600000 + n * 1000 FROM numbers"
        )
        connection.commit()


def build_server(url: str, attempts: int) -> None:
    """The same in an old PostgreSQL database."""
    from support.legacy import make, row

    make(url, 4, [row("users", n, email=f"learner{n}@example.test") for n in range(1, USERS + 1)])
    answers = '\'{"choice":["\' || chr(97 + n % 5) || \'"],"seconds":\' || n % 600 || \',"question":"q\' || n || \'"}\''
    feedback = "'{\"right\":' || (n % 2 = 1) || ',\"hint\":\"see note ' || n || '\"}'"
    with psycopg.connect(dsn(url), autocommit=True) as connection:
        connection.execute(
            'INSERT INTO "Attempt" '
            '("userId", "entityType", "entityId", answers, score, feedback, "createdAt") '
            f"SELECT 1 + n % {USERS}, 'question', 'q' || n % 400, to_jsonb({answers}), n % 101, to_jsonb({feedback}), "
            f"timestamp '2025-01-01' + n * interval '1 second' FROM generate_series(1, {attempts}) AS n".encode()
        )
    settle(url)


_READ = 'SELECT id, "userId", "entityType", "entityId", answers, score, feedback, "createdAt" FROM "Attempt"'
_COLUMNS = ("id", "user_id", "entity_type", "entity_id", "answers", "score", "feedback", "created_at")


def _converted(source: Path, decode: Callable[[str], str]) -> Iterator[tuple[Any, ...]]:
    with closing(sqlite3.connect(source)) as connection:
        for id_, user, kind, entity, answers, score, feedback, created in connection.execute(_READ):
            time_ = (_EPOCH + timedelta(milliseconds=created)).isoformat(timespec="milliseconds")
            yield id_, user, kind, entity, decode(answers), score, decode(feedback), time_


def _decoded(document: str) -> str:
    return json.dumps(json.loads(json.loads(document)))


def raw_server(source: str, url: str, decode: Callable[[str], str] = _decoded) -> None:
    """The raw loop from an old PostgreSQL database, which is read through a server-side cursor."""
    read = _READ.replace("answers", "answers::text").replace("feedback", "feedback::text")
    with postgresql(source, autocommit=False) as reader, reader.cursor(name="old_rows") as cursor:
        cursor.itersize = stages.BATCH
        cursor.execute(read.encode())
        with begun(url) as connection:
            rows = (
                (id_, user, kind, entity, decode(answers), score, decode(feedback), created.replace(tzinfo=UTC))
                for id_, user, kind, entity, answers, score, feedback, created in cursor
            )
            insert(connection, "attempts", _COLUMNS, rows)
            connection.commit()


def raw_server_kept(source: str, url: str) -> None:
    """The raw loop that leaves JSON as it is."""
    raw_server(source, url, str)


def raw(source: Path, url: str, decode: Callable[[str], str] = _decoded) -> None:
    """Runs the raw loop; the target already has the users, and all indexes and constraints."""
    # SQLite's foreign keys are off, as in pharmdb's own upgrade.
    with begun(url, foreign_keys=False) as connection:
        insert(connection, "attempts", _COLUMNS, _converted(source, decode))
        connection.commit()


def raw_kept(source: Path, url: str) -> None:
    """The raw loop that leaves JSON as it is."""
    raw(source, url, str)


# pgloader has no conversion of milliseconds, so that it copies times as they are.
_LOAD = """\
LOAD DATABASE FROM sqlite://{source} INTO postgresql://postgres@unix:{host}:{port}/{database}
 WITH include drop, create tables, create indexes, reset sequences
 CAST type datetime to text drop default, type jsonb to jsonb;
"""


def pgloader(source: Path, url: str) -> None:
    """Loads the file into a schema that pgloader creates from it."""
    place = make_url(url)
    load = _LOAD.format(source=source, host=place.query["host"], port=place.port or 5432, database=place.database)
    with TemporaryDirectory(prefix="pharmdb-pgloader-") as folder:
        file = Path(folder) / "command.load"
        file.write_text(load, encoding="utf-8")
        subprocess.run(["pgloader", "--quiet", "--root-dir", folder, str(file)], check=True, stdout=subprocess.DEVNULL)


def prepare(url: str) -> None:
    """Creates a target at head with the users in it."""
    pharmdb.migrate(url)
    with transactions.writing(targets.target(url)) as connection:
        for n in range(1, USERS + 1):
            connection.exec_driver_sql(f"INSERT INTO users (id, email, password_hash) VALUES ({n}, 'l{n}@x.test', '!')")


def copy_alone(source: Path | str, url: str) -> None:
    """Fills an empty target without backups, fingerprint and doctor: read, convert, write, account, compare."""
    from pharmdb.legacy import raw_rows, receiving
    from pharmdb.legacy.accounting import Account

    place = targets.target(source if isinstance(source, str) else f"sqlite:///{source}")
    target = targets.target(url)
    with transactions.watching(place) as reader, transactions.changing_schema(target) as writer:
        receiving.empty(writer)
        recognition = stages.recognize(reader, "source")
        limits = storable.limits(writer)
        old = raw_rows.Source(reader, place, place, recognition, constant=place.is_sqlite)
        with raw_rows.attached(writer, old) as attached:
            account = Account(
                attached, to_postgresql=not target.is_sqlite, limits=limits, writer=writer, exclusive=True
            )
            account.run()
        account.verify(writer, {count.table.table: count.largest_id for count in account.counts}, {})


_UPGRADE = "import pharmdb; pharmdb.upgrade(sys.argv[1], sys.argv[2], decode_json=True)"
_NAMES = ("raw loop: read, decode JSON, convert, write", "the same, JSON kept as it is")
# Name, work, and the least ratio.
_Baseline = tuple[str, Callable[[Any, str], None], float | None]


def _baselines(source: str, dialect: str) -> list[_Baseline]:
    if source == "PostgreSQL":
        return [(_NAMES[0], raw_server, 1), (_NAMES[1], raw_server_kept, None)]
    found: list[_Baseline] = [(_NAMES[0], raw, 2 if dialect == "SQLite" else 1), (_NAMES[1], raw_kept, None)]
    if dialect == "PostgreSQL":
        if shutil.which("pgloader"):
            found.append(("pgloader: times not converted", pgloader, 1))
        else:
            print("no pgloader: it is not installed (apt-get install pgloader)", file=sys.stderr)
    return found


def _compared(ground: Ground, source: Path | str, dialect: str) -> str:
    """The line of a source and a kind of target."""
    origin = "PostgreSQL" if isinstance(source, str) else "SQLite"
    names, works, least = zip(*_baselines(origin, dialect), strict=True)
    seconds: list[list[float]] = [[] for _ in (copy_alone, *works)]
    for _ in range(min(ground.rounds, _MOST_ROUNDS)):
        for work, found in zip((copy_alone, *works), seconds, strict=True):
            url = ground.empty(dialect)
            if work is copy_alone:
                pharmdb.migrate(url)
            elif work is not pgloader:
                prepare(url)
            begin = time.perf_counter()
            work(source, url)
            found.append(time.perf_counter() - begin)
            ground.drop(url)
    return line(
        f"upgrade of {ground.attempts:,} attempts, every row accounted for, {origin} → {dialect}",
        seconds[0],
        *(Baseline(*each) for each in zip(names, seconds[1:], (None,) * len(names), least, strict=True)),
        rows=ground.attempts,
    )


def main(ground: Ground) -> Iterator[str]:
    """The lines of the table."""
    # The old files are created by the tests' helpers.
    sys.path.insert(0, str(settings.SOURCE / "tests"))
    source, small, few = ground.folder / "old.db", ground.folder / "small.db", ground.attempts // 100
    build(source, ground.attempts)
    build(small, few)
    for dialect in DIALECTS:
        yield _compared(ground, source, dialect)
    server = ground.empty("PostgreSQL")
    build_server(server, ground.attempts)
    yield _compared(ground, server, "PostgreSQL")
    ground.drop(server)
    least_memory, most = (peak_mib(_UPGRADE, str(file), ground.empty("SQLite"))[0] for file in (small, source))
    label = f"peak memory of a whole upgrade, {ground.attempts:,} attempts"
    yield memory(label, most, f"the same with {few:,}", least_memory, most=1.1, more=CACHE)
