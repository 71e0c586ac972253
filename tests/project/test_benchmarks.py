"""The benchmarks at a tiny size: every part gives its lines, and the baselines do the same work. No clock is judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support import chrome, citus
from support.postgres import Server
from support.project import ROOT

import pharmdb
from benchmarks import (
    clusters,
    django_baseline,
    framing,
    ground,
    inserts,
    prisma_baseline,
    processes,
    querying,
    resets,
    results,
    scale,
    scale_picture,
    timing,
    users_measuring,
)
from benchmarks.__main__ import PARTS, part
from benchmarks.ground import DIALECTS, Ground
from pharmdb.database import targets, transactions
from pharmdb.models import MODELS, Attempt, ProgressByTag, User, UserSettings
from pharmdb.seeding import passwords

ATTEMPTS = 500
# What each part is about, in every one of its lines' first cells.
LINES = {
    "processes": ["pharmdb reset", "pharmdb seed", "import pharmdb"],
    "resets": ["reset .* SQLite", "reset .* PostgreSQL"],
    "queries": [
        f"{work}.*{dialect}" for dialect in DIALECTS for work in ("e-mail", "key", "newest 50", "50 due", "upsert")
    ],
    "inserts": [f"{start}.*{dialect}" for dialect in DIALECTS for start in ("ready", "Python values")],
    "frames": [f"{what}.*{dialect}" for dialect in DIALECTS for what in ("^frame of 500", "memory")],
    "fingerprints": [f"^fingerprint of {what}.*{dialect}" for dialect in DIALECTS for what in ("[0-9]", "a cohort")],
    "accounts": DIALECTS,
    "cohort": DIALECTS,
    "seed": [f"^seed.*{what}{dialect}" for dialect in DIALECTS for what in ("rows, ", "nothing missing, ")]
    + [f"memory of a whole seed, {dialect}" for dialect in DIALECTS],
    "scale": [f"{what}.*{dialect}" for dialect in DIALECTS for what in ("one learner", "many learners", "memory")]
    + [f"{what} at .*{dialect}" for dialect in DIALECTS for what in ("inspect", "doctor")],
    "writers": ["eight writers at once"],
    "copies": [f"^{what} .*{dialect}" for dialect in DIALECTS for what in ("backup", "restore", "reset")],
    "upgrade": ["SQLite → SQLite", "SQLite → PostgreSQL", "PostgreSQL → PostgreSQL", "memory"],
    "studio": [f"{what}.*, {dialect}" for dialect in DIALECTS for what in ("^first page", "^reload")],
    "class": [f"{what}.*{dialect}" for dialect in DIALECTS for what in ("^report .*500", "^report .*5,000", "memory")],
    "export": [
        f"{what}{dialect}"
        for dialect in DIALECTS
        for what in ("^export .*, ", "again, nothing changed, ", "memory .*, ", "export, ", "two workers of Dask, ")
    ],
    "cluster": [],
}


@pytest.fixture(scope="module")
def small(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with pytest.MonkeyPatch.context() as patch:
        # A browser test before may have left an event loop, of which Django takes no calls.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield Ground(tmp_path_factory.mktemp("bench"), ATTEMPTS, rounds=1, lent=server)
        django_baseline.models()
        django_baseline.close()


@pytest.fixture(params=DIALECTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_gives_its_lines(small: Ground, name: str) -> None:
    if name == "studio":
        chrome.required()
    lines = list(part(name)(small))
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [len(line) for line in cells] == [7] * len(cells)
    assert len(cells) == len(LINES[name])
    for line, about in zip(cells, LINES[name], strict=True):
        assert re.search(about, line[0]), line
        # As many baselines, times, ratios, targets and judgements.
        assert len({cell.count("<br>") for cell in line[2:]}) == 1


def test_a_cluster_is_measured_where_there_is_one(small: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    if not citus.URL:
        pytest.skip(f"{clusters.VARIABLE} names no coordinator of a Citus cluster")
    monkeypatch.setenv(clusters.VARIABLE, citus.URL)
    lines = list(clusters.main(small))
    assert len(lines) == 2 + 7 * min(3, len(clusters.workers(citus.URL)))
    about, points = users_measuring.read(small.folder / "users.csv")
    assert users_measuring.COMMAND in about
    assert {p.workers for p in points} >= {0, 1, 2}


def test_the_clients_of_the_queries_find_what_pharmdb_finds(small: Ground, kind: str) -> None:
    clients = list(querying.clients(small.large(kind)))
    assert len(clients) == (4 if kind == "SQLite" else 3)
    with ExitStack() as stack:
        for client in clients:
            client.read(stack)
        for query, many in zip(querying.QUERIES, (1, 1, 50, 50), strict=True):
            found = [getattr(client, query)() for client in clients]
            columns = (found[0][0] if many > 1 else found[0])._fields
            ours, *others = (querying.rows(one, columns) for one in found)
            assert len(ours) == many
            assert others == [ours] * len(others), query


def test_the_clients_of_the_upsert_count_alike(small: Ground, kind: str) -> None:
    url = small.large(kind)
    row = sa.select(ProgressByTag.__table__).where(ProgressByTag.tag == querying.TAG.tag, ProgressByTag.user_id == 1)
    for client in querying.clients(url):
        before = rows(url, row)[0]
        with ExitStack() as stack:
            client.write(stack)()
        assert rows(url, row) == [(*before[:5], before[5] + 1, before[6], querying.AT)], client.name


def rows(url: str, statement: Any) -> list[tuple[Any, ...]]:
    with transactions.reading(targets.target(url)) as connection:
        return list(map(tuple, connection.execute(statement)))


def test_the_baselines_of_the_bulk_insert_write_what_pharmdb_writes(small: Ground, kind: str) -> None:
    base, values = inserts.base(small, kind), inserts.values(200)
    works = [inserts.ours(lambda: inserts.stored(values)), inserts.raw(list(inserts.stored(values)))]
    works += [work for _, work, _ in inserts.baselines(kind, values)]
    for work in works:
        url = inserts.copied(small, base)
        work(url)
        assert [row[1:] for row in rows(url, sa.select(Attempt.__table__).order_by(Attempt.id))] == values


def test_the_frames_hold_the_same(small: Ground, kind: str) -> None:
    url = small.large(kind)
    ours, theirs = framing.ours(url), framing.with_our_dtypes(url)
    assert dict(ours.dtypes) == dict(theirs.dtypes)
    assert ours.equals(theirs.sort_values("id", ignore_index=True))
    assert len(framing.as_it_comes(url)) == len(ours)


def test_djangos_reset_leaves_the_seed(small: Ground, kind: str) -> None:
    origin = small.large(kind)
    url = small.empty(kind)
    if kind == "SQLite":
        ground.path(url).touch()
    with resets.django_project(small.folder):
        alias = django_baseline.connect(url)
        from django.core.management import call_command

        call_command("migrate", interactive=False, verbosity=0, database=alias)
        seeded = resets.seed_rows(origin)
        for _ in range(2):
            resets.django(alias, seeded)
    # Read back by pharmdb's own models, which take no other form.
    assert resets.seed_rows(url) == seeded
    assert len(seeded) == len(MODELS)


def test_prismas_reset_leaves_the_seed_and_its_seed_adds_nothing(small: Ground, tmp_path: Path) -> None:
    project = prisma_baseline.Project(tmp_path / "prisma")
    project.reset()
    url = f"sqlite:///{project.database}"
    seeded = content(url)
    ours = small.empty("SQLite")
    pharmdb.reset(ours, backup=False)
    assert seeded == content(ours)
    hashes = rows(url, sa.select(User.password_hash))
    assert passwords.verify_password("Password123!", hashes[0][0])
    project.seed()
    assert content(url) == seeded
    assert rows(url, sa.select(User.password_hash)) != hashes


def content(url: str) -> list[list[tuple[Any, ...]]]:
    """What is in the seed's tables, without times, hashes and languages' own ids."""
    progress = ProgressByTag
    columns = (
        (User.id, User.email, User.role),
        (UserSettings.user_id, UserSettings.language),
        (progress.user_id, progress.module, progress.course_block, progress.tag, progress.correct_count),
    )
    return [sorted(rows(url, sa.select(*some))) for some in columns]


def test_without_node_the_processes_are_measured_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    try:
        assert processes.prisma(tmp_path / "prisma") is None
    except pytest.skip.Exception:
        # Otherwise this test would be skipped, too.
        pytest.fail("the whole part is skipped")
    assert "no Prisma: no Node.js with npm here" in capsys.readouterr().err


def test_every_baseline_runs_with_pharmdbs_settings(small: Ground, kind: str) -> None:
    url = small.large(kind)
    settings = ground.asked_of_pharmdb(url)
    assert settings.get("foreign_keys", 1) == 1
    assert settings.get("synchronous", 2) == 2
    with pytest.raises(RuntimeError, match="a baseline runs with"):
        ground.require_same(url, "a baseline", lambda statement: "another")
    engine = ground.engine(url)
    engine.dispose()
    django_baseline.connect(url)
    django_baseline.close()


def test_a_benchmarks_server_waits_for_the_disk(small: Ground) -> None:
    assert "Server(as_shipped=True)" in (ROOT / "benchmarks" / "ground.py").read_text(encoding="utf-8")
    assert "fsync off" in results.footer(small), "the tests' server, and said so"


def test_the_growing_cohort_needs_room(small: Ground) -> None:
    with pytest.raises(SystemExit, match="GB are needed"):
        scale.require_room(Ground(small.folder, 10**12))


def test_sizes_are_powers_of_ten() -> None:
    assert scale.sizes(10_000_000) == [10_000, 100_000, 1_000_000, 10_000_000]
    assert scale.sizes(5000) == [500, 5000]


def test_the_picture_is_drawn_from_the_figures(tmp_path: Path) -> None:
    points = [
        scale.Point(dialect, work, attempts, attempts / 1000, attempts / 2000, attempts / 500)
        for dialect in DIALECTS
        for work in ("user by e-mail", "cohort", "frame of all attempts", "cohort memory")
        for attempts in (10, 100, 1000)
    ]
    scale.write(points, tmp_path / "scale.csv")
    assert scale.read(tmp_path / "scale.csv") == points
    scale_picture.draw(points, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 10_000


def test_a_line_says_medians_quartiles_and_whether_the_target_is_met() -> None:
    baselines = [timing.Baseline("a", [2.0], 0.5), timing.Baseline("b", [0.5], 1.5), timing.Baseline("c", [1.0])]
    assert timing.line("w", [1.0, 1.0, 1.4], *baselines) == (
        "| w | 1.00 s (1.00 – 1.20) | a<br>b<br>c | 2.00 s<br>0.50 s<br>1.00 s | 0.50<br>2.00<br>1.00 "
        "| ≤ 0.5<br>≤ 1.5<br>– | met<br>**not met**<br>– |"
    )
    assert timing.line("w", [1.4], timing.Baseline("a", [1.0], 1, more=0.5)) == (
        "| w | 1.40 s | a | 1.00 s | 1.40 | ≤ 1, plus 0.50 s | met |"
    )
    assert timing.line("w", [1.6], timing.Baseline("a", [1.0], 1, more=0.5)).endswith("**not met** |")
    assert timing.line("w", [2.0], timing.Baseline("a", [1.0], least=0.8), rows=100) == (
        "| w | 50.0 rows/s | a | 100 rows/s | 0.50 | ≥ 0.8 | **not met** |"
    )


def test_the_page_on_performance_carries_the_figures_that_were_measured() -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    carried = page.partition(results.BEGIN)[2].partition(results.END)[0].strip()
    assert carried == results.FILE.read_text(encoding="utf-8").strip()


def test_one_part_measured_anew_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FILE", tmp_path / "results.md")
    page = tmp_path / "performance.md"
    monkeypatch.setattr(results, "DOCUMENT", page)
    page.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n", encoding="utf-8")
    lines = {name: [f"| {name} | 1 s | a | 2 s | 0.50 | ≤ 1 | met |"] for name in ("queries", "frames")}
    results.write(lines, "machine")
    assert results.read() == lines
    results.write(results.read() | {"frames": ["| other | 1 s | a | 2 s | 0.50 | ≤ 1 | met |"]}, "machine")
    assert results.read()["queries"] == lines["queries"]
    text = page.read_text(encoding="utf-8")
    assert "| other |" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_figures_without_a_place_on_the_page_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    monkeypatch.setattr(results, "FILE", tmp_path / "results.md")
    monkeypatch.setattr(results, "DOCUMENT", page)
    page.write_text(f"{results.BEGIN}\nonly the first mark\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no markers for the figures"):
        results.write({"queries": ["| a | 1 s | b | 2 s | 0.50 | ≤ 1 | met |"]}, "machine")
    assert "only the first mark" in page.read_text(encoding="utf-8")
