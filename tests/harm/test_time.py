"""Clock and zone: far from UTC, through a daylight-saving change, before 1970 and after 2038: one fingerprint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support import killing, raw
from support.backups import backed_up
from support.databases import Databases

import pharmdb
from pharmdb import settings

# As POSIX writes them, so that no zone's file is needed: name, hours behind UTC, and when the clock changes.
ZONES = {
    "UTC": "UTC0",
    "14 hours ahead": "<+14>-14",
    "three and a half behind, with summer time": "NST3:30NDT,M3.2.0,M11.1.0",
    "ten and a half ahead, with a summer of half an hour": "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
}
CHILD = """
import json, sys, time
from datetime import UTC, datetime, timedelta, timezone
from sqlalchemy import select
from sqlalchemy.orm import Session
import pharmdb
from pharmdb.models import Bookmark, User

zones = [UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-12, minutes=-30))]
moments = [
    datetime(1, 1, 2, tzinfo=UTC), datetime(1900, 2, 28, 23, 59, 59, 999000, UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999000, UTC), datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC), datetime(2038, 1, 19, 3, 14, 8, 1000, UTC),
    datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC), datetime(9999, 12, 30, 12, tzinfo=UTC),
]
# Every quarter of an hour around the changes of the clock: hours that do not exist, and hours that come twice.
for day in ((2026, 3, 8), (2026, 11, 1), (2026, 10, 4), (2026, 4, 5)):
    start = datetime(*day, tzinfo=UTC) - timedelta(hours=16)
    moments += [start + timedelta(minutes=15 * n) for n in range(128)]

found = {}
for url in sys.argv[1:]:
    target = pharmdb.target(url)
    with pharmdb.writing(target) as connection, Session(connection) as session:
        user = User(email="a@example.test", password_hash="x", role="USER", created_at=moments[0])
        session.add(user)
        session.flush()
        for n, moment in enumerate(moments):
            # The same moment, as somebody elsewhere writes it.
            if 1 < moment.year < 9999:
                moment = moment.astimezone(zones[n % 3])
            session.add(Bookmark(user_id=user.id, entity_type="drug", entity_id=str(n), created_at=moment))
        session.flush()
    with pharmdb.reading(target) as connection, Session(connection) as session:
        back = dict(session.execute(select(Bookmark.entity_id, Bookmark.created_at)).all())
        assert all(back[str(n)] == moment for n, moment in enumerate(moments))
        mark = pharmdb.fingerprint(connection)
    taken = pharmdb.backup(url).backup
    age = datetime.now(UTC) - datetime.strptime(taken.id, "%Y%m%dT%H%M%S.%f%z")
    seed = pharmdb.seed(url).fingerprint
    pharmdb.restore(url, backup=taken.id)
    with pharmdb.reading(target) as connection:
        restored = pharmdb.fingerprint(connection)
    found[target.url.get_backend_name()] = [mark, restored, seed, 0 <= age.total_seconds() < 300]
offsets = [time.localtime(datetime(2026, m, 15, tzinfo=UTC).timestamp()).tm_gmtoff for m in (1, 7)]
print(json.dumps([found, offsets]))
"""


def test_every_zone_gives_the_same_fingerprints(databases: Databases) -> None:
    def child(zone: str) -> Any:
        urls = [databases.migrated(dialect) for dialect in ("sqlite", "postgresql")]
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, *urls],
            env=os.environ | {"TZ": ZONES[zone], "PGTZ": "Asia/Tokyo"},
            cwd=settings.SOURCE,
            stdout=subprocess.PIPE,
            text=True,
        )

    zones = list(ZONES) if killing.THOROUGH else list(ZONES)[:3]
    children = {zone: child(zone) for zone in zones}
    with ThreadPoolExecutor() as pool:
        texts = dict(zip(children, pool.map(lambda c: c.communicate(timeout=120)[0], children.values()), strict=True))
    assert {zone: c.returncode for zone, c in children.items()} == dict.fromkeys(zones, 0)
    found = {zone: json.loads(text) for zone, text in texts.items()}
    # The harm: their clocks did differ, and the last of them change it in the year.
    offsets = {zone: seen for zone, (_, seen) in found.items()}
    assert len({winter for winter, _ in offsets.values()}) == len(zones)
    assert [zone for zone, (winter, summer) in offsets.items() if winter != summer] == zones[2:]
    marks = {json.dumps(seen) for by_dialect, _ in found.values() for seen in by_dialect.values()}
    assert len(marks) == 1, found
    first, restored, _, fresh = json.loads(marks.pop())
    assert first == restored
    assert fresh


def test_the_servers_own_zone_changes_nothing(databases: Databases) -> None:
    url = databases.seeded("postgresql")
    with raw.session(url) as session:
        raw.fill(session)

    def mark() -> str:
        with pharmdb.reading(pharmdb.target(url)) as connection:
            return pharmdb.fingerprint(connection)

    before = mark()
    taken = backed_up(url)
    with raw.session(url) as session:
        name = pharmdb.target(url).name
        for setting in ("timezone = 'Pacific/Kiritimati'", "datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'"):
            session.execute(f"ALTER DATABASE {name} SET {setting}")
    assert mark() == before
    backed_up(url)
    for backup in ("", taken.id):
        pharmdb.restore(url, backup=backup)
        assert mark() == before
