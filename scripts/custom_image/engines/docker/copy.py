"""Working in a container that somebody else has started: files in, a command, files out."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import docker.errors

from custom_image.engines.docker.connection import connect
from custom_image.engines.docker.exec import execute
from custom_image.errors import Unavailable

if TYPE_CHECKING:
    from docker.models.containers import Container


class DockerWorkplace:
    """A running container, found by a label ``name=value``; to be used in a ``with`` block."""

    def __init__(self, label: str) -> None:
        self._client = connect()
        found = self._client.containers.list(filters={"label": label})
        if not found:
            self._client.close()
            raise Unavailable(f"no container with the label {label} runs in the Docker engine.")
        self._container: Container = found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def copy_in(
        self, files: Iterable[tuple[Path, str]], folder: str, owner: tuple[int, int]
    ) -> None:
        """Copy files, each as (here, path relative to ``folder``), streamed.

        Raises:
            Unavailable: the container is gone, or cannot hold them.
        """
        try:
            with _tar_of(files, owner) as stream:
                self._container.put_archive(folder, stream)
        except docker.errors.APIError as error:
            raise Unavailable(f"{folder} cannot be written: {error.explanation}") from error

    def execute(self, command: Sequence[str], *, folder: str) -> tuple[int, str, str]:
        """Run a command as the container's own user, in ``folder``.

        Returns:
            Its exit code, and what it wrote to standard output and to standard error.
        """
        code, output, error = execute(self._container, command, folder)
        return code, output.decode(errors="replace"), error.decode(errors="replace")

    def read(self, path: str) -> bytes | None:
        """Return a file of the container, or None where there is none."""
        try:
            chunks, _ = self._container.get_archive(path)
        except docker.errors.NotFound:
            return None
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            member = archive.extractfile(archive.getmembers()[0])
            return member.read() if member else None


@contextmanager
def _tar_of(files: Iterable[tuple[Path, str]], owner: tuple[int, int]) -> Iterator[Iterator[bytes]]:
    """Yield a tar that a thread writes while it is read: a gigabyte is never in memory."""
    reading, writing = os.pipe()
    faults: list[BaseException] = []

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid = owner
        member.uname = member.gname = ""
        return member

    def write() -> None:
        try:
            with (
                os.fdopen(writing, "wb", buffering=2**20) as target,
                tarfile.open(fileobj=target, mode="w|", bufsize=2**20) as archive,
            ):
                for path, name in files:
                    archive.add(path, name, recursive=False, filter=owned)
        except BrokenPipeError:
            pass  # the reader has given up, and says why
        except BaseException as error:  # noqa: BLE001 - raised below, in the reader's thread
            faults.append(error)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        with os.fdopen(reading, "rb", buffering=2**20) as source:
            yield iter(lambda: source.read(2**20), b"")
    finally:
        writer.join()
    if faults:
        raise faults[0]
