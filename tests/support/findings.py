"""What the doctor finds."""

from __future__ import annotations

import pharmdb
from pharmdb.doctor.results import Finding


def found(*, thorough: bool = False) -> dict[str, Finding]:
    """The findings in the database of PHARMDB_URL by their checks."""
    return {finding.check: finding for finding in pharmdb.check(thorough=thorough).findings}
