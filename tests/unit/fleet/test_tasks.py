"""Builds and notebooks of a list: which lines are tasks, and what became of them."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from custom_image.errors import Unavailable, UsageError
from custom_image.fleet.executors import open_executor
from custom_image.fleet.list_file import BadLine
from custom_image.fleet.task_list import read_builds, read_notebooks
from custom_image.fleet.tasks import Task, TaskResults, run_tasks
from custom_image.fleet.unit import Outcome, Unit

FIXTURES = Path(__file__).parents[2] / "notebooks" / "fixtures"


@pytest.fixture
def folders(tmp_path) -> Path:
    """A list of three packages and a build context, and of lines that name nothing."""
    for name in ("one", "two", "Three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "customize_service.py").write_text(name)
    (tmp_path / "own context").mkdir()
    (tmp_path / "own context" / "Dockerfile").write_text("FROM scratch")
    lines = ["one", "two  team/two:2 # named", "--package", "'own context' own:1", "no-such"]
    lines += ["Three", "one Bad:1", "Three three", "two team/two:2 more", "two 'team", "one -x:1"]
    (tmp_path / "folders.txt").write_text("\n".join(lines))
    return tmp_path / "folders.txt"


def test_each_folder_is_a_build_and_each_line_that_names_none_is_reported(folders):
    tasks, bad_lines = read_builds(folders, ["--relax"])

    assert [(task.name, task.result) for task in tasks] == [
        ("one", "one:latest"),
        ("two  team/two:2", "team/two:2"),
        ("'own context' own:1", "own:1"),
        ("Three", "three:latest"),
        ("Three three", "three"),
    ]
    words = tasks[0].unit.arguments
    package = ("--package", str(folders.parent / "one"))
    assert words[:4] == ("build", "dockerfile_build", *package)
    assert words[4:] == ("--tag", "one:latest", "--relax", "--format", "json")
    assert tasks[2].unit.arguments[2:4] == ("--context", str(folders.parent / "own context"))
    assert [line.number for line in bad_lines] == [3, 5, 7, 9, 10, 11]
    reasons = "\n".join(map(str, bad_lines))
    assert "line 3: '--package' has '--package': options stand behind --" in reasons
    assert f"line 5: 'no-such' names no package: there is no folder {folders.parent}" in reasons
    assert "line 7: 'one Bad:1' names no image: only the tag may have capitals" in reasons
    assert "has '-x:1': options stand behind --" in reasons
    assert "No closing quotation" in reasons


def test_two_folders_of_one_image_are_not_both_built(folders):
    folders.write_text("one x:1\ntwo x:1\none x:1\n")
    tasks, bad_lines = read_builds(folders, [])

    assert [task.name for task in tasks] == ["one x:1"]
    assert [str(line) for line in bad_lines] == [
        "line 2: 'two x:1' would replace x:1, the image of 'one x:1'"
    ]


def test_a_notebook_is_a_run_with_parameters_and_a_folder_of_its_own(tmp_path):
    listed = tmp_path / "notebooks.txt"
    notebook = FIXTURES / "well_behaved.ipynb"
    listed.write_text(
        f"dockerfile_build\n{notebook} digit=3\n{notebook} digit=4\n{notebook} digt=4\n"
        f"{notebook} digit=seven\nno_such\n-p\n"
    )
    tasks, bad_lines = read_notebooks(listed, tmp_path / "runs", ["--parameters", "ci"])

    first, third, fourth = (task.unit.arguments for task in tasks)
    assert first[:3] == ("notebooks", "run", "dockerfile_build")
    assert third[2:5] == (str(notebook), "-p", "digit=3")
    assert third[-4:] == ("--parameters", "ci", "--format", "json")
    places = [words[words.index("--output-dir") + 1] for words in (first, third, fourth)]
    assert len(set(places)) == 3
    assert Path(places[0]).name.startswith("02_dockerfile_build-")
    assert [line.number for line in bad_lines] == [4, 5, 6, 7]
    assert "Did you mean 'digit'?" in bad_lines[0].reason
    assert "Parameter digit must be of type int" in bad_lines[1].reason
    assert "No notebook is called 'no_such'" in bad_lines[2].reason


@pytest.mark.parametrize("option", ["--tag=x:1", "--server", "--context", "--format"])
def test_an_option_that_a_fleet_sets_itself_is_refused(folders, option):
    with pytest.raises(UsageError, match=rf"{option}: a fleet sets it itself"):
        read_builds(folders, [option])


class Builders(Executor):
    """Answers units at once with what a worker would, whose engine keeps what it built."""

    def __init__(self) -> None:
        self.engine: dict[str, str] = {}
        self.ran: list[str] = []
        self.failing: dict[str, Outcome] = {}
        self.lost_after = 10**6

    def submit(self, run, text, /):
        future: Future[str] = Future()
        unit = Unit.from_json(text)
        if len(self.ran) >= self.lost_after:
            future.cancel()
            future.set_running_or_notify_cancel()
            return future
        digest = self.engine.get(unit.makes, "")
        if digest and digest == unit.known:
            outcome = Outcome(digest=digest, host="w1")
        else:
            self.ran.append(unit.makes)
            digest = f"sha256:{len(self.ran)}" if unit.makes else ""
            self.engine[unit.makes] = digest
            about = Outcome(0, {"reference": unit.makes}, digest=digest, host="w1", seconds=2.0)
            outcome = self.failing.get(unit.makes, about)
        future.set_result(outcome.to_json())
        return future


@pytest.fixture
def builders(monkeypatch) -> Builders:
    monkeypatch.setattr("custom_image.__version__", "")
    return Builders()


def build(builders: Builders, folders: Path, *options: str) -> TaskResults:
    tasks, bad_lines = read_builds(folders, options)
    found = run_tasks(tasks, builders, folders.parent / "kept")
    return TaskResults(found.rows, bad_lines)


def test_what_was_built_is_built_again_only_where_something_changed(builders, folders):
    folders.write_text("one\ntwo\nThree\n")
    build(builders, folders)
    (folders.parent / "two" / "weights").write_text("new")
    del builders.engine["three:latest"]
    builders.ran.clear()
    again = build(builders, folders)
    builders.ran.clear()
    otherwise = build(builders, folders, "--relax")

    assert [row.ran for row in again.rows] == [False, True, True]
    assert [row.state for row in again.rows] == ["DONE"] * 3
    assert again.rows[0].seconds == 2.0
    assert [row.ran for row in otherwise.rows] == [True] * 3
    assert again.exit_code == 0


def test_a_file_that_an_option_names_is_part_of_it(builders, folders):
    folders.write_text("one\n")
    more = folders.parent / "requirements.txt"
    more.write_text("numpy")
    for content, expected in (("numpy", 1), ("numpy", 1), ("numpy\nonnx", 2)):
        more.write_text(content)
        build(builders, folders, "--requirements", str(more))
        assert len(builders.ran) == expected


def test_what_failed_is_told_and_tried_again_and_the_rest_goes_on(builders, folders):
    folders.write_text("one\ntwo\nThree\nno-such\n")
    builders.failing["one:latest"] = Outcome(1, None, "Error: no wheel\nTry this", host="w1")
    builders.failing["two:latest"] = Outcome(error="no engine answers", host="w1")
    found = build(builders, folders)
    document = json.loads(found.to_json())
    builders.failing.clear()
    builders.ran.clear()
    again = build(builders, folders)

    assert found.exit_code == 1
    assert document["counts"] == {"NOT RUN": 1, "FAILED": 1, "DONE": 1}
    assert [row["error"] for row in document["tasks"]] == [
        "Error: no wheel\nTry this",
        "no engine answers",
        "",
    ]
    assert document["bad_lines"][0]["number"] == 4
    assert str(found).splitlines()[2].strip() == "NOT RUN two  no engine answers"
    assert builders.ran == ["one:latest", "two:latest"]
    assert again.exit_code == 2


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(Outcome(3, None, "no engine"), 3), (Outcome(error="lost"), 3), (Outcome(2, None, "x"), 1)],
)
def test_the_exit_code_says_what_to_do(outcome, code, builders, folders):
    folders.write_text("one\n")
    builders.failing["one:latest"] = outcome

    assert build(builders, folders).exit_code == code


def test_a_run_that_was_broken_off_goes_on_where_it_was(builders, folders):
    folders.write_text("one\ntwo\nThree\n")
    builders.lost_after = 2
    with pytest.raises(Unavailable, match=r"when [0-2] of 3 commands had ended"):
        build(builders, folders)
    kept = (folders.parent / "kept" / "outcomes").glob("*.json")
    arrived = {json.loads(path.read_text())["outcome"]["output"]["reference"] for path in kept}
    builders.lost_after = 10**6
    builders.ran.clear()
    build(builders, folders)

    assert set(builders.ran) == {"one:latest", "two:latest", "three:latest"} - arrived


def test_a_result_that_is_gone_is_made_again(builders, tmp_path):
    task = Task("n", Unit(("notebooks", "run", "n")), str(tmp_path / "n.ipynb"), "abc")
    assert run_tasks([task], builders, tmp_path).rows[0].ran
    (tmp_path / "n.ipynb").touch()
    assert not run_tasks([task], builders, tmp_path).rows[0].ran
    (tmp_path / "n.ipynb").unlink()
    assert run_tasks([task], builders, tmp_path).rows[0].ran


def test_no_line_of_the_terminal_is_wider_than_100(builders, folders):
    found = build(builders, folders)
    wide = TaskResults(found.rows, (BadLine(1, "x" * 100, "names no package: " + "y" * 100),))

    assert max(map(len, str(wide).splitlines())) <= 100


def test_without_an_engine_nothing_is_built_and_the_exit_code_says_so(folders, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{folders.parent}/no.sock")
    folders.write_text("one\n")
    tasks, _ = read_builds(folders, [])
    with open_executor() as executor:
        found = run_tasks(tasks, executor, folders.parent / "kept")

    assert found.exit_code == 3
    assert "no.sock" in found.rows[0].error
