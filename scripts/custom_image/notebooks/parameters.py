"""Parameters of a notebook: its parameters cell, read strictly.

papermill only warns about parameters that no cell declares and says nothing of those that no cell
uses, so that a misspelt ``-p`` runs the notebook with its defaults. Here both are errors.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml

from custom_image.errors import UsageError
from custom_image.python_source import parse_source
from custom_image.settings import project_files

Value = str | int | float | bool

_TYPES: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: type = default  # help``."""

    name: str
    type: type[Value]
    default: Value
    help: str

    def parse(self, text: str) -> Value:
        """Return what ``text``, as typed on a command line, means for this parameter.

        Raises:
            UsageError: it means nothing in the parameter's type.
        """
        try:
            return _BOOLEANS[text.lower()] if self.type is bool else self.type(text)
        except (KeyError, ValueError) as error:
            wanted = "true or false" if self.type is bool else f"of type {self.type.__name__}"
            raise UsageError(f"Parameter {self.name} must be {wanted}, found {text!r}.") from error


def find_notebook(name: str) -> Path:
    """Return the notebook called ``name``: a path, a file name, or the slug behind the number.

    Raises:
        UsageError: there is none.
    """
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name)
    known = {path.stem: path for path in list_notebooks()}
    slugs = {stem.partition("_")[2]: path for stem, path in known.items()}
    wanted = Path(name).name.removesuffix(".ipynb")
    found = known.get(wanted) or slugs.get(wanted)
    if found is None:
        raise UsageError(
            f"No notebook is called {name!r}.{_suggest(wanted, [*known, *slugs])}\n"
            f"There is: {', '.join(known) or 'none'}."
        )
    return found


def list_notebooks() -> list[Path]:
    """Return the project's notebooks in reading order."""
    return sorted((project_files() / "notebooks").glob("[0-9]*.ipynb"))


def read_parameters(notebook: Path) -> dict[str, Parameter]:
    """Return what the notebook's parameters cell declares, in its order.

    Raises:
        UsageError: no or more than one such cell, a line that is not ``name: type = literal``, or
            a cell that is not plain Python.
    """
    tagged = [
        (index, cell)
        for index, cell in enumerate(read_notebook(notebook).cells)
        if "parameters" in cell.metadata.get("tags", [])
    ]
    if len(tagged) != 1:
        raise UsageError(
            f"{notebook.name}: expected one cell with the tag 'parameters', found {len(tagged)}.\n"
            "Tag the cell that holds the defaults: JupyterLab, property inspector, Cell tags."
        )
    helps = {
        name: found["help"] for name, found in papermill.inspect_notebook(str(notebook)).items()
    }
    parameters = {}
    for statement in _parse(notebook, *tagged[0]).body:
        parameter = _read_parameter(statement, helps)
        if parameter is None:
            raise UsageError(
                f"{notebook.name}: {ast.unparse(statement)!r} in the parameters cell is not a "
                "parameter.\n"
                "Write one line each: name: type = literal  # help, where type is str, int, "
                "float or bool."
            )
        parameters[parameter.name] = parameter
    return parameters


def read_notebook(notebook: Path) -> Any:
    """Return the notebook as nbformat's node, version 4.

    Raises:
        UsageError: the file is missing or no notebook.
    """
    try:
        return nbformat.read(notebook, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise UsageError(f"{notebook}: expected a notebook, but {error}") from error


def _read_parameter(statement: ast.stmt, helps: Mapping[str, str]) -> Parameter | None:
    match statement:
        case ast.AnnAssign(
            target=ast.Name(id=name), annotation=ast.Name(id=kind), value=ast.expr() as value
        ) if kind in _TYPES and name in helps:
            try:
                default = ast.literal_eval(value)
            except ValueError:
                return None
            if _fits(default, _TYPES[kind]):
                return Parameter(name, _TYPES[kind], default, helps[name])
    return None


def _fits(value: object, kind: type[Value]) -> bool:
    """Tell whether a value is of the type; True is no int, but 1 is a float."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def read_values(name: str) -> dict[str, Value]:
    """Return the parameter values in a YAML file: a path, or a name in notebooks/parameters.

    Raises:
        UsageError: the file is missing, or is not one mapping of names to values.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        path = project_files() / "notebooks" / "parameters" / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = [file.stem for file in sorted(path.parent.glob("*.yaml"))]
        raise UsageError(
            f"{name}: there is no such file of parameters.{_suggest(name, known)}\n"
            f"Name one of {', '.join(known) or 'your own'}, or a path that ends in .yaml."
        ) from error
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: expected a YAML file of parameters, but {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected lines of the form 'name: value', found {values!r}.")
    return values


def pick_values(notebook: Path, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return what of a file of parameters is for this notebook; files are shared by several.

    A name that no notebook declares is kept, for :func:`choose_values` to refuse.
    """
    mine = read_parameters(notebook)
    others = {name for other in list_notebooks() for name in read_parameters(other)}
    return {name: v for name, v in values.items() if name in mine or name not in others}


def parse_values(notebook: Path, pairs: Iterable[str]) -> dict[str, Value]:
    """Return the values in ``name=value`` pairs from a command line, in their declared types.

    Raises:
        UsageError: no pair, or a value that means nothing in its parameter's type.
    """
    declared = read_parameters(notebook)
    values: dict[str, Value] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"A parameter is set by its name and a value, found {pair!r}.")
        # A name that is not declared is kept, for choose_values to say what is near it.
        values[name] = declared[name].parse(text) if name in declared else text
    return values


def choose_values(notebook: Path, given: Mapping[str, Value]) -> dict[str, Value]:
    """Return the value of each parameter: the given one, else the notebook's default.

    Raises:
        UsageError: one that is unknown, of the wrong type, or that no cell uses.
    """
    declared = read_parameters(notebook)
    for name, value in given.items():
        if name not in declared:
            raise UsageError(
                f"{notebook.name} has no parameter {name!r}.{_suggest(name, list(declared))}\n"
                f"It has: {', '.join(declared)}."
            )
        if not _fits(value, declared[name].type):
            raise UsageError(
                f"{notebook.name}: parameter {name} must be of type "
                f"{declared[name].type.__name__}, found {value!r} ({type(value).__name__})."
            )
    unused = sorted(set(declared) - _names_used(notebook))
    if unused:
        raise UsageError(
            f"{notebook.name}: no cell uses the parameter {', '.join(unused)}.\n"
            "Setting it would change nothing. Use it, or take it out of the parameters cell."
        )
    return {p.name: given.get(p.name, p.default) for p in declared.values()}


def _names_used(notebook: Path) -> set[str]:
    """Return the names that code cells read; the parameters cell itself only sets them."""
    return {
        node.id
        for index, cell in enumerate(read_notebook(notebook).cells)
        if cell.cell_type == "code"
        for node in ast.walk(_parse(notebook, index, cell))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _parse(notebook: Path, index: int, cell: Any) -> ast.Module:
    source: str = cell.source
    try:
        return parse_source(source)
    except SyntaxError as error:
        raise UsageError(
            f"{notebook.name}: cells[{index}], line {error.lineno}, is not plain Python: "
            f"{(error.text or '').strip()!r}.\n"
            "Magics and shell escapes can fail without stopping a run; call a function instead."
        ) from error


def _suggest(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
