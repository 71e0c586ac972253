"""Exports a whole filtered result as CSV, JSON, Markdown or Parquet, streamed in pieces."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pharmdb import csv_cells
from pharmdb.database import targets
from pharmdb.errors import ParameterError
from pharmdb.studio_app import browsing, sessions, values
from pharmdb.studio_app.cancelling import Cancel
from pharmdb.studio_app.catalogue import Column, Table
from pharmdb.studio_app.filters import View
from pharmdb.studio_app.statement_log import MASKED, Session, StatementLog, mask_hashes

TEXT_FORMATS = ("csv", "json", "markdown")
FORMATS = (*TEXT_FORMATS, "parquet")
ROWS_AT_ONCE = 5000
PIECE = 2**18

Rows = Iterator[list[str | None]]
_Writer = Callable[[list[Column], Rows], Iterable[str | bytes]]


def export(
    target: targets.Target,
    table: Table,
    view: View,
    columns: Sequence[str],
    format: str,
    statement_log: StatementLog,
    cancel: Cancel,
    *,
    formulas: bool = False,
) -> Iterator[bytes]:
    """Yields all rows of a view, in its order, with these columns; secrets are masked.

    In CSV a cell that begins like a formula gets an apostrophe, unless `formulas` says to leave it as it is.
    Raises ParameterError for an unknown format, UnfitError for a filter that does not fit.
    """
    if format not in FORMATS:
        raise ParameterError(expected=f"one of {', '.join(FORMATS)}", found=format, note="choose one of them")
    shown = [table.column(name) for name in columns]
    with sessions.reading(target, statement_log) as session, cancel.over(session.connection):
        rows = _rows(session, table, view, shown, cancel)
        csv = partial(_csv, formulas=formulas)
        writers: dict[str, _Writer] = {"csv": csv, "json": _json, "markdown": _markdown, "parquet": _parquet}
        yield from _pieces(writers[format](shown, rows))


def export_result(columns: Sequence[str], rows: Sequence[list[str | None]], format: str) -> Iterator[bytes]:
    """Yields the rows of a console statement as CSV, JSON or Markdown; every value is text, as the console shows it.

    Raises ParameterError for another format.
    """
    if format not in TEXT_FORMATS:
        raise ParameterError(expected=f"one of {', '.join(TEXT_FORMATS)}", found=format, note="choose one of them")
    shown = [
        Column(name, "text", "text", True, "", False, False, None, "", (), False, False, False, True)
        for name in columns
    ]
    writers: dict[str, _Writer] = {"csv": partial(_csv, formulas=False), "json": _json, "markdown": _markdown}
    yield from _pieces(writers[format](shown, iter(rows)))


def _rows(session: Session, table: Table, view: View, shown: list[Column], cancel: Cancel) -> Rows:
    statement = browsing.whole(table, view, shown)
    # Otherwise PostgreSQL's driver would load the whole result before the first row is available.
    # Closed when it is cancelled: beside a running statement, SQLite would interrupt the rollback.
    with session.connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement) as result:
        for batch in result.partitions():
            cancel.check()
            for row in batch:
                yield [_text(c, value) for c, value in zip(shown, row, strict=True)]


def _text(found: Column, value: Any) -> str | None:
    if value is None:
        return None
    return MASKED if found.secret else mask_hashes(values.shown(value, found.kind) or "")


def _pieces(parts: Iterable[str | bytes]) -> Iterator[bytes]:
    """Combines small parts into larger pieces, to send fewer messages to the page."""
    buffer = bytearray()
    for part in parts:
        buffer += part.encode("utf-8", "replace") if isinstance(part, str) else part
        if len(buffer) >= PIECE:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)


def _csv(shown: list[Column], rows: Rows, *, formulas: bool) -> Iterator[str]:
    """CSV as in RFC 4180; NULL is an empty field, an empty text is `""`."""

    def cell(text: str | None) -> str:
        return "" if text is None else csv_cells.cell(text, formulas=formulas)

    yield ",".join(cell(c.name) for c in shown) + "\r\n"
    for row in rows:
        yield ",".join(map(cell, row)) + "\r\n"


def _json(shown: list[Column], rows: Rows) -> Iterator[str]:
    """A JSON array of objects; numbers, booleans and JSON keep their types, times are text in UTC."""
    separator = "[\n"
    for row in rows:
        parts = (f"{json.dumps(c.name)}: {_json_value(c, text)}" for c, text in zip(shown, row, strict=True))
        yield f"{separator}{{{', '.join(parts)}}}"
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def _json_value(found: Column, text: str | None) -> str:
    if text is None:
        return "null"
    if found.kind in ("integer", "number", "boolean", "json"):
        try:
            # The original text is kept, so that large numbers keep all digits.
            json.loads(text, parse_constant=_no_json)
        except ValueError:
            return json.dumps(text, ensure_ascii=False)
        return text
    if found.kind == "datetime" and text[:4].isdigit() and not found.type.endswith("without time zone"):
        text = text.replace(" ", "T") + "Z"
    return json.dumps(text, ensure_ascii=False)


def _no_json(constant: str) -> None:
    raise ValueError(constant)


def _markdown(shown: list[Column], rows: Rows) -> Iterator[str]:
    right = ("integer", "number")
    yield f"| {' | '.join(_markdown_cell(c.name) for c in shown)} |\n"
    yield f"|{'|'.join('---:' if c.kind in right else '---' for c in shown)}|\n"
    for row in rows:
        yield f"| {' | '.join('' if text is None else _markdown_cell(text) for text in row)} |\n"


def _markdown_cell(text: str) -> str:
    text = re.sub(r"([\\|`*_\[\]])", r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r\n", "<br>").replace("\n", "<br>").replace("\r", "<br>")


_PARQUET = {"integer": "BIGINT", "number": "DOUBLE", "boolean": "BOOLEAN", "datetime": "TIMESTAMP", "date": "DATE"}


def _parquet(shown: list[Column], rows: Rows) -> Iterator[bytes]:
    """Parquet with typed columns; times are UTC. A column with a value that does not fit, like `infinity`, is text."""
    import duckdb
    import pandas as pd

    with tempfile.TemporaryDirectory() as folder:
        # No extension may be downloaded; Parquet support is built in.
        settings: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": "1",
        }
        with duckdb.connect(str(Path(folder) / "rows.duckdb"), config=settings) as connection:
            names = [f'"{c.name.replace(chr(34), chr(34) * 2)}"' for c in shown]
            types = [_PARQUET.get(c.kind, "VARCHAR") if not c.type.startswith("numeric") else "VARCHAR" for c in shown]
            # Loaded as text first, because SQLite allows 1.5 and 'abc' in an integer column.
            connection.execute(f"CREATE TABLE rows ({', '.join(f'{name} VARCHAR' for name in names)})")
            batch: list[list[str | None]] = []
            while True:
                row = next(rows, None)
                if row is not None:
                    batch.append(row)
                if batch and (row is None or len(batch) == ROWS_AT_ONCE):
                    frame = pd.DataFrame(batch, columns=[f"c{n}" for n in range(len(shown))], dtype=object)
                    connection.register("batch", frame)
                    connection.execute("INSERT INTO rows SELECT * FROM batch")
                    connection.unregister("batch")
                    batch = []
                if row is None:
                    break
            for n, (name, type_) in enumerate(zip(names, types, strict=True)):
                unfit = f"TRY_CAST({name} AS {type_}) IS NULL"
                if type_ == "BIGINT":
                    # A cast would round 1.5.
                    unfit += f" OR NOT regexp_full_match({name}, '-?[0-9]+')"
                test = f"SELECT 1 FROM rows WHERE {name} IS NOT NULL AND ({unfit}) LIMIT 1"
                if type_ != "VARCHAR" and connection.execute(test).fetchone():
                    types[n] = "VARCHAR"
            typed = ", ".join(f"CAST({name} AS {type_}) AS {name}" for name, type_ in zip(names, types, strict=True))
            path = Path(folder) / "rows.parquet"
            connection.execute(f"COPY (SELECT {typed} FROM rows) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
        with path.open("rb") as file:
            while data := file.read(PIECE):
                yield data
