"""Running a command in a container: all that it wrote, or how it ended within a time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from custom_image.engines.process import procfs

if TYPE_CHECKING:
    from docker.models.containers import Container

_HEADER_BYTES: Final = 8
_STDERR: Final = 2
_SHORTEST_POLL_S: Final = 0.01
_LONGEST_POLL_S: Final = 0.25


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


def run_within(container: Container, command: Sequence[str], timeout_s: float) -> int:
    """Return the exit code (126, 127: not started); what the command writes is not read.

    Raises:
        TimeoutError: it had not ended in time. It is killed where its engine is of this machine.
    """
    api = container.client.api  # type: ignore[union-attr]
    deadline = time.monotonic() + timeout_s
    exec_id = api.exec_create(container.id, list(command), stdout=False, stderr=False)["Id"]
    api.exec_start(exec_id, detach=True)
    pause_s = _SHORTEST_POLL_S
    while (found := api.exec_inspect(exec_id))["Running"]:
        if time.monotonic() >= deadline:
            # The id is one of the engine's machine, which need not be this one (Docker Desktop).
            if procfs.contains(found["Pid"], "cgroup", str(container.id)):
                with suppress(ProcessLookupError):
                    os.kill(found["Pid"], signal.SIGKILL)
            raise TimeoutError(f"not done within {timeout_s:g} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
    return int(found["ExitCode"] or 0)
