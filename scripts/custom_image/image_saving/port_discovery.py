"""The port of a preset image's server, which is asked for and not assumed.

This project's heeds ``PORT``. The platform's own are said to listen on 8080 with HTTP, and on 8443
with TLS for the platform; neither is documented.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Collection
from typing import Final

from custom_image.engines.process.engine import LocalProcess
from custom_image.errors import ServiceNotReady, Unavailable
from custom_image.specification import PORT

LISTEN_TIMEOUT_S: Final = 60.0
_HANDSHAKE_S: Final = 2.0


def find_port(service: LocalProcess, name: str, timeout_s: float) -> None:
    """Wait for a service to listen for HTTP, and correct its URL where it does so elsewhere.

    The port that it was told comes first, then 8080, then any that speaks no TLS.

    Raises:
        ServiceNotReady: it ends, or listens nowhere or with TLS only for ``timeout_s``; with its
            log. It is stopped then.
    """
    told = int(service.url.rpartition(":")[2])
    deadline = time.monotonic() + timeout_s
    while True:
        ports = _ports(service, told)
        if (port := _choose(ports, told)) is not None:
            service.url = f"http://127.0.0.1:{port}"
            return
        if not service.is_running() or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    log = service.logs()
    service.stop()
    if ports:
        found = ", ".join(map(str, ports))
        raise ServiceNotReady(
            f"{name} listens with TLS only (port {found}), and is asked with HTTP here.\n"
            f"Ask it in a terminal: curl -kv -F images=@seven.jpg https://127.0.0.1:{ports[0]}/",
            log,
        )
    raise ServiceNotReady(f"{name} started nothing that listens:", log)


def _ports(service: LocalProcess, told: int) -> list[int]:
    try:
        return [found.port for found in service.listening()]
    except Unavailable:  # no /proc here: the stand-in on a Mac, which heeds PORT
        return [told]


def _choose(ports: Collection[int], told: int) -> int | None:
    for port in (told, PORT.value):
        if port in ports:
            return port
    return next((port for port in ports if not speaks_tls(port)), None)


def speaks_tls(port: int) -> bool:
    """Tell whether what listens on a port of this machine answers a TLS greeting."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), _HANDSHAKE_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:  # of TLS too: ssl.SSLError is one
        return False
