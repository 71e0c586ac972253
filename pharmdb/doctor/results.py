"""What the doctor reports: one finding for each check."""

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


WHOLE_LOOK = "pharmdb doctor --thorough"


@dataclass(frozen=True)
class Finding:
    """One check: its name, ok, warn or fail, what was found, and the command that mends it.

    For ok that is "", or what looks at all of it where the check looked at a part.
    """

    check: str
    state: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class CheckReport:
    """`checks`: check, state, found, remedy (str), one row for each check."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def checks(self) -> pd.DataFrame:
        rows = [(f.check, f.state, f.found, f.remedy) for f in self.findings]
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
                unchanged="nothing was written; the doctor only looks",
                next=failed[0].remedy,
            )
        remedies = [finding.remedy for finding in self.findings if finding.state == WARN and finding.remedy]
        row = (
            True,
            len(self.findings),
            self.count(WARN),
            remedies[0] if remedies else targets.command(self.target, "pharmdb inspect"),
        )
        return reports.table([row], {"ok": "bool", "checks": "int64", "warnings": "int64", "next": "str"})


def well(check: str, found: str, looks: Iterable[sampling.Rows] = (), skipped: Iterable[str] = ()) -> Finding:
    """An ok that says what was not looked at, and how to have it looked at."""
    left = [
        part for part in (sampling.said(looks), ", ".join(skipped) and f"not looked at: {', '.join(skipped)}") if part
    ]
    return Finding(check, OK, "; ".join((found, *left)), WHOLE_LOOK if left else "")
