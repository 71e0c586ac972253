"""The manifest of an export: which files belong to it, what each of them must be, and from what it was written.

The manifest replaces the previous one when all its files are on disk, so an export is always the old or the new one.
Until then the new one's slices are noted, line by line, in a file of their own, from which a later run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pharmdb.backups import files
from pharmdb.errors import ExportError
from pharmdb.exporting.parquet_files import File
from pharmdb.exporting.slices import Slice

FORMAT = 1
MANIFEST, UNFINISHED = "manifest.json", "unfinished.jsonl"


@dataclass(frozen=True)
class Part:
    """A slice and its files."""

    slice: Slice
    files: tuple[File, ...]


@dataclass(frozen=True)
class Contents:
    """`terms`: what must be the same for a file to be kept in another export; `columns`: name -> type of each table."""

    terms: dict[str, Any]
    taken_at: str
    columns: dict[str, dict[str, str]]
    parts: tuple[Part, ...]

    @property
    def paths(self) -> set[str]:
        return {file.path for part in self.parts for file in part.files}


def _part(found: dict[str, Any]) -> Part:
    return Part(Slice(**found["slice"]), tuple(File(**file) for file in found["files"]))


def find(folder: Path) -> Contents | None:
    """The export in a folder; None if there is no manifest. Raises ExportError for one that can't be read."""
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts = tuple(map(_part, found["parts"]))
        return Contents(found["terms"], found["taken_at"], found["columns"], parts)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ExportError(
            expected=f"a manifest of pharmdb in {path}",
            found=f"{type(error).__name__}: {error}",
            note="remove the folder, then export again",
        ) from error


def publish(folder: Path, contents: Contents) -> None:
    """Makes this the export in the folder."""
    partial = folder / f"{MANIFEST}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(asdict(contents), file, indent=1)
    files.sync(partial)
    partial.replace(folder / MANIFEST)
    files.sync(folder)


def unfinished(folder: Path, terms: dict[str, Any]) -> Iterator[Part]:
    """The parts that an unfinished export on these terms has on disk."""
    path = folder / UNFINISHED
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            try:
                found = json.loads(line)
            except ValueError:
                # The process was killed while it wrote this line.
                return
            if number:
                yield _part(found)
            elif found != terms:
                return


class Notes:
    """Notes the finished parts of an export that is being written."""

    def __init__(self, folder: Path, terms: dict[str, Any], parts: list[Part]) -> None:
        partial = folder / f"{UNFINISHED}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in (terms, *map(asdict, parts)))
        partial.replace(folder / UNFINISHED)
        self._file = (folder / UNFINISHED).open("a", encoding="utf-8")

    def add(self, part: Part) -> None:
        self._file.write(json.dumps(asdict(part)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def damaged(folder: Path, part: Part) -> Iterator[str]:
    """The files of a part that are missing or not what they were."""
    for file in part.files:
        path = folder / file.path
        if not path.exists():
            yield f"{file.path} is missing"
        elif path.stat().st_size != file.size or files.sha256(path) != file.sha256:
            yield f"{file.path} has another content"
