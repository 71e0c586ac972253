"""Typed errors. Each says what was expected, what was found, what is unchanged, and the next command."""

from __future__ import annotations

import re
from typing import Any

_SECRETS = (
    # Greedy to the last @ of the word: a user's name or a password may hold one.
    (re.compile(r"(?P<keep>[a-z][a-z0-9+.-]*://[^\s:/]*:)\S+(?=@)", re.IGNORECASE), r"\g<keep>***"),
    (re.compile(r"(?P<keep>\w*(password|secret)\w*\s*=\s*)('[^']*'|[^\s&;]+)", re.IGNORECASE), r"\g<keep>***"),
    (re.compile(r"(?P<keep>\bpassword\s+)'[^']*'", re.IGNORECASE), r"\g<keep>***"),
)


def mask(text: str) -> str:
    """Replaces the password of every URL or `password=` setting in the text with ***."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class PharmdbError(Exception):
    """The base of all errors whose cause is known. The message has four parts, with secrets masked."""

    def __init__(self, *, expected: str, found: str, next: str, unchanged: str = "nothing was written") -> None:
        self.expected = mask(expected)
        self.found = mask(found)
        self.unchanged = mask(unchanged)
        self.next = mask(next)
        super().__init__(
            f"\n  expected:  {self.expected}\n  found:     {self.found}"
            f"\n  unchanged: {self.unchanged}\n  next:      {self.next}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Keyword-only arguments: without this an error could not come back from another process."""
        return _anew, (type(self), self.__dict__, str(self))

    def _render_traceback_(self) -> list[str]:
        """IPython shows this instead of a traceback: the cause is known, and the frames say nothing more."""
        return [f"{type(self).__name__}: {self}"]


def _anew(kind: type[PharmdbError], parts: dict[str, Any], message: str) -> PharmdbError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(parts)
    return error


class ParameterError(PharmdbError):
    """A parameter or an environment variable has a value that can't be used."""


class UnavailableError(PharmdbError):
    """The database does not answer, or not as a database."""


class LockedError(PharmdbError):
    """Somebody else holds the lock that was needed."""


class ProtectedError(PharmdbError):
    """The database is protected: production, another program's, or on another machine."""


class RevisionError(PharmdbError):
    """The schema is not at a revision that the verb can work with."""


class BackupError(PharmdbError):
    """A backup can't be taken, found, verified or brought back."""


class CheckFailedError(PharmdbError):
    """The doctor found something that is wrong."""


class SeedError(PharmdbError):
    """The seed files break their rules.

    `problems` holds each one as (file, line, column, value, reason); `more` says how many there are besides.
    """

    def __init__(self, problems: list[tuple[str, int, str, str, str]], *, directory: str, more: int = 0) -> None:
        self.problems = problems
        self.more = more
        shown = [
            f"{file}:{line}: {column + ' = ' if column else ''}{value!r}: {reason}"
            for file, line, column, value, reason in problems[:200]
        ]
        held, total = len(problems) - len(shown), len(problems) + more
        if more:
            shown.append(f"and {total - len(shown)} more, the first {held} of them in the error's .problems")
        elif held:
            shown.append(f"and {held} more, in the error's .problems")
        super().__init__(
            expected=f"seed files without a fault in {directory}",
            found=f"{total} problem(s)\n    " + "\n    ".join(shown),
            next="correct these lines, then run the same command again",
        )
