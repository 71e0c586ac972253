"""Helpers to use uv in place of pip: its pin in the lock file, and pip's configuration as uv's variables."""

from __future__ import annotations

import ast
import re

# uv does not read pip's configuration. These are its names for the same settings, and its separators of values:
UV_NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_NO_INDEX", " "),
    "cert": ("SSL_CERT_FILE", " "),
}


def pin(name: str, lock: str) -> str:
    """The lines of a lock file that pin this package, with its hashes. Raises ValueError if there are none."""
    found = re.search(rf"^{re.escape(name)}==.*(?:\n[ \t]+.*)*\n?", lock, re.MULTILINE)
    if not found:
        raise ValueError(f"{name} is not in the lock file")
    return found[0]


def uv_settings(listed: str, given: dict[str, str]) -> dict[str, str]:
    """uv's variables for the output of `pip config list`; variables that are already set take precedence."""
    # The hash identifies the file, whichever index provides it.
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    lines = re.findall(r"^(global|install|:env:)\.([a-z-]+)=(['\"].*)$", listed, re.MULTILINE)
    for _, option, value in sorted(lines, key=lambda line: ("global", "install", ":env:").index(line[0])):
        if option in UV_NAMES:
            name, separator = UV_NAMES[option]
            settings[name] = separator.join(ast.literal_eval(value).split())
    return settings | given
