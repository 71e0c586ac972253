"""Converts the clean rows of a PostgreSQL source in its own SQL, a batch at a time; all other rows are left to Python.

A row is clean if SQL gives exactly what Python would give. One query per batch tells which rows are clean and makes
their lines for the checksum; a COPY of the source writes them as the COPY of the target reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pharmdb.database import dialect, ids
from pharmdb.legacy import checksums, columns, second_reader, stages
from pharmdb.legacy.columns import NEVER, UNCLEAN_FOR_POSTGRESQL, Wanted
from pharmdb.legacy.conversion import LARGEST
from pharmdb.legacy.raw_rows import Source, in_list
from pharmdb.legacy.set_based import MOST, Batch, is_clean
from pharmdb.legacy.stages import BATCH, OldTable
from pharmdb.models import ATTEMPT_ENTITY_TYPES, ROLES
from pharmdb.schema.canonical import DEEPEST
from pharmdb.schema.json_values import IS_STRING

# The first version with IS JSON.
_IS_JSON = 160_000


@dataclass(frozen=True)
class Form:
    """How SQL converts a column whose type is one of `types`; {x} stands for the value.

    `clean`: SQL that is true only if `written` gives what Python gives.
    """

    types: tuple[str, ...]
    clean: str
    written: str = "{x}"


_WHOLE = ("smallint", "integer", "bigint")
_ENUM = "enum"
_TEXT = ("text", "character varying", _ENUM)
# Compared by its bytes, whatever the column's collation is.
_BYTES = '({x}::text COLLATE "C")'
# Four of these texts fit into the entry of an index.
_SHORT = "length({x}::text) <= 160"
_HELD = "({x} #>> '{}')"
_BRACKETS = f"length({_HELD}) - length(translate({_HELD}, '[{{', ''))"
# Strings that hold JSON, as the application stores it. Larger ones are rare, and a batch of them would fill the memory.
_HOLDS_JSON = f"""CASE WHEN {IS_STRING["postgresql"]} IS NOT TRUE OR length({_HELD}) > 10000 THEN false
WHEN length({_HELD}) > {DEEPEST} AND {_BRACKETS} > {DEEPEST} THEN false ELSE {_HELD} IS JSON END"""
_CLEAN_TIME = """{x} BETWEEN '0001-01-01 00:00:00' AND '9999-12-31 23:59:59.999'
AND date_trunc('milliseconds', {x}) = {x}"""


def _real_between(low: str, high: int) -> str:
    # Below 0.001 a float's check is not exact. NaN is above all other floats.
    return f"(({{x}} = 0 OR {{x}} >= 0.001::float8) AND {{x}} >= {low}::float8 AND {{x}} <= {high})"


def _one_of(*values: str) -> Form:
    return Form(_TEXT, f"{_BYTES} IN ({', '.join(map(repr, values))})")


_KINDS = {
    "id": Form(_WHOLE, f"{{x}} <= {ids.LARGEST}"),
    # Whether there is such a user is a matter of the row.
    "owner": Form(_WHOLE, "true"),
    "text": Form(_TEXT, _SHORT),
    "document": Form(("jsonb",), _HOLDS_JSON),
    "time": Form(("timestamp without time zone",), _CLEAN_TIME, "{x} AT TIME ZONE 'UTC'"),
    "count": Form(_WHOLE, f"{{x}} BETWEEN 0 AND {LARGEST}"),
}
_REAL = ("double precision",)
_OWN = {
    ("users", "email"): Form(_TEXT, f"{_SHORT} AND {_BYTES} ~ '^[!-?A-~]+@[!-?A-~]+$' AND {_BYTES} !~ '[A-Z]'"),
    ("users", "role"): _one_of(*ROLES),
    ("user_settings", "language"): Form(_TEXT, f"{_BYTES} ~ '^[A-Za-z]{{2,5}}$'"),
    ("attempts", "entity_type"): _one_of(*ATTEMPT_ENTITY_TYPES),
    ("attempts", "score"): Form(_REAL, _real_between("0", 100)),
    ("spaced_repetition_items", "ease_factor"): Form(_REAL, _real_between("1.3", 1_000_000)),
    ("spaced_repetition_items", "interval_days"): Form(_WHOLE, f"{{x}} BETWEEN 1 AND {LARGEST}"),
}
_ORDERED = "(last_reviewed_at IS NULL OR next_review_at >= last_reviewed_at)"


def lane(
    source: Source,
    table: OldTable,
    wanted: Wanted,
    rows: Collection[int],
    users: Collection[int],
    *,
    copying: bool,
) -> ServerLane | None:
    """The way of a table's clean rows into PostgreSQL; None if Python has to convert all of them.

    Rows with these ids, and those of these users, are never clean. With `copying` the batches have the text for COPY.
    """
    if not wanted.to_postgresql or len(rows) + len(users) > MOST:
        return None
    if any(column.clean == NEVER for column in columns.of(table, wanted).values()):
        return None
    info = source.driver.info
    if info.parameter_status("server_encoding") != "UTF8" or info.parameter_status("client_encoding") != "UTF8":
        return None
    if "document" in table.kinds and info.server_version < _IS_JSON:
        return None
    forms, types = _forms(table), _types(source, table)
    if any(types[old] not in form.types for old, form in zip(table.names, forms.values(), strict=True)):
        return None
    return ServerLane(source, table, wanted, forms, rows, users, copying=copying)


def _forms(table: OldTable) -> dict[str, Form]:
    """The forms by the columns' new names."""
    return {
        name: _OWN.get((table.table, name)) or _KINDS[kind]
        for name, kind in zip(table.columns, table.kinds, strict=True)
    }


