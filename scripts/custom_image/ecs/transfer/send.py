"""Bringing a build context to a server: only what the server lacks, and on from where it broke off.

Files are known by their content, so a moved, renamed or doubled file is not sent again, and of a
large one only the chunks that are new. What arrives is hashed where it lies, and is not there
before it is whole. The protocol is in ``on_server/receive.sh``. By hand: rsync sends what was moved
again, as benchmarks/libraries.md shows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from custom_image.build_context.display import size
from custom_image.ecs.ssh.command import Session
from custom_image.ecs.ssh.connection import Connection, script_command
from custom_image.ecs.transfer.manifest import CHUNK_BYTES, Manifest, Object
from custom_image.errors import Unavailable
from custom_image.progress import progress_bar

STORE: Final = ".custom-image"
"""The folder on the server, below the user's home, that holds everything of this tool."""
_END_S: Final = 60.0


@dataclass(frozen=True)
class Sent:
    """What it took to bring a context to the server.

    Attributes:
        files: those that the server lacked, whole or in part.
        bytes: of their contents that were sent.
        resumed_bytes: of what had arrived before the connection broke off.
        context_bytes: of the whole context.
        seconds: it took.
    """

    files: int
    bytes: int
    resumed_bytes: int
    context_bytes: int
    seconds: float = field(default=0.0, compare=False)


class Busy(Unavailable):
    """Another job uses this context now.

    Attributes:
        job: its id.
    """

    def __init__(self, job: str) -> None:
        super().__init__(
            f"job {job} builds this image on the server already.\n"
            f"Go on with it (custom-image jobs follow {job}), cancel it (jobs cancel {job}), "
            "or choose another --tag."
        )
        self.job = job


def send(connection: Connection, manifest: Manifest, key: str, free_bytes: int = 0) -> Sent:
    """Send the objects of a manifest that the server lacks.

    Args:
        connection: to the server.
        manifest: of the context.
        key: names the context on the server; hexadecimal.
        free_bytes: on the server's disk; 0 where that is not known.

    Raises:
        ConnectionLost: in the middle; sending again goes on from there.
        Busy: a job uses this context.
        Unavailable: the server's disk is full or broken.
        UsageError: a file changed meanwhile.
    """
    began = time.monotonic()
    with connection.session(script_command("receive.sh", STORE, key)) as session:
        there, arrived = _inventory(session)
        lacking = [o for o in manifest.objects.values() if there.get(o.id) != o.size_bytes]
        lacking_bytes = sum(found.size_bytes for found in lacking)
        if free_bytes and lacking_bytes > free_bytes:
            raise Unavailable(
                f"{connection.address} has too small a disk: {size(lacking_bytes)} of this context "
                f"are to be sent, {size(free_bytes)} are free; nothing was sent.\n"
                "Make room there (docker image prune), or give it a larger disk."
            )
        known = _known_chunks(session, lacking, there)
        session.write(f"chunk {CHUNK_BYTES}\n".encode())
        sent_bytes = resumed_bytes = 0
        with progress_bar(lacking_bytes, f"sending to {connection.address}", "B") as bar:
            for found in lacking:
                first = min(arrived.get(found.id, 0), len(found.chunks) - 1)
                skipped = first * CHUNK_BYTES
                resumed_bytes += skipped
                bar.update(skipped)
                session.write(f"part {found.id} {skipped}\n".encode())
                for command, added, sent in _commands(found, first, known):
                    session.write(command)
                    sent_bytes += sent
                    bar.update(added)
                session.write(f"whole {found.mode:o} {found.fraction_ns:09}\n".encode())
                if len(found.chunks) > 1:
                    known |= {h: (found.id, i) for i, h in enumerate(found.chunks)}
        session.write(b"end\n")
        result = session.finish(timeout_s=None)
    if result.code or not result.output.endswith("received\n"):
        reason = (result.error.strip().splitlines() or ["it gave no reason"])[-1]
        raise Unavailable(f"{connection.address} could not receive the context: {reason}")
    seconds = time.monotonic() - began
    return Sent(len(lacking), sent_bytes, resumed_bytes, manifest.size_bytes, seconds)


def _inventory(session: Session) -> tuple[dict[str, int], dict[str, int]]:
    """Return the objects there with their sizes, and how many chunks of broken-off ones arrived."""
    there: dict[str, int] = {}
    arrived: dict[str, int] = {}
    for line in session.lines():
        kind, _, rest = line.partition(" ")
        if kind == "ready":
            return there, arrived
        if kind == "busy":
            raise Busy(rest)
        name, _, number = rest.partition(" ")
        (there if kind == "object" else arrived)[name] = int(number)
    result = session.finish(_END_S)
    raise Unavailable(f"the server cannot receive: {result.error.strip() or result.code}")


def _known_chunks(
    session: Session, lacking: list[Object], there: dict[str, int]
) -> dict[str, tuple[str, int]]:
    """Return where the server has chunks of large files: by hash, the object and the index.

    Asked only where a large file is lacking: it may be an edited one.
    """
    known: dict[str, tuple[str, int]] = {}
    if all(len(found.chunks) == 1 for found in lacking):
        return known
    for name, size_bytes in there.items():
        if size_bytes > CHUNK_BYTES:
            session.write(f"chunks {name}\n".encode())
            for index, line in enumerate(session.lines()):
                if line == "end":
                    break
                known[line] = (name, index)
    return known


def _commands(
    found: Object, first: int, known: dict[str, tuple[str, int]]
) -> Iterator[tuple[bytes, int, int]]:
    """Yield commands that make a file, each with the bytes it adds and those that travel."""
    for index in range(first, len(found.chunks)):
        digest = found.chunks[index]
        length = min(CHUNK_BYTES, found.size_bytes - index * CHUNK_BYTES)
        if digest in known:
            name, place = known[digest]
            yield f"keep {digest} {length} {name} {place}\n".encode(), length, 0
        else:
            data = found.read_chunk(index)
            yield f"data {digest} {length}\n".encode() + data, length, length
