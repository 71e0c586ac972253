"""The report: who is in it, what hides them, where it goes, and what it says if there is nothing."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from support import raw
from support.classroom import Row, email, fill, rows
from support.databases import Databases
from support.project import ROOT

import pharmdb
from pharmdb import progress
from pharmdb.classes import definitions, files, streaming
from pharmdb.classes.reporting import ClassReport
from pharmdb.errors import ExportError, NoRoomError, ParameterError
from pharmdb.exporting import pseudonyms

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
MAIN = "from pharmdb.command.program import main; raise SystemExit(main())"
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


@pytest.fixture(scope="module")
def urls(databases: Databases) -> dict[str, str]:
    """A class on each database; on production, too."""
    found = {}
    for dialect in ("sqlite", "postgresql"):
        for name in ("development", "production"):
            url = found[f"{dialect} {name}"] = databases.seeded(dialect)
            fill(url, rows(300))
            raw.run(url, f"UPDATE pharmdb_environment SET name = '{name}'")
    return found


def attempts(report: ClassReport) -> int:
    return int(report.overview["attempts"].iloc[0])


def text_of(report: ClassReport) -> str:
    """All that a report shows."""
    tables = [data.to_csv() for data in (*report.tables.values(), report.said, report.outcome, report.doubtful)]
    return "\n".join([*tables, repr(report), *(str(getattr(report, name)) for name in PICTURES)])


PICTURES = sorted(name for name in dir(ClassReport) if name.endswith("_picture"))


# -- who is in it ------------------------------------------------------------------------------------------


def test_the_class_is_all_users_or_those_of_a_file_or_a_pattern(
    urls: dict[str, str], dialect: str, tmp_path: Path
) -> None:
    url = urls[f"{dialect} development"]
    counts = {n: sum(row.user == n for row in rows(300)) for n in range(8)}
    whole = pharmdb.class_report(url)
    # The seed's user is a learner without an attempt, its administrator is none.
    assert whole.overview[["learners", "active", "attempts"]].values.tolist() == [[9, 8, 300]]
    file = tmp_path / "class.txt"
    file.write_text(
        f"\ufeffe-mail\n{email(1).upper()}\n\n# note@x\n'{email(2)}';\nnobody@school.example\nann.school.example\n",
        "utf-8",
    )
    some = pharmdb.class_report(url, users=str(file))
    assert attempts(some) == counts[1] + counts[2]
    said = "2 of 3 users in the file; nobody has the address in line 6; no address in line 7"
    assert said in some.period["counted"].item()
    for pattern, number in (("PUPIL[12]@*", 2), ("*@school.example", 8), ("*", 10)):
        # As the command gives it: relative to the folder that the caller is in.
        assert pharmdb.class_report(url, users=str(tmp_path / pattern)).overview["learners"].item() == number
    assert attempts(pharmdb.class_report(url, users="pupil3@*", module="caseReasoning")) < counts[3]


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"users": "*@nowhere.example"}, "a pattern that matches"),
        ({"users": "no such file.txt"}, "a text file"),
        ({"user_email": "nobody@school.example"}, "a learner in the class"),
        ({"since": "31.1.2026"}, "since as a day"),
        ({"since": "2026-02-01", "until": "2026-01-31"}, "since not after until"),
        ({"time_zone": "Europe/Praha"}, "time zone database"),
        ({"time_zone": "../etc/passwd"}, "time zone database"),
        ({"module": "cases"}, "Question Bank, calculations, caseReasoning"),
        ({"block": "heart"}, "block-cardiology"),
        ({"min_attempts": 0}, "whole number from 1"),
        ({"pseudonyms": True, "emails": True}, "pseudonyms or emails"),
    ],
)
def test_an_invalid_parameter_is_refused_and_no_address_is_repeated(
    urls: dict[str, str], terms: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ParameterError) as error:
        pharmdb.class_report(urls["sqlite development"], **terms)
    assert expected in error.value.expected
    assert not [found for found in ADDRESS.findall(str(error.value)) if found != "*@school.example"]


def test_an_administrator_who_is_named_is_told_why_not(urls: dict[str, str]) -> None:
    with pytest.raises(ParameterError) as error:
        pharmdb.class_report(urls["sqlite development"], user_email="admin@pharmtrainer.test")
    assert "administrators are not in the class" in error.value.note


def test_a_file_without_users_of_the_database_is_refused(urls: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "class.txt").write_text("a@b.example\n", "utf-8")
    with pytest.raises(ParameterError) as error:
        pharmdb.class_report(urls["sqlite development"], users=str(tmp_path / "class.txt"))
    assert "0 of 1 users" in error.value.found
    assert "a@b.example" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("é@b.example\n".encode("latin-1"), "not in UTF-8"),
        ("a@b.example\n".encode("utf-16"), "not in UTF-8"),
        (None, "no such"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_from_a_missing_one(
    urls: dict[str, str], tmp_path: Path, content: bytes | None, found: str
) -> None:
    """As a spreadsheet on Windows writes it."""
    path = tmp_path / "class.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ParameterError, match=found):
        pharmdb.class_report(urls["sqlite development"], users=str(path))


def test_a_module_and_a_block_of_the_catalogue_restrict_attempts_progress_and_reviews(seeded: str) -> None:
    pharmdb.cohort(seeded, learners=20, days=21)
    whole, of_module, of_block = (
        pharmdb.class_report(seeded, **terms)  # type: ignore[arg-type]
        for terms in ({}, {"module": "calculations"}, {"module": "calculations", "block": "block-cardiology"})
    )
    assert attempts(whole) > attempts(of_module) > attempts(of_block) > 0
    assert set(of_module.items["entity_type"]) == {"calc"}
    assert of_block.blocks["course_block"].tolist() == ["block-cardiology"]
    assert set(of_block.progress["module"]) == {"calculations"}
    assert set(of_block.progress["course_block"]) == {"block-cardiology"}
    waiting = [report.forecast["waiting"].iloc[-1] for report in (whole, of_module, of_block)]
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[2] > 0


# -- what hides them ---------------------------------------------------------------------------------------


def test_on_production_no_output_has_an_address(
    urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHARMDB_HOME", str(tmp_path))
    monkeypatch.setenv("PHARMDB_URL", urls["sqlite production"])
    (tmp_path / "class.txt").write_text("\n".join(map(email, range(5))), "utf-8")
    options = ["--users", "class.txt", "--output", "report.html", "--tables", "tables"]
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "class", *options],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").glob("class-*.ipynb")
    outputs = {"stdout": done.stdout, "stderr": done.stderr}
    outputs |= {path.name: path.read_bytes().decode("utf-8", "replace") for path in (tmp_path / "tables").iterdir()}
    outputs |= {path.name: path.read_text("utf-8") for path in (run, tmp_path / "report.html")}
    assert len(outputs) > 36
    for name, text in outputs.items():
        found = set(ADDRESS.findall(re.sub(r"base64,[\w+/=]+", "", text)))
        assert not {one for one in found if "pupil" in one or "school" in one.replace("*@school.example", "")}, name
        assert not [one for one in map(email, range(8)) if one in text], name
    assert "learner-" in outputs["stdout"]
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == 0o600


def test_pseudonyms_are_those_of_the_export_and_the_default_on_production(urls: dict[str, str], dialect: str) -> None:
    development, production = urls[f"{dialect} development"], urls[f"{dialect} production"]
    names = {
        key: pharmdb.class_report(url, user_email=email(2), **terms)  # type: ignore[arg-type]
        for key, url, terms in (
            ("shown", development, {}),
            ("hidden", development, {"pseudonyms": True}),
            ("by default", production, {}),
            ("again", production, {"pseudonyms": True}),
            ("asked for", production, {"emails": True}),
        )
    }
    for key, report in names.items():
        shown = "school.example" in text_of(report)
        assert shown == (key in ("shown", "asked for")), key
        assert report.period["names"].item() == ("e-mail addresses" if shown else "pseudonyms")
        assert not report.learner.empty
    assert names["by default"].learners.equals(names["again"].learners)
    ids = {row[0] for row in raw.ask(development, "SELECT id FROM users WHERE role = 'USER'")}
    expected = {f"learner-{pseudonyms.pseudonym(pseudonyms.key(), id_):016x}" for id_ in ids}
    assert set(names["hidden"].learners["learner"]) == expected
    # The same learners in the same order of attempts, under other names.
    assert names["hidden"].learners["attempts"].tolist() == names["shown"].learners["attempts"].tolist()


def test_an_environment_variable_makes_it_production_too(urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHARMDB_ENV", "production")
    assert "school.example" not in text_of(pharmdb.class_report(urls["sqlite development"]))


def test_an_answer_that_few_gave_or_that_has_an_address_in_it_is_not_shown(databases: Databases, dialect: str) -> None:
    url = databases.migrated(dialect)
    found = [Row(n, n, "case", "x", "write to ann@x.example", 100, AT) for n in range(6)]
    found += [Row(6 + n, 6 + n, "case", "x", f"I am {email(6 + n)}", 100, AT) for n in range(2)]
    fill(url, found)
    answers = pharmdb.class_report(url, pseudonyms=True, min_attempts=1).answers
    # Two learners are too few for a row of their own, whatever it is called.
    assert answers[["answer", "learners"]].values.tolist() == [["write to …", 6]]
    url = databases.migrated(dialect)
    fill(url, [*found, *(Row(n, n, "case", "x", f"only mine: {n}", 0, AT) for n in range(8, 11))], 11)
    answers = pharmdb.class_report(url, pseudonyms=True, min_attempts=1).answers
    assert answers[["answer", "learners"]].values.tolist() == [["write to …", 6], ["other answers", 5]]


# -- where it goes -----------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What is in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_stands_alone_and_has_every_picture_and_definition(urls: dict[str, str], tmp_path: Path) -> None:
    url, path = urls["sqlite development"], tmp_path / "new folder" / "class.html"
    report = pharmdb.class_report(url, output=path, min_attempts=5, user_email=email(1))
    text = path.read_text("utf-8")
    page = Page(text)
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == len(PICTURES)
    assert all(str(one["src"]).startswith("data:image/png;base64,") and len(str(one["alt"])) > 20 for one in pictures)
    assert {one["alt"] for one in pictures} == {str(getattr(report, name)) for name in PICTURES}
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object")]
    assert not re.search(r"""(src|href)=["'](?!data:|#)|url\(|@import""", text)
    assert "@media print" in text
    for columns in definitions.TABLES.values():
        assert all(column in text for column in columns)
    assert report.outcome["changed"].item() == f"{path} written"
    pharmdb.class_report(url, output=path)
    assert len(list(path.parent.iterdir())) == 1, "an earlier report is replaced, and nothing else is left there"


