"""The socket that all workers accept from: its beginning, and an end that resets nobody."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct

from model_service.settings import Settings

BACKLOG = 2048
_SO_ATTACH_FILTER = 26

# Classic BPF on the TCP header: drop what opens a connection (SYN set), pass everything else.
_DROP_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of flags
        (0x45, 0, 1, 0x02),  # SYN? go on, else skip one
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass
    )
)


def bind(settings: Settings) -> socket.socket:
    """Return the listening socket.

    Raises:
        OSError: the address is in use, or not this host's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every accepted connection: gunicorn writes head and body apart, and would wait
    # 40 ms for the client's acknowledgement in between.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def turn_away_new_connections(listener: socket.socket) -> None:
    """Let no further connection in, while those in the queue can still be accepted.

    Closing a listening socket resets whatever waits in its queue: clients that count as connected
    and may have sent their request. Ignored for a moment instead, a client's kernel asks again a
    second later, and then finds the port closed.

    Source: https://docs.kernel.org/networking/filter.html
    """
    code = ctypes.create_string_buffer(_DROP_NEW_CONNECTIONS)
    program = struct.pack("HL", len(_DROP_NEW_CONNECTIONS) // 8, ctypes.addressof(code))
    with contextlib.suppress(OSError):  # a sandbox without filters resets a few clients, as all do
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
