"""A notebook's parameters are read strictly: what papermill only warns about is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from custom_image.errors import UsageError
from custom_image.notebooks.parameters import (
    choose_values,
    find_notebook,
    parse_values,
    read_parameters,
    read_values,
)

FIXTURES = Path(__file__).parents[2] / "notebooks/fixtures"
WELL_BEHAVED = FIXTURES / "well_behaved.ipynb"


def test_parameters_have_a_type_a_default_and_a_help():
    found = read_parameters(WELL_BEHAVED)

    assert {p.name: (p.type, p.default) for p in found.values()} == {
        "digit": (int, 7),
        "level": (str, "quick"),
        "scale": (float, 1.5),
        "push": (bool, False),
    }
    assert found["level"].help == "how long to wait"


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        ("no_parameters_cell", "expected one cell with the tag 'parameters', found 0"),
        ("two_parameters_cells", "expected one cell with the tag 'parameters', found 2"),
        ("untyped_parameter", "'digit = 7' in the parameters cell is not a parameter"),
        ("computed_parameter", "3 \\+ len\\('four'\\).* is not a parameter"),
        ("default_of_another_type", "'seven'\".* is not a parameter"),
        ("unused_parameter", "no cell uses the parameter scale"),
        ("failing_magic", r"cells\[4\], line 1, is not plain Python: '%no_such_magic'"),
        ("failing_shell_escape", r"cells\[4\], line 1, is not plain Python: '!false'"),
    ],
)
def test_a_notebook_that_could_mislead_is_refused_before_it_runs(notebook, message):
    with pytest.raises(UsageError, match=message):
        choose_values(FIXTURES / f"{notebook}.ipynb", {})


def test_given_values_replace_defaults_and_the_rest_stays():
    assert choose_values(WELL_BEHAVED, {"digit": 3, "scale": 2}) == {
        "digit": 3,
        "level": "quick",
        "scale": 2,
        "push": False,
    }


def test_an_unknown_parameter_is_an_error_that_suggests_the_near_one():
    with pytest.raises(UsageError, match=r"no parameter 'levle'\. Did you mean 'level'\?"):
        choose_values(WELL_BEHAVED, {"levle": "full"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("digit", "7"), ("digit", 7.0), ("digit", True), ("push", 1), ("level", 3), ("scale", "2")],
)
def test_a_value_of_another_type_is_an_error(name, value):
    with pytest.raises(UsageError, match=f"parameter {name} must be of type"):
        choose_values(WELL_BEHAVED, {name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("digit", "3", 3),
        ("level", "3", "3"),
        ("scale", "2", 2.0),
        ("push", "true", True),
        ("push", "No", False),
    ],
)
def test_text_from_a_command_line_becomes_the_declared_type(name, text, value):
    parsed = read_parameters(WELL_BEHAVED)[name].parse(text)

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("name", "text"), [("digit", "7.5"), ("push", "maybe"), ("scale", "big")])
def test_text_that_means_nothing_in_the_declared_type_is_an_error(name, text):
    with pytest.raises(UsageError, match=f"Parameter {name} must be"):
        read_parameters(WELL_BEHAVED)[name].parse(text)


def test_a_values_file_is_one_mapping(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("level: quick\ndigit: 7\n")
    bad.write_text("- level\n")

    assert read_values(str(good)) == {"level": "quick", "digit": 7}
    with pytest.raises(UsageError, match="expected lines of the form 'name: value'"):
        read_values(str(bad))


def test_a_values_file_of_the_project_goes_by_its_name():
    assert read_values("ci")["level"] == "quick"
    with pytest.raises(UsageError, match=r"no such file of parameters\. Did you mean 'default'\?"):
        read_values("defualt")


def test_pairs_from_a_command_line_take_their_declared_types():
    assert parse_values(WELL_BEHAVED, ["digit=3", "level=a=b"]) == {"digit": 3, "level": "a=b"}
    with pytest.raises(UsageError, match="by its name and a value, found 'digit'"):
        parse_values(WELL_BEHAVED, ["digit"])
    with pytest.raises(UsageError, match="Did you mean 'digit'"):
        choose_values(WELL_BEHAVED, parse_values(WELL_BEHAVED, ["digti=3"]))


def test_a_notebook_is_found_by_its_path_and_a_misspelt_name_is_suggested():
    assert find_notebook(str(WELL_BEHAVED)) == WELL_BEHAVED
    with pytest.raises(UsageError, match="No notebook is called 'dockerfile_biuld'"):
        find_notebook("dockerfile_biuld")


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text("{not json")

    with pytest.raises(UsageError, match="expected a notebook"):
        read_parameters(path)
