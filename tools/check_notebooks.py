"""Check that each notebook is valid, in nbformat's form, so that diffs show only real changes, without addresses."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat

_ADDRESS = re.compile(r"[\w.%+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}")
# Domains that belong to nobody (RFC 2606 and RFC 6761).
_NOBODY = re.compile(r".*[@.](?:test|invalid|localhost|example|example\.(?:com|net|org))", re.IGNORECASE)


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
    if found := {each for each in _ADDRESS.findall(stored) if not _NOBODY.fullmatch(each)}:
        # They are not printed: the log of a check may be public.
        return f"shows {len(found)} real e-mail address(es); if a run left them, `git restore {path}` removes them"
    return None


def main(names: Sequence[str]) -> int:
    """Print what is wrong with each notebook; the exit status is 1 if there is anything."""
    faults = [(name, found) for name in names if (found := fault(Path(name)))]
    for name, found in faults:
        print(f"{name}: {found}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
