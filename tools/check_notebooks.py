"""Check that each notebook is valid and stored in nbformat's form, so that diffs show only real changes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat


def fault(path: Path) -> str | None:
    """What is wrong with the notebook in this file, or None."""
    stored = path.read_text(encoding="utf-8")
    try:
        notebook = nbformat.reads(stored, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        return f"not a valid notebook: {str(error).splitlines()[0]}"
    if nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n" != stored:
        return "not stored in nbformat's form; open and save it in JupyterLab, or run `make notebooks`"
    return None


def main(names: Sequence[str]) -> int:
    """Print what is wrong with each notebook; the exit status is 1 if there is anything."""
    faults = [(name, found) for name in names if (found := fault(Path(name)))]
    for name, found in faults:
        print(f"{name}: {found}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
