"""Images and rules in one matrix, and what changed since the last run."""

from __future__ import annotations

import csv
import json
from concurrent.futures import Executor, Future

import pytest
from bs4 import BeautifulSoup

from custom_image.errors import Unavailable, UsageError
from custom_image.fleet.list_file import BadLine
from custom_image.fleet.matrix import Matrix
from custom_image.fleet.page import to_page
from custom_image.fleet.unit import Outcome, Unit
from custom_image.fleet.verification import judge_images


def report(**badges: str) -> dict:
    checks = [
        {"id": rule.replace("_", "."), "verdict": badge, "measured": f"<b>{badge}", "waived": ""}
        for rule, badge in badges.items()
    ]
    worst = "FAILED" if "FAILED" in badges.values() else "PASSED"
    return {"verdict": worst, "checks": checks}


class Workers(Executor):
    """Answers units at once with what an image's engine would: its digest and its report."""

    def __init__(self, digests: dict[str, str], reports: dict[str, dict]) -> None:
        self.digests, self.reports = digests, reports
        self.judged: list[str] = []
        self.lost_after = 10**6

    def submit(self, run, text, /):
        future: Future[str] = Future()
        unit = Unit.from_json(text)
        if len(self.judged) >= self.lost_after:
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        digest = self.digests.get(unit.image, "")
        outcome = Outcome(digest=digest, host="w1", version="0.1.0")
        if not digest:
            outcome = Outcome(error="image cannot be pulled: =no such image", host="w1")
        elif digest != unit.known:
            self.judged.append(unit.image)
            found = self.reports[digest]
            code = 1 if found["verdict"] == "FAILED" else 0
            outcome = Outcome(code, found, digest=digest, host="w1", version="0.1.0", seconds=1.5)
        future.set_result(outcome.to_json())
        return future


@pytest.fixture
def workers(monkeypatch) -> Workers:
    monkeypatch.setattr("custom_image.__version__", "0.1.0")
    return Workers(
        {"a:1": "sha256:a", "b:1": "sha256:b", "c:1": "sha256:c"},
        {
            "sha256:a": report(http_keep="PASSED", image_size="PASSED"),
            "sha256:b": report(http_keep="PASSED", image_size="FAILED"),
            "sha256:c": report(http_keep="PASSED"),
            "sha256:a2": report(http_keep="FAILED", image_size="PASSED"),
        },
    )


def judge(workers: Workers, folder, *images: str, options=()) -> Matrix:
    return judge_images(images, options, workers, folder)


def test_what_was_judged_is_known_by_its_digest(workers, tmp_path):
    first = judge(workers, tmp_path, "a:1", "b:1")
    second = judge(workers, tmp_path, "a:1", "b:1")

    assert workers.judged == ["a:1", "b:1"]
    assert [row.judged for row in (*first.rows, *second.rows)] == [True, True, False, False]
    assert [row.badges for row in first.rows] == [row.badges for row in second.rows]
    assert second.changes == []
    assert first.exit_code == second.exit_code == 1


def test_other_options_or_another_version_are_judged_again(workers, tmp_path, monkeypatch):
    judge(workers, tmp_path, "a:1")
    judge(workers, tmp_path, "a:1", options=["--level", "full"])
    monkeypatch.setattr("custom_image.__version__", "9")
    judge(workers, tmp_path, "a:1", options=["--level", "full"])

    assert workers.judged == ["a:1"] * 3


def test_a_file_that_an_option_names_is_judged_by_as_it_is_now(workers, tmp_path):
    rules = tmp_path / "rules.yaml"
    for content in ("waive: {}", "waive: {}", "limit: {}"):
        rules.write_text(content)
        judge(workers, tmp_path, "a:1", options=["--rules", str(rules)])

    assert workers.judged == ["a:1"] * 2


