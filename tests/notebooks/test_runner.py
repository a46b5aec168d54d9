"""Runs that must not pass as success do not, and those that succeed leave what they promise."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from custom_image import cli
from custom_image.cli.notebooks import choose_runner
from custom_image.errors import NotebookFailed, UsageError
from custom_image.notebooks.in_instance import run_in_instance
from custom_image.notebooks.outputs import hash_sources, refresh_outputs
from custom_image.notebooks.parameters import find_notebook, pick_values
from custom_image.notebooks.repetition import parse_repetition
from custom_image.notebooks.run import run_notebook

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.mark.parametrize(
    ("notebook", "reason"),
    [
        ("failing_cell", "ValueError: seven is not a picture"),
        ("sys_exit_zero", "SystemExit: 0"),
        ("dead_kernel", "Kernel died"),
        ("endless_cell", "It still ran after 2 s"),
    ],
)
def test_a_run_that_stops_early_fails_and_names_the_cell(notebook, reason, tmp_path):
    with pytest.raises(NotebookFailed, match=reason) as failure:
        run_notebook(str(FIXTURES / f"{notebook}.ipynb"), {}, tmp_path, cell_timeout_s=2)

    assert "cells[4], under 'It goes wrong here'" in str(failure.value)
    executed = nbformat.read(tmp_path / f"{notebook}.ipynb", as_version=4)
    assert "the last cell ran" not in str([cell.get("outputs") for cell in executed.cells])


def test_a_good_run_leaves_the_executed_notebook_and_its_results(tmp_path):
    executed = run_notebook(str(FIXTURES / "well_behaved.ipynb"), {"digit": 3}, tmp_path)

    results = json.loads(executed.with_suffix(".json").read_text())
    assert executed.parent == tmp_path
    assert results["parameters"]["digit"] == 3
    assert results["cells"][1]["heading"] == "Use them"
    assert results["cells"][1]["results"] == ["(3, 'quick', 1.5, False)"]


def test_its_kernel_is_not_talked_to_in_the_folder_of_the_project(tmp_path):
    node = nbformat.read(FIXTURES / "well_behaved.ipynb", as_version=4)
    source = "from pathlib import Path\n\n[path.name for path in Path().glob('kernel-*')]"
    node.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(node, tmp_path / "listing.ipynb")

    executed = run_notebook(str(tmp_path / "listing.ipynb"), {"digit": 3}, tmp_path / "out")

    results = json.loads(executed.with_suffix(".json").read_text())
    assert results["cells"][-1]["results"] == ["[]"]


def test_its_last_cells_are_run_once_more_with_another_parameter(tmp_path):
    notebook = FIXTURES / "well_behaved.ipynb"
    shows = nbformat.read(notebook, as_version=4).cells[3]

    again = parse_repetition(notebook, f"{shows.id}:digit=4")
    executed = run_notebook(str(notebook), {"digit": 3}, tmp_path, again=again)

    results = json.loads(executed.with_suffix(".json").read_text())
    found = [cell["results"][0] for cell in results["cells"] if cell["results"]]
    assert found == ["(3, 'quick', 1.5, False)", "(4, 'quick', 1.5, False)"]
    assert executed.name == notebook.name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digit=4", "expected CELL:NAME=VALUE"),
        ("nowhere:digit=4", "found 'nowhere:digit=4'"),
        ("{cell}:digti=4", "has no parameter 'digti'"),
        ("{cell}:digit=four", "must be of type int"),
        ("{cell}:digit", "set by its name and a value"),
    ],
)
def test_what_cannot_be_run_once_more_is_named(text, words):
    notebook = FIXTURES / "well_behaved.ipynb"
    cell = nbformat.read(notebook, as_version=4).cells[-1].id

    with pytest.raises(UsageError, match=words):
        parse_repetition(notebook, text.format(cell=cell))


def test_a_file_of_parameters_serves_several_notebooks_and_hides_no_misspelt_name():
    values = {"level": "quick", "engine_name": "process", "image_name": "a:1", "levle": "full"}

    image_saving, dockerfile_build = map(find_notebook, ("image_saving", "dockerfile_build"))

    assert pick_values(image_saving, values).keys() == {"level", "image_name", "levle"}
    assert pick_values(dockerfile_build, values).keys() == {"level", "engine_name", "levle"}


def test_only_image_saving_runs_in_an_instance_and_here_where_no_platform_runs(
    tmp_path, monkeypatch
):
    image_saving, dockerfile_build = map(find_notebook, ("image_saving", "dockerfile_build"))
    monkeypatch.chdir(tmp_path)

    assert choose_runner(image_saving, True) is run_in_instance
    assert choose_runner(image_saving, None) is not run_in_instance
    assert choose_runner(image_saving, False) is not run_in_instance
    assert choose_runner(dockerfile_build, True) is run_in_instance
    assert choose_runner(dockerfile_build, None) is not run_in_instance


def test_a_failed_run_does_not_leave_the_results_of_the_last_good_one(tmp_path):
    notebook = tmp_path / "fickle.ipynb"
    shutil.copy(FIXTURES / "well_behaved.ipynb", notebook)
    run_notebook(str(notebook), {}, tmp_path / "out")
    shutil.copy(FIXTURES / "failing_cell.ipynb", notebook)

    with pytest.raises(NotebookFailed):
        run_notebook(str(notebook), {}, tmp_path / "out")

    assert not (tmp_path / "out/fickle.json").exists()


def test_refreshed_outputs_hold_what_readers_need_and_nothing_of_the_run(tmp_path):
    notebook = tmp_path / "noisy_outputs.ipynb"
    shutil.copy(FIXTURES / "noisy_outputs.ipynb", notebook)

    refresh_outputs(str(notebook), {"digit": 3}, tmp_path / "out")

    text = notebook.read_text()
    node = nbformat.reads(text, as_version=4)
    assert len(node.cells) == len(nbformat.read(FIXTURES / notebook.name, as_version=4).cells)
    assert {cell.get("execution_count") for cell in node.cells} == {None}
    assert "papermill" not in text
    assert "progress 100 %" not in str([cell.get("outputs") for cell in node.cells])
    assert node.cells[2].outputs[0].text == "kept\n"
    assert node.cells[3].outputs[0].data == {"text/html": "<b>3</b>"}


def test_the_stamp_changes_with_the_code_and_with_the_parameters(tmp_path):
    notebook = tmp_path / "noisy_outputs.ipynb"
    shutil.copy(FIXTURES / "noisy_outputs.ipynb", notebook)
    refresh_outputs(str(notebook), {}, tmp_path / "out")

    node = nbformat.read(notebook, as_version=4)
    stamp = node.metadata.custom_image
    assert stamp.sources_sha256 == hash_sources(node, stamp.parameters)
    assert stamp.sources_sha256 != hash_sources(node, {"digit": 3})
    node.cells[2].source += "\n"
    assert stamp.sources_sha256 != hash_sources(node, stamp.parameters)


def test_an_output_with_a_path_of_this_machine_is_not_committed(tmp_path):
    notebook = tmp_path / "machine_path_in_output.ipynb"
    shutil.copy(FIXTURES / "machine_path_in_output.ipynb", notebook)
    before = notebook.read_bytes()

    with pytest.raises(NotebookFailed, match=r"cells\[2\] names a folder of this machine"):
        refresh_outputs(str(notebook), {}, tmp_path / "out")

    assert notebook.read_bytes() == before


@pytest.mark.parametrize("pair", [("-p", "digit", "3"), ("-p", "digit=3")], ids=["two words", "="])
def test_the_command_takes_parameters_in_both_spellings(pair, tmp_path, monkeypatch, capsys):
    notebook = str(FIXTURES / "noisy_outputs.ipynb")

    arguments = ["notebooks", "run", notebook, "--output-dir", str(tmp_path), *pair]
    monkeypatch.chdir(Path.cwd())  # the command enters the project; leave it again
    monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])

    with pytest.raises(SystemExit) as left:
        cli.main()

    executed = tmp_path / "noisy_outputs.ipynb"
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{executed}\n"
    assert json.loads(executed.with_suffix(".json").read_text())["parameters"] == {"digit": 3}
