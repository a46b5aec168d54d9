"""Running a command in a container: all that it wrote, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docker.models.containers import Container

_HEADER_BYTES: Final = 8
_STDERR: Final = 2


def execute(
    container: Container, command: Sequence[str], folder: str | None = None
) -> tuple[int, bytes, bytes]:
    """Return the exit code (126, 127: not started), standard output and standard error.

    The SDK's own ``exec_run`` reads the bare socket. What the engine sent together with the head of
    its answer was read into the buffer before it, and is lost there: a quick command on a busy
    machine then seems to have written nothing. So the buffer is what is read here.

    Source: https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """
    api = container.client.api  # type: ignore[union-attr]
    exec_id = api.exec_create(container.id, list(command), workdir=folder)["Id"]
    socket: Any = api.exec_start(exec_id, socket=True)
    answer = socket._response
    try:
        socket._sock.settimeout(None)  # a command may be silent for longer than the SDK waits
        frames: bytes = answer.raw._fp.fp.read()
    finally:
        answer.close()
        socket.close()
    output, error = bytearray(), bytearray()
    start = 0
    while start < len(frames):
        body = start + _HEADER_BYTES
        end = body + int.from_bytes(frames[start + 4 : body], "big")
        (error if frames[start] == _STDERR else output).extend(frames[body:end])
        start = end
    return int(api.exec_inspect(exec_id)["ExitCode"] or 0), bytes(output), bytes(error)
