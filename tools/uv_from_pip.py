"""uv in pip's place: where its pin stands, and pip's configuration in uv's words."""

from __future__ import annotations

import ast
import re

# uv reads no configuration of pip. Its names for the same settings, and how it separates several values:
UV_NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


def pin(name: str, lock: str) -> str:
    """The lines of a lock file that pin this package, with its hashes. Raises ValueError where there are none."""
    found = re.search(rf"^{re.escape(name)}==.*(?:\n[ \t]+.*)*\n?", lock, re.MULTILINE)
    if not found:
        raise ValueError(f"{name} is not in the lock file")
    return found[0]


def uv_settings(listed: str, given: dict[str, str]) -> dict[str, str]:
    """The variables for uv that say what `pip config list` says; those that are given already come first."""
    # The hash says which file is meant, whichever index has it.
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    lines = re.findall(r"^(global|install|:env:)\.([a-z-]+)=(['\"].*)$", listed, re.MULTILINE)
    for _, option, value in sorted(lines, key=lambda line: ("global", "install", ":env:").index(line[0])):
        if option in UV_NAMES:
            name, separator = UV_NAMES[option]
            settings[name] = separator.join(ast.literal_eval(value).split())
    return settings | given