def test_markup_in_the_data_stays_text(databases: Databases, tmp_path: Path) -> None:
    url = databases.migrated("sqlite")
    evil = '<img src=x onerror="alert(1)">$x_1$'
    fill(url, [Row(n, n, "case", evil, evil, 100 * (n % 2), AT) for n in range(8)])
    pharmdb.class_report(url, min_attempts=1, output=tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text("utf-8")
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


def test_every_table_is_taken_away_as_csv_and_parquet(urls: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    report = pharmdb.class_report(urls["sqlite development"], tables=folder, min_attempts=5, user_email=email(1))
    names = {files.DEFINITIONS, *definitions.TABLES}
    assert {path.name for path in folder.iterdir()} == {f"{name}.{end}" for name in names for end in ("csv", "parquet")}
    assert sorted(report.written) == sorted(map(str, folder.iterdir()))
    for name, table in report.tables.items():
        with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            head, *found = csv.reader(file)
        assert head == list(table.columns)
        assert len(found) == len(table)
        relation: Any = duckdb.sql(f"SELECT * FROM '{folder / name}.parquet'")
        assert relation.columns == head
        assert len(relation) == len(table)
    weeks: Any = duckdb.sql(f"SELECT sum(attempts), min(week) FROM '{folder}/weeks.parquet'")
    assert weeks.fetchall() == [(300, report.weeks["week"].iloc[0].to_pydatetime())]
    answers = (folder / "answers.csv").read_text("utf-8")
    assert "'=1+1" in answers
    assert not re.search(r"(^|,)=", answers, re.MULTILINE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = (folder / "weeks.csv").read_bytes()
    pharmdb.class_report(urls["sqlite development"], tables=folder, min_attempts=5)
    assert (folder / "weeks.csv").read_bytes() == before


def test_nothing_of_anybody_else_is_replaced(urls: dict[str, str], tmp_path: Path) -> None:
    url = urls["sqlite development"]
    (tmp_path / "thesis.html").write_text("<html>my thesis", "utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "weeks.csv").write_text("mine", "utf-8")
    for terms in ({"output": "thesis.html"}, {"tables": "folder"}, {"tables": "thesis.html"}, {"output": "folder"}):
        with pytest.raises(ParameterError, match="something else"):
            pharmdb.class_report(url, **{name: tmp_path / one for name, one in terms.items()})  # type: ignore[arg-type]
    assert (tmp_path / "thesis.html").read_text("utf-8") == "<html>my thesis"
    assert (tmp_path / "folder" / "weeks.csv").read_text("utf-8") == "mine"


PLACES = {"output": "file/class.html", "tables": "file/tables"}


@pytest.mark.parametrize("what", PLACES)
def test_a_place_that_can_not_be_written_is_said_before_anything_is_read(
    urls: dict[str, str], tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()

    def too_late(*_: Any) -> None:
        pytest.fail("the attempts are read")

    monkeypatch.setattr(streaming, "stream", too_late)
    with pytest.raises(ExportError) as error:
        pharmdb.class_report(urls["sqlite development"], **{what: tmp_path / PLACES[what]})  # type: ignore[arg-type]
    assert "the database" in error.value.unchanged
    assert str(tmp_path / "file") in error.value.found


def test_a_folder_without_permission_is_refused_before_anything_is_read(
    urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))

    monkeypatch.setattr(files, "TemporaryFile", closed)
    monkeypatch.setattr(streaming, "stream", lambda *_: pytest.fail("the attempts are read"))
    with pytest.raises(ExportError, match="Permission denied") as error:
        pharmdb.class_report(urls["sqlite development"], output=tmp_path / "new" / "class.html")
    assert str(tmp_path / "new") in error.value.expected
    assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_each_part_of_the_work(
    urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    pharmdb.class_report(urls["sqlite development"], output=tmp_path / "class.html", tables=tmp_path / "tables")
    shown = [line.partition(":")[0].strip() for line in re.split("[\r\n]", terminal.getvalue()) if ":" in line]
    assert list(dict.fromkeys(shown)) == ["class", "count", "items", "learners", "tables", "page"]


def test_a_full_disk_is_named(urls: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if only the flush fails, which does not say where."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoomError) as error:
        pharmdb.class_report(urls["sqlite development"], output=tmp_path / "class.html")
    assert str(tmp_path / "class.html") in error.value.found
    assert error.value.note.startswith("free space, then")
    assert not list(tmp_path.iterdir())


# -- nothing, and very little ------------------------------------------------------------------------------


def test_without_attempts_it_is_not_ok_and_says_what_to_do_next(seeded: str) -> None:
    report = pharmdb.class_report(seeded)
    outcome = report.outcome.iloc[0]
    assert not outcome["ok"]
    assert str(outcome["next"]).startswith("pharmdb cohort --learners 100")
    for name, table in report.tables.items():
        assert {column: str(dtype) for column, dtype in table.dtypes.items()} == definitions.dtypes(name), name
    assert all(re.search(": (no |too few )", str(getattr(report, name))) for name in PICTURES)
    # What is drawn does not depend on the database.
    drawn = PICTURES if seeded.startswith("sqlite") else []
    assert all(getattr(report, name).png.startswith(b"\x89PNG") for name in drawn)
    assert report.at_risk["found"].tolist() == ["no attempt in the period"]
    raw.run(seeded, "UPDATE pharmdb_environment SET name = 'production'")
    assert str(pharmdb.class_report(seeded).outcome["next"].item()).startswith("pharmdb doctor")


def test_a_period_without_attempts_leads_back_to_the_whole(urls: dict[str, str], tmp_path: Path) -> None:
    report = pharmdb.class_report(urls["sqlite development"], until="2020-01-01", output=tmp_path / "x.html")
    outcome = report.outcome.iloc[0]
    assert not outcome["ok"]
    assert str(outcome["next"]).startswith("pharmdb class --database-url")
    assert "no attempts" in (tmp_path / "x.html").read_text("utf-8")


def test_attempts_of_administrators_alone_lead_on(migrated: str) -> None:
    """Not to the same report again."""
    fill(migrated, [Row(0, 0, "case", "x", "a", 100, AT)], 1, role="ADMIN")
    outcome = pharmdb.class_report(migrated).outcome.iloc[0]
    assert not outcome["ok"]
    assert str(outcome["next"]).startswith("pharmdb cohort --learners 100")


def test_a_database_without_any_learner(migrated: str) -> None:
    report = pharmdb.class_report(migrated)
    assert report.overview["learners"].item() == 0
    assert not report.outcome["ok"].item()


@pytest.mark.parametrize(("score", "reason"), [(100, "everybody was right"), (0, "nobody was right")])
def test_one_item_that_all_answered_alike_has_no_discrimination_and_says_why(
    databases: Databases, dialect: str, score: float, reason: str
) -> None:
    url = databases.migrated(dialect)
    other = [Row(10 + n, n, "case", "other", "a", 100.0 * (n % 2), AT - timedelta(days=1)) for n in range(6)]
    fill(url, [Row(n, n, "case", "x", "a", score, AT) for n in range(6)] + other)
    item = pharmdb.class_report(url, min_attempts=5).items.set_index("entity_id").loc["x"]
    assert pd.isna(item["discrimination"])
    assert pd.isna(item["logit"])
    assert item["reason"] == reason
    assert item["difficulty"] == score


def test_one_learner_with_one_attempt(databases: Databases, dialect: str) -> None:
    url = databases.migrated(dialect)
    fill(url, [Row(0, 0, "question", "q-1", "a", 100, AT)], 1)
    report = pharmdb.class_report(url, user_email=email(0))
    assert report.outcome["ok"].item()
    item = report.items.iloc[0]
    assert (item["learners"], item["reason"]) == (1, "fewer than 20 learners")
    assert item[["difficulty", "discrimination", "logit"]].isna().all()
    assert report.learners[["streak", "longest_streak", "days_ago"]].values.tolist() == [[1, 1, 0]]
    assert pd.isna(report.overview["median_seconds"].item())
    assert report.at_risk.empty
    assert all(getattr(report, name).png for name in PICTURES if dialect == "sqlite")
    few = pharmdb.class_report(url, min_attempts=1).items.iloc[0]
    assert few["difficulty"] == 100


def test_both_shapes_of_answers_count_as_one(databases: Databases, dialect: str) -> None:
    url = databases.migrated(dialect)
    # Every other answer is a JSON string that holds the same.
    fill(url, [Row(n, n, "question", "q", "b", 100, AT) for n in range(8)])
    answers = pharmdb.class_report(url).answers
    assert answers[["answer", "learners", "share", "correct"]].values.tolist() == [["b", 8, 100.0, True]]


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({"selected": "a"}, "a"),
        ({"choice": {"id": 3}}, "3"),
        ({"b": 1.0, "a": "é"}, '{"a": "é", "b": 1.0}'),
        ("plain", "plain"),
        ([1, None], "[1, null]"),
        ("x" * 500, None),
    ],
)
def test_an_answer_is_shown_as_its_reader_knows_it(document: Any, shown: str | None) -> None:
    from pharmdb.classes.streaming import label

    assert label(json.dumps(document)) == label(json.dumps(json.dumps(document))) == shown


def test_nothing_is_written_to_the_database(urls: dict[str, str], dialect: str) -> None:
    url = urls[f"{dialect} development"]
    with pharmdb.reading(pharmdb.target(url)) as connection:
        before = pharmdb.fingerprint(connection)
    pharmdb.class_report(url)
    with pharmdb.reading(pharmdb.target(url)) as connection:
        assert pharmdb.fingerprint(connection) == before


def test_the_chapter_for_teachers_has_every_definition_and_no_sql() -> None:
    text = (ROOT / "docs" / "class.md").read_text("utf-8")
    for name, columns in definitions.TABLES.items():
        assert f"### {definitions.TITLES[name]}: `{name}`" in text
        for column, found in columns.items():
            assert f"| `{column}` | {found.unit} | {found.words} |" in text, f"{name}.{column}"
    assert not re.search(r"\b(SELECT|INSERT|GROUP BY|SQL)\b", text)
