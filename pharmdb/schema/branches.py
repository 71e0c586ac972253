"""Where a revision that the code lacks is to be found: on another branch of this checkout, or in newer code."""

from __future__ import annotations

import re
import shlex
import subprocess

from pharmdb import settings


def command(revision: str) -> str:
    """The git command that brings the revision's file into the checkout; "" if git knows of none."""
    if not settings.is_checkout() or not re.fullmatch(r"\w+", revision):
        return ""
    versions = ("--", "migrations/versions")
    pattern = rf"^revision\b.*['\"]{revision}['\"]"
    if _git("grep", "--extended-regexp", "-l", pattern, "HEAD", *versions):
        return "git checkout -- migrations/versions"
    # %(refname:lstrip) leaves the branch alone: of a remote one `git switch` makes a local one.
    for kind, parts in (("refs/heads", 2), ("refs/remotes", 3)):
        names = _git("for-each-ref", "--sort=-committerdate", f"--format=%(refname) %(refname:lstrip={parts})", kind)
        for name, _, branch in (line.partition(" ") for line in names.splitlines()):
            if branch != "HEAD" and _git("grep", "--extended-regexp", "-l", pattern, name, *versions):
                return f"git switch {shlex.quote(branch)}"
    return "git pull" if _git("rev-parse", "--abbrev-ref", "@{upstream}") else ""


def _git(*arguments: str) -> str:
    """What git prints; "" if it fails, or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=settings.SOURCE, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
