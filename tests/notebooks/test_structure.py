"""The notebooks keep what they promise a reader; no kernel is started for this."""

from __future__ import annotations

import ast
import base64
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from custom_image.notebooks.outputs import hash_sources
from custom_image.notebooks.parameters import (
    choose_values,
    list_notebooks,
    pick_values,
    read_parameters,
    read_values,
)

NOTEBOOKS = {path.stem: path for path in list_notebooks()}
BUILT = [
    "1 · A model worth serving",
    "2 · The model package",
    "3 · The build context",
    "4 · Build",
    "5 · Ask it",
    "6 · The verdict",
    "7 · Ship it",
]
SAVED = [
    *BUILT[:2],
    "3 · Into the instance",
    "4 · Ask it",
    "5 · The audit",
    "6 · The verdict",
    "7 · Save",
    "8 · Ship it",
]
# Cells that do the same in every scenario, by id: a reader who knows one notebook knows them all.
SHARED = ["digits", "train", "loss", "package", "config", "bad", "timeline", "pass", "size"]
SHARED += ["gateway", "delete"]
SHARED_HERE = [*SHARED, "ship", "upgrade"]
SHARED_BUILT = [*SHARED, "static"]
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:root|Users|tmp(?!/mind/)|work|workspace|builds|home/(?!ma-user|mind)\w+)/"
)
SECRET = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|(?i:password|secret|token|api_?key)\s*[=:]\s*\S")
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.While, ast.Try)

pytestmark = pytest.mark.parametrize("name", NOTEBOOKS)


def cells(name: str, kind: str = ""):
    node = nbformat.read(NOTEBOOKS[name], as_version=4)
    return [cell for cell in node.cells if kind in ("", cell.cell_type)]


def texts_shown(cell) -> list[str]:
    shown = [
        text for o in cell.outputs for kind, text in o.get("data", {}).items() if "text" in kind
    ]
    return shown + [o.text for o in cell.outputs if "text" in o]


def test_it_is_a_valid_notebook_with_names_for_its_cells(name):
    node = nbformat.read(NOTEBOOKS[name], as_version=4)

    nbformat.validate(node)
    ids = [cell.id for cell in node.cells]
    assert [cell_id for cell_id in ids if not re.fullmatch(r"[a-z]+(-[a-z]+)*", cell_id)] == []
    assert len(set(ids)) == len(ids)


def test_its_first_code_cell_holds_the_parameters_and_all_are_used(name):
    first = cells(name, "code")[0]

    assert first.metadata["tags"] == ["parameters"]
    assert choose_values(NOTEBOOKS[name], {}), "every parameter is read, typed and used"
    assert all(parameter.help for parameter in read_parameters(NOTEBOOKS[name]).values())


def test_the_parameter_files_fit_it(name):
    notebook = NOTEBOOKS[name]
    declared = {p.name: p.default for p in read_parameters(notebook).values()}
    ci = pick_values(notebook, read_values("ci"))

    assert pick_values(notebook, read_values("default")) == declared
    assert choose_values(notebook, ci) == declared | ci
    for other in NOTEBOOKS.values():
        same = declared.keys() & read_parameters(other).keys()
        assert {n: read_parameters(other)[n] for n in same} == {
            n: read_parameters(notebook)[n] for n in same
        }


def test_a_code_cell_is_a_few_calls_and_no_logic(name):
    """Logic belongs in the library, where it is tested; a cell is read at a glance."""
    for cell in cells(name, "code"):
        defined = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, LOGIC)]
        assert defined == [], cell.id
        assert len(cell.source.splitlines()) <= 12, cell.id


def test_prose_stands_before_code_and_at_both_ends(name):
    kinds = "".join("p" if cell.cell_type == "markdown" else "c" for cell in cells(name))

    assert kinds.startswith("pp")
    assert kinds.endswith("p")
    assert "ccc" not in kinds


def test_its_headings_are_those_of_every_scenario(name):
    prose = "\n".join(cell.source for cell in cells(name, "markdown"))

    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1
    assert re.findall(r"^## (.*)$", prose, flags=re.MULTILINE) == (
        SAVED if "image_saving" in name else BUILT
    )


def test_its_code_only_calls_and_shows(name):
    found = Counter()
    for cell in cells(name, "code"):
        for node in ast.walk(ast.parse(cell.source)):  # magics and shell escapes do not parse
            found[type(node).__name__] += 1
            if isinstance(node, ast.Call):
                found[ast.unparse(node.func).rpartition(".")[2]] += 1

    forbidden = {"FunctionDef", "ClassDef", "Lambda", "For", "While", "Try", "With", "If"}
    assert forbidden & set(found) == set()
    assert {"sleep", "print", "exec", "eval", "system", "run", "Popen"} & set(found) == set()


def test_nothing_in_it_belongs_to_one_machine(name):
    for cell in cells(name):
        texts = [cell.source, *(texts_shown(cell) if cell.cell_type == "code" else [])]
        for text in texts:
            assert MACHINE_PATH.search(text) is None, (cell.id, MACHINE_PATH.search(text)[0])
            assert SECRET.search(text) is None, (cell.id, SECRET.search(text)[0])


def test_shared_cells_are_the_same_in_every_notebook(name):
    mine = {cell.id: cell.source for cell in cells(name, "code")}

    wanted = SHARED_BUILT if "image_saving" not in name else SHARED_HERE
    assert [cell_id for cell_id in wanted if cell_id not in mine] == []
    for other in NOTEBOOKS:
        theirs = {cell.id: cell.source for cell in cells(other, "code")}
        both = (mine.keys() & theirs.keys()) - {"parameters"}  # whose lines are compared above
        assert {i: mine[i] for i in both} == {i: theirs[i] for i in both}


def test_its_links_into_the_project_lead_somewhere(name):
    prose = "\n".join(cell.source for cell in cells(name, "markdown"))
    inside = [link for link in re.findall(r"\]\(([^)]+)\)", prose) if "://" not in link]

    assert [link for link in inside if not (NOTEBOOKS[name].parent / link).exists()] == []


def test_every_cell_that_shows_something_has_its_output(name):
    for cell in cells(name, "code"):
        last = ast.parse(cell.source).body[-1]
        shows = isinstance(last, ast.Expr) and not ast.unparse(last).endswith(
            "raise_for_failures()"
        )
        assert bool(cell.outputs) == shows, cell.id


def test_its_outputs_are_clean(name):
    for cell in cells(name, "code"):
        assert cell.execution_count is None
        assert {o.output_type for o in cell.outputs} <= {"execute_result", "display_data"}, cell.id
        assert [o.name for o in cell.outputs if o.output_type == "stream"] == []
        assert "papermill" not in cell.metadata


def test_its_outputs_were_made_from_this_code_and_the_default_parameters(name):
    node = nbformat.read(NOTEBOOKS[name], as_version=4)
    stamp = node.metadata.get("custom_image", {})

    values = pick_values(NOTEBOOKS[name], read_values("default"))
    assert stamp.get("parameters") == values
    assert stamp.get("sources_sha256") == hash_sources(node, values), (
        "the code was edited and not run again: custom-image notebooks refresh"
    )


def test_it_is_small_enough_for_a_slow_line(name):
    pictures = {
        cell.id: len(base64.b64decode(output.data["image/png"]))
        for cell in cells(name, "code")
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    }

    assert len(pictures) >= 4
    assert {cell_id: size for cell_id, size in pictures.items() if size > 60_000} == {}
    assert Path(NOTEBOOKS[name]).stat().st_size < 400_000
