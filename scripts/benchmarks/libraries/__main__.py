"""Libraries that could take the place of code here, beside that code in one run.

    python -m benchmarks.libraries rsync --keep       # as root: with the tests' server
    python -m benchmarks.libraries httpcore --keep
    python -m benchmarks.libraries oras --keep        # where `pip install oras` was done before

``--keep`` writes its part of libraries.md. What is decided by the figures is written by hand there.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Final

from benchmarks.machine import this_machine
from benchmarks.page import remark_on

PAGE: Final = Path(__file__).parents[1] / "libraries.md"
_PARTS: Final = {"rsync": "transfer", "httpcore": "upstream", "oras": "push"}
_END: Final = "\n<!-- end of what is measured: {} -->"


def main() -> None:
    """Measure one, and write its part of the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("library", choices=_PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help=f"write it into {PAGE.name}")
    given = parser.parse_args()
    machine = this_machine()
    measured = importlib.import_module(f"benchmarks.libraries.{_PARTS[given.library]}")
    found = measured.measure(given.rounds)
    remark = remark_on(machine)
    command = f"`python -m benchmarks.libraries {given.library} --rounds {given.rounds}`"
    part = "\n\n".join(p for p in (f"{command}: {machine}.", remark, found) if p)
    print(part)  # noqa: T201
    if given.keep:
        head, heading, rest = PAGE.read_text().partition(f"## {given.library}\n")
        _, end, rest = rest.partition(_END.format(given.library))
        PAGE.write_text(f"{head}{heading}\n{part}\n{end}{rest}")


if __name__ == "__main__":
    main()
