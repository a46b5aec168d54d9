"""Run notebooks headless, strictly: what a plain papermill run lets through is an error here.

That is ``sys.exit(0)`` in a cell, magics and shell escapes that fail in silence
(https://github.com/nteract/papermill/issues/501), a run that ends before the last cell, and
parameters that change nothing (:mod:`custom_image.notebooks.parameters`).
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import papermill
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from custom_image.errors import NotebookFailed
from custom_image.notebooks.parameters import (
    Value,
    choose_values,
    find_notebook,
    read_notebook,
)
from custom_image.notebooks.repetition import Repetition, write_repeated
from custom_image.settings import find_workplace

# A socket's name has at most 103 bytes (macOS), its end "/kernel-1" or a larger number.
_LONGEST_FOLDER: Final = 90


def run_notebook(
    name: str,
    parameters: Mapping[str, Value] | None = None,
    output_dir: Path = Path("build/notebooks"),
    *,
    again: Repetition | None = None,
    cell_timeout_s: int = 1800,
) -> Path:
    """Run a notebook from top to bottom in a fresh kernel whose folder is the project's root.

    With ``again`` its last cells are then run once more.

    The executed notebook is kept in ``output_dir``, failed or not. Beside it stands a JSON file of
    the same name with the parameters, the time of each cell and the text of each result.

    Returns:
        The path of the executed notebook.

    Raises:
        UsageError: parameters that are unknown, of the wrong type, or used by no cell.
        NotebookFailed: a cell failed, or the run ended before the last cell.
    """
    notebook = find_notebook(name)
    values = choose_values(notebook, parameters or {})
    output_dir.mkdir(parents=True, exist_ok=True)
    executed = output_dir / notebook.name
    for stale in (executed, executed.with_suffix(".json")):
        stale.unlink(missing_ok=True)
    started = time.monotonic()
    try:
        with _quiet_kernels() as kernel_manager, tempfile.TemporaryDirectory() as folder:
            whole = write_repeated(notebook, again, Path(folder)) if again else notebook
            papermill.execute_notebook(
                str(whole),
                str(executed),
                parameters=values,
                kernel_name="python3",  # this interpreter, whatever kernel JupyterLab last saved
                cwd=str(find_workplace()),
                progress_bar={"disable": not sys.stderr.isatty(), "leave": False},
                execution_timeout=cell_timeout_s,
                config=Config({"KernelManager": kernel_manager}),
            )
        failure = ""
    except PapermillExecutionError as error:
        failure = f"{error.ename}: {error.evalue}".strip(": ")
    except CellTimeoutError:
        failure = f"It still ran after {cell_timeout_s} s."
    except RuntimeError as error:  # nbclient's DeadKernelError among them
        failure = f"{error}. Out of memory, or the cell ended its own process."
    _raise_unless_complete(notebook, executed, failure)
    _write_results(executed, values, time.monotonic() - started)
    return executed


@contextmanager
def _quiet_kernels() -> Iterator[dict[str, str]]:
    """Give kernels that start in this block their environment; yield the settings of their manager.

    They are talked to over sockets in a private folder, where nobody else on this machine can read
    along, as they could with TCP. A folder that is too long for the name of a socket leaves TCP.
    """
    with tempfile.TemporaryDirectory(prefix="run-") as folder:
        # papermill passes no environment on. Bars of cells would be thousands of lines of output.
        variables = {"TQDM_DISABLE": "1", "JUPYTER_RUNTIME_DIR": folder}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            if len(folder) > _LONGEST_FOLDER:
                yield {"transport": "tcp"}
            else:  # without an ip, the sockets would be in the folder where Python was started
                yield {"transport": "ipc", "ip": f"{folder}/kernel"}
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _raise_unless_complete(notebook: Path, executed: Path, failure: str) -> None:
    """Raise unless every code cell ran without an error, whatever papermill thinks of it.

    The cell that stopped a run is the last one that papermill started: one that killed its kernel
    has neither an error nor an execution count.
    """
    cells = read_notebook(executed).cells
    if not failure and all(map(_ran_well, cells)):
        return
    started = [i for i, c in enumerate(cells) if c.metadata.get("papermill", {}).get("start_time")]
    culprit = started[-1] if started else 0
    errors = [o for o in cells[culprit].get("outputs", []) if o.output_type == "error"]
    if errors and not failure:
        failure = f"{errors[0].ename}: {errors[0].evalue}".strip(": ")
    raise NotebookFailed(
        f"{notebook.name}: cells[{_source_index(cells, culprit)}], under "
        f"{_heading_above(cells, culprit)!r}, failed. {failure or 'The run ended there.'}\n"
        f"No cell after it ran. See {executed}."
    )


def _ran_well(cell: Any) -> bool:
    if cell.cell_type != "code" or not cell.source.strip():
        return True
    failed = cell.metadata.get("papermill", {}).get("exception")
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return bool(cell.execution_count) and not failed and not errors


def _source_index(cells: list[Any], index: int) -> int:
    """Return where the cell stands in the notebook as written, without what papermill adds."""
    added = ("injected-parameters", "papermill-error-cell-tag")
    return sum(not set(added) & set(cell.metadata.get("tags", [])) for cell in cells[:index])


def _heading_above(cells: list[Any], index: int) -> str:
    for cell in reversed(cells[:index]):
        if cell.cell_type == "markdown":
            prose = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            headings: list[str] = re.findall(r"^#{1,6} +(.+)$", prose, flags=re.MULTILINE)
            if headings:
                return headings[-1]
    return "the top"


def _write_results(executed: Path, parameters: Mapping[str, Value], seconds: float) -> None:
    cells = read_notebook(executed).cells
    results = {
        "notebook": executed.name,
        "parameters": dict(parameters),
        "seconds": round(seconds, 3),
        "cells": [
            {
                "index": _source_index(cells, index),
                "heading": _heading_above(cells, index),
                "seconds": cell.metadata.papermill.duration,
                "results": [
                    output.data["text/plain"]
                    for output in cell.outputs
                    if "text/plain" in output.get("data", {})
                ],
            }
            for index, cell in enumerate(cells)
            if cell.cell_type == "code"
            and "injected-parameters" not in cell.metadata.get("tags", [])
        ],
    }
    executed.with_suffix(".json").write_text(
        json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
