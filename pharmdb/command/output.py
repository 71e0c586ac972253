"""Standard output and standard error: they may be closed, full, without a reader, or unable to encode a character."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def prepare() -> None:
    """Makes both usable: a closed one discards, and a character that can't be encoded is escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the rest of the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> bool:
    """Prints a text; False if that failed, and the text went to standard error instead."""
    try:
        with quiet_without_reader():
            print(text)
    except OSError as error:
        complain(text)
        give_up(error)
        return False
    return True


def give_up(error: OSError) -> None:
    """Says that standard output can't be written, and discards what is printed from now on."""
    _discard()
    complain(f"pharmdb: can't write to standard output: {error.strerror}")


def complain(text: str) -> None:
    """Prints a text on standard error. If that fails, too, nobody can be told."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def as_json(value: dict[str, Any]) -> str:
    """JSON for standard output."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # The escapes of Python are not those of JSON.
        text = json.dumps(value, allow_nan=False)
    return text


@contextmanager
def quiet_without_reader() -> Iterator[None]:
    """Discards output after the reader has closed the pipe, as in `pharmdb … | head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard()


def _discard() -> None:
    """What is still in the buffer would fail again at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
