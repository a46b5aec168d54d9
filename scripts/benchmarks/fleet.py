"""The overhead of a fleet: images of one small layer, judged one by one.

    python -m benchmarks.fleet [NUMBER] [tcp://scheduler:8786]

It makes the images in this machine's engine, judges them at level static, which is little work for
such an image, and removes them. What is left of the wall time without the commands' own time is
the fleet's: inspecting the image, starting to wait, keeping what arrived, the matrix and its page.
"""

from __future__ import annotations

import io
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from custom_image.fleet.executors import open_executor
from custom_image.fleet.page import to_page
from custom_image.fleet.verification import judge_images

REPOSITORY = "custom-image/benchmark-fleet"
IMAGES = 200


@contextmanager
def images_of_one_layer(number: int) -> Iterator[list[str]]:
    """Give the names of so many images, each of one file; they are removed at the end."""
    client, names = docker.from_env(timeout=60), []
    try:
        for index in range(number):
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as archive:
                archive.addfile(tarfile.TarInfo(f"file-{index}"))
            client.api.import_image_from_data(
                content.getvalue(), repository=REPOSITORY, tag=str(index), changes=['CMD ["/x"]']
            )
            names.append(f"{REPOSITORY}:{index}")
        yield names
    finally:
        for name in names:
            client.images.remove(name, force=True)
        client.close()


def main(number: int = IMAGES, address: str = "") -> None:
    """Judge the images twice, and print what the fleet added to each."""
    with (
        images_of_one_layer(number) as names,
        tempfile.TemporaryDirectory() as folder,
        open_executor(address) as executor,
    ):
        for what in ("judged", "known by digest"):
            own_s: list[float] = []
            began, cpu_s = time.monotonic(), time.process_time()
            matrix = judge_images(
                names,
                ["--level", "static"],
                executor,
                Path(folder),
                told=lambda row: own_s.append(row.seconds if row.judged else 0.0),  # noqa: B023
            )
            page = to_page(matrix)
            wall_s = time.monotonic() - began
            added_ms = 1000 * (wall_s - sum(own_s)) / number
            cpu_ms = 1000 * (time.process_time() - cpu_s) / number
            sys.stdout.write(
                f"{number} images {what}: {wall_s:.1f} s, of it {sum(own_s):.1f} s the commands' "
                f"own; {added_ms:.0f} ms added to each, {cpu_ms:.0f} ms of CPU; "
                f"page of {len(page) / 1e3:.0f} kB\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, *sys.argv[2:3])
