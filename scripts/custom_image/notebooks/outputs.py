"""Outputs that readers see, made only by machine: run headless, cleaned, stamped.

The stamp in ``metadata.custom_image`` is a hash of what the outputs came from. A test recomputes
it, so a notebook whose code was edited and not run again is found.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from custom_image.errors import NotebookFailed, UsageError
from custom_image.files import write_whole
from custom_image.notebooks.parameters import Value, choose_values, find_notebook, read_notebook
from custom_image.notebooks.run import run_notebook
from custom_image.settings import find_workplace


def refresh_outputs(
    name: str,
    parameters: Mapping[str, Value] | None = None,
    output_dir: Path = Path("build/notebooks"),
    *,
    run: Callable[[Path, dict[str, Value], Path], Path] | None = None,
) -> Path:
    """Run the notebook and put cleaned, stamped outputs into the notebook itself.

    ``run`` is where: here, as :func:`run_notebook` does, if it is None.

    Returns:
        The path of the notebook, rewritten in one step: a failed run leaves it as it was.

    Raises:
        UsageError: as :func:`run_notebook`, or nbstripout is not installed.
        NotebookFailed: as :func:`run_notebook`, or an output names a folder of this machine.
    """
    notebook = find_notebook(name)
    values = choose_values(notebook, parameters or {})
    executed = (
        run(notebook, values, output_dir)
        if run
        else run_notebook(str(notebook), values, output_dir)
    )
    node = clean_outputs(read_notebook(executed))
    _refuse_machine_paths(notebook, node)
    node.metadata["custom_image"] = {
        "parameters": values,
        "sources_sha256": hash_sources(node, values),
    }
    write_whole(notebook, nbformat.writes(node) + "\n")
    return notebook


def clean_outputs(node: Any) -> Any:
    """Drop what differs from run to run without telling a reader anything.

    That is execution counts, times, the injected cell, progress bars and warnings on standard
    error, and the plain text beside an HTML rendering.

    Raises:
        UsageError: nbstripout is not installed.
    """
    try:
        from nbstripout import strip_output
    except ImportError as error:
        raise UsageError("Refreshing outputs needs nbstripout: pip install -e '.[dev]'.") from error
    node = strip_output(
        node,
        keep_output=True,
        keep_count=False,
        keep_id=True,
        extra_keys=[
            "metadata.papermill",
            "metadata.widgets",
            "metadata.language_info.version",
            "cell.metadata.papermill",
            "cell.metadata.execution",
            "cell.metadata.ExecuteTime",
        ],
        drop_tagged_cells=["injected-parameters"],
    )
    for cell in node.cells:
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if "text/html" in output.get("data", {}):
                output.data.pop("text/plain", None)
    return node


def hash_sources(node: Any, parameters: Mapping[str, Value]) -> str:
    """Return the SHA-256 of what outputs come from: the code cells and the parameters' values."""
    code = [cell.source for cell in node.cells if cell.cell_type == "code"]
    document = json.dumps([code, dict(parameters)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(document.encode()).hexdigest()


def _refuse_machine_paths(notebook: Path, node: Any) -> None:
    # Every machine and image has a /tmp; what is this machine's are the names that tempfile makes.
    scratch = Path(tempfile.gettempdir(), tempfile.gettempprefix())
    folders = [f"{find_workplace()}/", f"{Path.home()}/", str(scratch)]
    for index, cell in enumerate(node.cells):
        for folder in folders:
            if any(folder in text for text in _texts(cell)):
                raise NotebookFailed(
                    f"{notebook.name}: an output of cells[{index}] names a folder of this machine, "
                    f"{folder}.\n"
                    "Readers have no such folder. Show a path relative to the project."
                )


def _texts(cell: Any) -> list[str]:
    if cell.cell_type != "code":
        return []
    shown = [
        text
        for output in cell.outputs
        for kind, text in output.get("data", {}).items()
        if kind.startswith("text/")
    ]
    return [output.get("text", "") for output in cell.outputs] + shown
