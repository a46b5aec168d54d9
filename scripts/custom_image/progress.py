"""Progress of long steps: on standard error, bars silent where nobody watches."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(
    total: int | None, description: str, unit: str, *, initial: int = 0
) -> tqdm[NoReturn]:
    """Return a bar to be used in a ``with`` block and moved by ``update(n)``.

    A ``unit`` of ``B`` (bytes) is scaled to kB and MB. The bar is silent in a pipe and in a log. In
    Jupyter and on a terminal it shows, unless the environment says ``TQDM_DISABLE=1``, as headless
    runs of the notebooks do to keep it out of the outputs.
    """
    from tqdm import tqdm  # here: `custom-image --help` shows no bar

    watched = sys.stderr.isatty() or _in_jupyter()
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        unit_scale=unit == "B",
        leave=False,
        disable=not watched or bool(os.environ.get("TQDM_DISABLE")),
    )


def _in_jupyter() -> bool:
    ipython = sys.modules.get("IPython")  # asked where it runs already, never imported for this
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config


def say(message: str) -> None:
    """Write what a long step has to say to standard error; standard output is for results."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def show_part(text: str) -> None:
    """Write a part of an answer that comes in parts to standard error, as it arrives."""
    sys.stderr.write(text)
    sys.stderr.flush()