def _types(source: Source, table: OldTable) -> dict[str, str]:
    """The type of each column by its old name; _ENUM for any enum."""
    sql = (
        f"SELECT attname, CASE typtype WHEN 'e' THEN '{_ENUM}' ELSE format_type(atttypid, NULL) END "
        "FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid "
        f"WHERE attrelid = '{source.name(table)}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    with source.reading():
        return dict(source.driver.execute(sql).fetchall())


class ServerLane:
    """The clean rows of one table."""

    def __init__(
        self,
        source: Source,
        table: OldTable,
        wanted: Wanted,
        forms: dict[str, Form],
        rows: Collection[int],
        users: Collection[int],
        *,
        copying: bool,
    ) -> None:
        self._source, self._table, self._forms, self._copying = source, table, forms, copying
        checks = {name: column.check for name, column in columns.of(table, wanted).items()}
        self._line = checksums.in_sql(check.source["postgresql"].replace("{x}", name) for name, check in checks.items())
        self._documents = [name for name, kind in zip(table.columns, table.kinds, strict=True) if kind == "document"]
        self._clean = " AND ".join(self._conditions(rows, users))

    def _conditions(self, rows: Collection[int], users: Collection[int]) -> Iterator[str]:
        for column in self._table.model.__table__.columns:
            clean = f"({self._forms[column.name].clean.replace('{x}', column.name)})"
            yield f"({column.name} IS NULL OR {clean})" if column.nullable else clean
        if "next_review_at" in self._forms:
            yield _ORDERED
        if rows:
            yield f"id NOT {in_list(rows)}"
        if self._table.owner is not None:
            owner = self._table.columns[self._table.owner]
            yield f"EXISTS (SELECT 1 FROM {self._source.name(stages.TABLES[0])} AS u WHERE u.id = old_row.{owner})"
            if users:
                yield f"{owner} NOT {in_list(users)}"

    def _rows(self, condition: str) -> str:
        """SQL for some rows, with the new names of the columns."""
        names = zip(self._table.names, self._table.columns, strict=True)
        selected = ", ".join(f"{self._source.column(self._table, old)} AS {new}" for old, new in names)
        return f"SELECT {selected} FROM {self._source.name(self._table)} {condition}"

    @contextmanager
    def batches(self, rows: int) -> Iterator[Iterator[Batch]]:
        """Yields all rows of the table up to BATCH at a time. A thread waits for the next ones meanwhile."""
        connection, slow = self._source.connection, ("enable_seqscan", "enable_bitmapscan", "enable_sort")
        with ExitStack() as stack:
            with self._source.reading():
                # Without statistics, PostgreSQL would sort the whole table for each batch.
                stack.enter_context(dialect.of(connection).planning_without(connection, *slow))
            thread = stack.enter_context(ThreadPoolExecutor(1))
            yield second_reader.ahead(thread, self._batches())

    def _batches(self) -> Iterator[Batch]:
        strings = (f"count(*) FILTER (WHERE ok AND {name} IS NOT NULL)" for name in self._documents)
        lines = f"string_agg({self._line}, E'\\n' ORDER BY id) FILTER (WHERE ok)"
        made = ", ".join(("count(*)", "count(*) FILTER (WHERE ok)", "min(id)", "max(id)", lines, *strings))
        after = ""
        while True:
            some = self._rows(f"{after} ORDER BY id LIMIT {BATCH}")
            judged = f"(SELECT *, ({self._clean}) IS TRUE AS ok FROM ({some}) AS old_row OFFSET 0) AS judged"
            with self._source.reading():
                rows, clean, first, last, joined, *counts = self._source.driver.execute(
                    f"SELECT {made} FROM {judged}"
                ).fetchone()
            if not rows:
                return
            found = (joined or "").encode()
            if clean == rows and is_clean(found, rows, UNCLEAN_FOR_POSTGRESQL):
                batch = Batch((), clean, last, lines=found)
                batch.strings = dict(zip(self._documents, counts, strict=True))
            else:
                batch = self._mixed(judged)
            batch.span = first, last
            if self._copying and batch.clean:
                batch.copied = self._copied(batch)
            yield batch
            after = f"WHERE id > {last}"

    def _mixed(self, judged: str) -> Batch:
        """A batch of which some rows may not be clean."""
        strings = (f"{name} IS NOT NULL" for name in self._documents)
        made = ", ".join(("id", f"CASE WHEN ok THEN {self._line} END", *strings))
        with self._source.reading():
            rows = self._source.driver.execute(f"SELECT {made} FROM {judged}").fetchall()
        made_lines = ((id_, line.encode(), strings) for id_, line, *strings in rows if line is not None)
        found = {id_: made for id_, *made in made_lines if is_clean(made[0], 1, UNCLEAN_FOR_POSTGRESQL)}
        others = self._source.these(self._table, [row[0] for row in rows if row[0] not in found])
        batch = Batch(others, len(found), max(found, default=0))
        batch.single = {id_: line for id_, (line, _) in found.items()}
        for place, name in enumerate(self._documents):
            batch.strings[name] = sum(strings[place] for _, strings in found.values())
        return batch

    def _copied(self, batch: Batch) -> bytes:
        """The clean rows of a batch in the text format of COPY, without the last line feed."""
        first, last = batch.span
        but = f" AND id NOT {in_list(row[0] for row in batch.others)}" if batch.others else ""
        values = ", ".join(form.written.replace("{x}", name) for name, form in self._forms.items())
        some = self._rows(f"WHERE id BETWEEN {first} AND {last}{but} ORDER BY id")
        copy = f"COPY (SELECT {values} FROM ({some}) AS old_row) TO STDOUT"
        with self._source.reading(), self._source.driver.cursor() as cursor, cursor.copy(copy) as blocks:
            return b"".join(blocks)[:-1]
