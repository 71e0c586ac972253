"""The doctor's report: one finding for each check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pharmdb import reports
from pharmdb.database import targets
from pharmdb.doctor import sampling
from pharmdb.errors import CheckFailedError

if TYPE_CHECKING:
    import pandas as pd


OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """The result of a check: its name, ok, warn or fail, what was found, the command that fixes it, and a note.

    For ok the command is "", or the one for a full check if this one used a sample. The note says what to do if no
    command can; the table appends it to what was found.
    """

    check: str
    state: str
    found: str
    remedy: str = ""
    note: str = ""


@dataclass(frozen=True)
class CheckReport:
    """`checks`: check, state, found, remedy (str), one row for each check."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def checks(self) -> pd.DataFrame:
        rows = [(f.check, f.state, f"{f.found}; {f.note}" if f.note else f.found, f.remedy) for f in self.findings]
        return reports.table(rows, dict.fromkeys(("check", "state", "found", "remedy"), "str"))

    def count(self, state: str) -> int:
        """How many checks ended in this state."""
        return sum(finding.state == state for finding in self.findings)

    @property
    def outcome(self) -> pd.DataFrame:
        """One row: ok, checks, warnings (int64), next. Raises CheckFailedError where a check failed."""
        failed = [finding for finding in self.findings if finding.state == FAIL]
        if failed:
            raise CheckFailedError(
                expected="no check to fail",
                found="; ".join(f"{f.check}: {f.found}" for f in failed),
                unchanged="nothing was written; the doctor only reads",
                command=failed[0].remedy,
                note=failed[0].note,
            )
        remedies = [finding.remedy for finding in self.findings if finding.state == WARN and finding.remedy]
        row = (
            True,
            len(self.findings),
            self.count(WARN),
            remedies[0] if remedies else targets.command(self.target, "pharmdb inspect"),
        )
        return reports.table([row], {"ok": "bool", "checks": "int64", "warnings": "int64", "next": "str"})


def full_check(target: targets.Target) -> str:
    """The command that checks all of a database."""
    return targets.command(target, "pharmdb doctor --thorough")


def passed(
    target: targets.Target,
    check: str,
    found: str,
    checked: Iterable[sampling.Rows] = (),
    skipped: Iterable[str] = (),
) -> Finding:
    """An ok that says what was not checked, with the command that checks it."""
    left = [
        part
        for part in (sampling.describe(checked), ", ".join(skipped) and f"not checked: {', '.join(skipped)}")
        if part
    ]
    return Finding(check, OK, "; ".join((found, *left)), full_check(target) if left else "")
