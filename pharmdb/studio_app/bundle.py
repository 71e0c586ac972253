"""Bundles the modules of a script into one text, as a widget has to send it to the page, without a build step.

The bundled modules share one scope: they import only from files in the same folder, and no two declare the same name.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

# The formatter puts only top-level statements at the beginning of a line.
_IMPORT = re.compile(r'^import \{([\w\s,$]*)\} from "\./([\w-]+\.js)";\n+', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|let|class)\b)", re.MULTILINE)
_DECLARED = re.compile(r"^(export )?(?:async )?(?:function\*?|const|let|class) ([\w$]+)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default \{.*\};\n", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


class BundleError(ValueError):
    """A script that can't be bundled. The message begins with the module that is at fault."""


@cache
def bundle(entry: Path) -> str:
    """The text of a script and everything it imports; each module comes once, after the modules that it needs.

    Raises BundleError for a missing module, a name that its module does not export, a name that two modules declare, a
    circular import, and any unsupported form of import or export.
    """
    return "\n".join(ordered(entry).values())


def ordered(entry: Path) -> dict[str, str]:
    """The modules by file name, in the order in which they run, without `import` and `export`."""
    texts: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    declared: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise BundleError(f"{name}: circular import: {' → '.join((*importers, name))}")
        if name in texts:
            return
        text = _read(entry.with_name(name), importers)
        for names, other in _IMPORT.findall(text):
            add(other, (*importers, name))
            if unknown := {each.strip() for each in names.split(",")} - exported[other] - {""}:
                raise BundleError(f"{name}: {other} does not export {', '.join(sorted(unknown))}")
        found = _DECLARED.findall(text)
        for _, each in found:
            if declared.setdefault(each, name) != name:
                raise BundleError(f"{name}: {each} is also declared in {declared[each]}")
        exported[name] = {each for export, each in found if export}
        texts[name] = _joined(name, text, is_entry=not importers)

    add(entry.name, ())
    return texts


def _read(path: Path, importers: tuple[str, ...]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BundleError(f"{importers[-1] if importers else path.name}: there is no {path.name}") from None


def _joined(name: str, text: str, *, is_entry: bool) -> str:
    text = _EXPORT.sub("", _IMPORT.sub("", text))
    left = _LEFT.search(_DEFAULT.sub("", text) if is_entry else text)
    if left:
        raise BundleError(f"{name}: not understood: {left[0]}")
    return text