def test_what_changed_since_the_last_run_stands_first(workers, tmp_path):
    judge(workers, tmp_path, "b:1", "a:1", "c:1")
    workers.digests["a:1"] = "sha256:a2"
    matrix = judge(workers, tmp_path, "b:1", "a:1")

    assert [str(change) for change in matrix.changes] == [
        "a:1: http.keep PASSED -> FAILED",
        "c:1: not in the list any more",
    ]
    assert [row.image for row in matrix.ordered] == ["a:1", "b:1"]
    assert str(matrix).index("Changed since") < str(matrix).index("Images")


def test_a_run_that_was_broken_off_goes_on_where_it_was(workers, tmp_path):
    workers.lost_after = 2
    with pytest.raises(Unavailable, match=r"when [0-2] of 3 commands had ended"):
        judge(workers, tmp_path, "a:1", "b:1", "c:1")
    arrived = {
        json.loads(path.read_text())["name"] for path in (tmp_path / "images").glob("*.json")
    }
    workers.lost_after = 10**6
    workers.judged.clear()
    judge(workers, tmp_path, "a:1", "b:1", "c:1")

    assert set(workers.judged) == {"a:1", "b:1", "c:1"} - arrived


def test_an_image_that_cannot_be_judged_says_why_and_keeps_what_was_known(workers, tmp_path):
    judge(workers, tmp_path, "a:1")
    known = workers.digests.pop("a:1")
    matrix = judge(workers, tmp_path, "a:1")

    assert matrix.exit_code == 3
    assert "NOT JUDGED  a:1  image cannot be pulled" in str(matrix)
    workers.digests["a:1"] = known
    assert judge(workers, tmp_path, "a:1").changes == []


def test_an_option_that_a_fleet_sets_itself_is_refused(workers, tmp_path):
    with pytest.raises(UsageError, match=r"--output=x.html belongs to one report"):
        judge(workers, tmp_path, "a:1", options=["--output=x.html"])


@pytest.mark.parametrize(
    "options",
    [["--env", "KEY=secret"], ["-e", "KEY=secret"], ["--env=KEY=secret"], ["-eKEY=secret"]],
)
def test_a_value_that_would_travel_is_refused_and_not_shown(workers, tmp_path, options):
    with pytest.raises(UsageError, match=r"--env KEY=\.\.\.: a value would travel") as refused:
        judge(workers, tmp_path, "a:1", options=options)

    assert "secret" not in str(refused.value)
    judge(workers, tmp_path, "a:1", options=["--env", "KEY", "--edition=otc"])


@pytest.fixture
def matrix(workers, tmp_path) -> Matrix:
    found = judge(workers, tmp_path, "a:1", "b:1", "c:1", "x:1")
    before = {row.image: row.badges for row in found.rows}
    before["a:1"] = {**before["a:1"], "http.keep": "FAILED"}
    return Matrix(found.rows, before, (BadLine(3, "-x", "no name"),))


def test_the_csv_has_a_line_an_image_and_a_column_a_rule(matrix):
    lines = list(csv.DictReader(matrix.to_csv().splitlines()))

    assert {line["image"]: line["image.size"] for line in lines} == {
        "a:1": "PASSED",
        "b:1": "FAILED",
        "c:1": "",
        "x:1": "",
    }
    assert lines[0]["image"] == "a:1"  # what changed
    assert not any(
        cell.startswith(("=", "+", "-", "@")) for line in lines for cell in line.values()
    )


def test_the_page_shows_every_verdict_and_runs_nothing(matrix):
    page = BeautifulSoup(to_page(matrix), "html.parser")

    rules = [cell.get_text() for cell in page.select("thead th span")]
    assert sorted(rules) == ["http.keep", "image.size"]
    assert rules[0] == "image.size"  # what is broken first
    assert len(page.select("tbody tr")) == 4
    assert page.select("td.changed")[0]["title"].startswith("http.keep: PASSED")
    assert page.find("b") is None  # a stranger's text stays text
    assert page.find_all(["script", "link", "img"]) == []
    assert [h.get_text() for h in page.find_all("h2")] == [
        "Lines that name no image",
        "Changed since the last run",
        "Images and rules",
    ]


def test_no_line_of_the_terminal_is_wider_than_100(matrix):
    assert max(map(len, str(matrix).splitlines())) <= 100
