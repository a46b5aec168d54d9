"""Messages between a worker and the model process: Python objects over a Unix socket.

What is small travels in the message. What is large, arrays above all, is written once into memory
without a name, whose descriptor travels; the receiver maps it, so that its arrays are that memory.
Nothing needs ``/dev/shm``. Both ends are processes of this package, forked from one supervisor.

Source: PEP 574 (out-of-band buffers), memfd_create(2), unix(7) (SCM_RIGHTS, SOCK_SEQPACKET).
"""

from __future__ import annotations

import array
import contextlib
import io
import mmap
import os
import pickle
import secrets
import socket
import struct
import sys
import tempfile
import threading
from typing import Any

INLINE_BYTES = 48 * 1024
"""Well below what a socket buffer takes; larger messages travel as memory."""
SEND_SECONDS = 5
"""A receiver that does not take a message for so long is given up."""

_COUNT = struct.Struct("<I")


class Link:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        timeout = struct.pack("ll", SEND_SECONDS, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        self._lock = threading.Lock()

    def send(self, message: object) -> None:
        """Send an object.

        Raises:
            OSError: the other end is gone, or does not read.
            Exception: the object cannot be pickled.
        """
        pieces = dump(message)
        sizes = [len(piece) for piece in pieces]
        head = struct.pack(f"<{len(sizes) + 1}I", len(sizes), *sizes)
        if sum(sizes) <= INLINE_BYTES:
            with self._lock:
                self._socket.sendmsg([head, *pieces])
            return
        descriptor = _write_memory(pieces)
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
            with self._lock:
                self._socket.sendmsg([head], [rights])
        finally:
            os.close(descriptor)

    def receive(self) -> Any:
        """Return the next object.

        Raises:
            EOFError: the other end is gone.
        """
        try:
            data, rights, _, _ = self._socket.recvmsg(4 * INLINE_BYTES, socket.CMSG_SPACE(4))
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        (count,) = _COUNT.unpack_from(data)
        sizes = struct.unpack_from(f"<{count}I", data, 4)
        # A copy that can be written to: steps may change their input in place.
        content, position = memoryview(bytearray(data)), 4 * (count + 1)
        if rights:
            descriptor = array.array("i", rights[0][2])[0]
            try:
                content, position = memoryview(mmap.mmap(descriptor, sum(sizes))), 0
            finally:
                os.close(descriptor)
        pieces = []
        for size in sizes:
            pieces.append(content[position : position + size])
            position += size
        return load(pieces)

    def close(self) -> None:
        """Let the other end see that this one is gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def listen() -> socket.socket:
    """Return a socket on which a model process accepts; its name nobody else can guess."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"\0model-service-{secrets.token_hex(16)}")
    listener.listen(1024)
    return listener


def connect(listener: socket.socket) -> Link:
    """Connect to a listener that this process inherited; waits until it is accepted.

    Raises:
        OSError: nobody listens any more.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(listener.getsockname())
    return Link(connection)


def dump(message: object) -> list[Any]:
    """Return an object as bytes and the buffers that it refers to."""
    if sys.version_info < (3, 8):
        return [pickle.dumps(message, protocol=4)]
    buffers: list[pickle.PickleBuffer] = []
    target = io.BytesIO()
    _Pickler(target, protocol=5, buffer_callback=buffers.append).dump(message)
    return [target.getbuffer(), *(buffer.raw() for buffer in buffers)]


def load(pieces: list[Any]) -> Any:
    """Return the object of :func:`dump`; its arrays are the pieces, not copies of them."""
    if sys.version_info < (3, 8):
        return pickle.loads(pieces[0])
    options: dict[str, Any] = {"buffers": pieces[1:]}
    return pickle.loads(pieces[0], **options)


class _Pickler(pickle.Pickler):
    """Knows the tensors of torch, which otherwise copy themselves into the message."""

    def reducer_override(self, value: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is None or type(value) is not torch.Tensor:
            return NotImplemented
        try:
            return _to_tensor, (value.detach().cpu().numpy(),)
        except TypeError:  # a type that numpy lacks, bfloat16 for example
            return NotImplemented


def _to_tensor(values: Any) -> Any:
    import torch

    return torch.from_numpy(values)


def _write_memory(pieces: list[Any]) -> int:
    """Return the descriptor of new memory that holds the pieces."""
    size = sum(len(piece) for piece in pieces)
    try:
        descriptor: int = getattr(os, "memfd_create")("message")  # noqa: B009 - not in Python 3.7
    except (AttributeError, OSError):  # a sandbox may lack it, too
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    with mmap.mmap(descriptor, size) as memory:
        for piece in pieces:
            memory.write(piece)
    return descriptor
