"""Finding a Docker engine on this machine, and saying why there is none."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import docker.errors

from custom_image.errors import Unavailable

if TYPE_CHECKING:
    from docker import DockerClient

_DEFAULT_HOST = "unix:///var/run/docker.sock"
_CONNECT_TIMEOUT_S = 5
# A build step may be silent for minutes; the SDK counts silence, not the whole answer.
_SILENCE_TIMEOUT_S = 900
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_GO_ON = 'or choose the engine "process", which runs the boot file without a container.'


def engine_host() -> str:
    """Return where the engine is looked for."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT_HOST


def connect(tunnel: str = "", *, timeout_s: float = _CONNECT_TIMEOUT_S) -> DockerClient:
    """Return a client of an engine that has answered.

    Args:
        tunnel: a socket of this machine that leads to an engine of another, ``unix:///...``; where
            empty, :func:`engine_host` says which engine is meant.
        timeout_s: how long it may take to answer at first; a build may be silent for minutes.

    Raises:
        Unavailable: none answers, it may not be used, or ``DOCKER_HOST`` is another machine.
    """
    host = tunnel or engine_host()
    url = urlsplit(host)
    if url.scheme != "unix" and url.hostname not in _LOOPBACK:
        raise Unavailable(
            f"DOCKER_HOST is {host}, an engine on another machine; only one on this machine can be "
            f"used for now,\nbecause services are asked at 127.0.0.1. Unset DOCKER_HOST, {_GO_ON}"
        )
    # The SDK hands it on to requests, which takes a float; the stubs know only int.
    timeout: Any = timeout_s
    try:
        _knock(
            url.path if url.scheme == "unix" else (str(url.hostname), url.port or 2375), timeout_s
        )
        client = (
            docker.DockerClient(tunnel, timeout=timeout, version="auto")
            if tunnel
            else docker.from_env(timeout=timeout, version="auto")
        )
    except PermissionError as error:
        raise Unavailable(
            f"the Docker engine at {host} may not be used by this user (permission denied).\n"
            f"Join the group docker (sudo usermod -aG docker $USER, then log in again), {_GO_ON}"
        ) from error
    except (OSError, docker.errors.DockerException) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise Unavailable(
            f"no Docker engine answers at {host} ({reason or error}).\n"
            f"Start it, or run scripts/ensure_docker.sh as root, {_GO_ON}"
        ) from error
    client.api.timeout = _SILENCE_TIMEOUT_S
    return client


def _knock(address: str | tuple[str, int], timeout_s: float) -> None:
    """Open and close a connection: a plain OSError says more than the SDK's chain of errors."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(timeout_s)
        connection.connect(address)
