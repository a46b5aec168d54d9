"""The last cells of a notebook once more, with other parameters: one run, two ways to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat

from custom_image.errors import UsageError
from custom_image.notebooks.parameters import (
    Value,
    choose_values,
    parse_values,
    read_notebook,
)


@dataclass(frozen=True)
class Repetition:
    """What is run once more, in the kernel that has run all of it.

    Attributes:
        cell: the id of the code cell that it begins with.
        values: of the parameters that differ.
    """

    cell: str
    values: Mapping[str, Value]


def parse_repetition(notebook: Path, text: str) -> Repetition:
    """Return what ``CELL:NAME=VALUE`` asks for.

    Raises:
        UsageError: there is no such code cell or parameter, or the value is of another type.
    """
    cell, colon, pair = text.partition(":")
    known = [c.id for c in read_notebook(notebook).cells if c.cell_type == "code"]
    if not colon or cell not in known:
        raise UsageError(
            f"{notebook.name}: expected CELL:NAME=VALUE with the id of a code cell, found {text!r}."
            f"\nIt has: {', '.join(known)}."
        )
    values = parse_values(notebook, [pair])
    choose_values(notebook, values)
    return Repetition(cell, values)


def write_repeated(notebook: Path, again: Repetition, folder: Path) -> Path:
    """Write the notebook with its last code cells twice, under the same name; return its path."""
    node = read_notebook(notebook)
    code = [cell for cell in node.cells if cell.cell_type == "code"]
    first = next(number for number, cell in enumerate(code) if cell.id == again.cell)
    lines = "\n".join(f"{name} = {value!r}" for name, value in again.values.items())
    for source in (lines, *(cell.source for cell in code[first:])):
        node.cells.append(nbformat.v4.new_code_cell(source))
    path = folder / notebook.name
    nbformat.write(node, path)
    return path
