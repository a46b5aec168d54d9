"""Time to an image after an edit, beside a build from nothing in the same run.

    python -m benchmarks.rebuild --rounds 5

The package is the one of the last `make demo`, copied; what is timed is what `custom-image build`
does once it has a package: write the context and build. The table is written to rebuild.md beside
this file, with the machine and the date.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from custom_image.build_context import BuildContext, write_build_context
from custom_image.builders.base import ensure_base_image
from custom_image.builders.docker import build
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import CustomImageError, UsageError
from custom_image.model_package import ONNX_NAME, SERVICE_FILE, read_package
from custom_image.progress import say
from custom_image.settings import enter_project

PACKAGE: Final = Path("build/model_package/model")
PAGE: Final = Path(__file__).with_name("rebuild.md")
TAG: Final = "custom-image/benchmark:rebuild"
REQUIRED_S: Final = {"after an edit of the code": 1.5, "after new weights": 2.5}


class Author:
    """Someone who edits a package and builds it again."""

    def __init__(self, folder: Path) -> None:
        self.engine = DockerEngine.connect()
        self.package = read_package(shutil.copytree(PACKAGE, folder / "model"))
        self._folder = folder / "context"

    def write_context(self) -> BuildContext:
        """Write the build context, replacing the last one."""
        return write_build_context(self.package, folder=self._folder)

    def build(self) -> None:
        """Build as the tool does, context included."""
        build(self.write_context(), TAG, engine=self.engine)

    def build_from_nothing(self) -> None:
        """Build as the engine's own command does, without its cache, of a context that is there."""
        context = self.write_context()
        base = ensure_base_image(context.base_image, batch=False, engine=self.engine)
        arguments = {"BASE_IMAGE": base, **context.arguments}
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command = ["docker", "build", "--quiet", "--no-cache", "--network=none", f"--tag={TAG}"]
        subprocess.run([*command, *given, context.folder], check=True, stdout=subprocess.DEVNULL)

    def edit_code(self) -> None:
        """Append a comment that was never there before."""
        with (self.package.folder / SERVICE_FILE.name).open("a") as file:
            file.write(f"# {time.time_ns()}\n")

    def replace_weights(self) -> None:
        """Change every weight a little: no byte of the tensors stays as it was."""
        import onnx
        from onnx import numpy_helper

        path = self.package.folder / ONNX_NAME
        model = onnx.load(path)
        factor = np.float32(1 + time.time_ns() % 1000 / 1e6)
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(values * factor, tensor.name))
        onnx.save(model, path)


def main() -> None:
    """Measure in turn, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of every measurement, in turn")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the table is written")
    options = parser.parse_args()
    page_file = options.page.resolve()
    enter_project()
    machine = this_machine()
    try:
        if not (PACKAGE / ONNX_NAME).is_file():
            raise UsageError(f"{PACKAGE} holds no model package. Run `make demo` first.")
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Author(Path(folder)), options.rounds)
    except CustomImageError as error:
        say(str(error))
        raise SystemExit(error.exit_code) from error
    baseline_s = median(next(iter(found.values())))
    rows = [
        [
            what,
            f"{median(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{median(seconds) / baseline_s:.2f}",
            _required(what, median(seconds)),
        ]
        for what, seconds in found.items()
    ]
    head = ["build", "seconds, median", "slowest", "times the first row", "required"]
    parts = [
        "# How long an author waits after an edit",
        f"Written by `{' '.join(['python -m benchmarks.rebuild', *sys.argv[1:]])}`.",
        f"{machine}; {options.rounds} rounds, in turn.",
        remark_on(machine),
        table(head, rows),
    ]
    text = "\n\n".join(filter(None, parts)) + "\n"
    page_file.write_text(text)
    say(f"{text}\nwritten to {page_file}")


def measure(author: Author, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every round, by what was built; the first is from nothing."""

    def nothing() -> None:
        pass

    steps: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "from nothing, by `docker build --no-cache`": (nothing, author.build_from_nothing),
        # A build without cache spoils the classic builder's cache of the first stage, once.
        "nothing changed": (author.build, author.build),
        "after an edit of the code": (author.edit_code, author.build),
        "after new weights": (author.replace_weights, author.build),
    }
    found: dict[str, list[float]] = {what: [] for what in steps}
    try:
        author.build()
        for number in range(rounds):
            for what, (edit, make) in steps.items():
                edit()
                began = time.monotonic()
                make()
                found[what].append(time.monotonic() - began)
                say(f"round {number + 1}: {what}: {found[what][-1]:.2f} s")
    finally:
        author.engine.remove_image(TAG)
    return found


def _required(what: str, seconds: float) -> str:
    if what not in REQUIRED_S:
        return ""
    text = f"< {REQUIRED_S[what]:g} s"
    return text if seconds < REQUIRED_S[what] else f"**missed**: {text}"


if __name__ == "__main__":
    main()
