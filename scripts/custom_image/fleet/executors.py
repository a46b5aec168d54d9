"""Executors of a fleet's units: `concurrent.futures.Executor` is the one seam.

Here a unit is a process of this machine. With ``tcp://scheduler:8786`` it goes to the workers of a
Dask scheduler, which hands the unit of a lost worker to another one. Slurm and Kubernetes bring
their workers by dask-jobqueue and dask-kubernetes, without a line here.

Source: https://distributed.dask.org/en/stable/asynchronous.html and
https://distributed.dask.org/en/stable/tls.html
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.errors import Unavailable, UsageError
from custom_image.extras import require
from custom_image.progress import say

if TYPE_CHECKING:
    from distributed import Client

CONNECT_S: Final = 10.0
_ADDRESS: Final = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):\d+")


@dataclass(frozen=True)
class Tls:
    """The files by which a scheduler and this machine know each other.

    Attributes:
        ca: the authority that signed both.
        certificate: of this machine.
        key: of that certificate.
    """

    ca: Path
    certificate: Path
    key: Path


@contextmanager
def open_executor(
    address: str = "", *, tls: Tls | None = None, timeout_s: float = CONNECT_S
) -> Iterator[Executor]:
    """Give an executor of units, and call off at the end what has not begun.

    Args:
        address: of a Dask scheduler, ``tcp://host:8786`` or ``tls://...``; empty for this machine.
        tls: needed by ``tls://``.
        timeout_s: within which the scheduler has to answer.

    Raises:
        UsageError: the address is none, or the extra ``fleet`` is not installed.
        Unavailable: the scheduler does not answer.
    """
    if not address:
        # A thread waits for each process: a command is one already.
        pool = ThreadPoolExecutor(1, thread_name_prefix="unit")
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
        return
    client = _connect(address, tls, timeout_s)
    try:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        say(f"{address}: {workers or 'no'} workers" + ("" if workers else " yet; waiting for one"))
        # Equal arguments are not an equal result: the image behind a tag changes.
        yield client.get_executor(pure=False)
    finally:
        client.close(timeout=timeout_s)


def _connect(address: str, tls: Tls | None, timeout_s: float) -> Client:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError(
            f"--executor {address!r} is no address of a Dask scheduler.\n"
            "Expected tcp://host:8786, or tls://host:8786 with --tls-ca, --tls-cert and --tls-key."
        )
    if (match[1] == "tls") != (tls is not None):
        raise UsageError(
            f"--executor {address}: tls:// needs --tls-ca, --tls-cert and --tls-key, "
            "and they need tls://."
        )
    require("fleet")
    from distributed import Client, Security

    # What goes wrong is said below.
    for name in ("distributed", "distributed.client", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    security = Security()
    if tls:
        security = Security(
            require_encryption=True,
            tls_ca_file=str(tls.ca),
            tls_client_cert=str(tls.certificate),
            tls_client_key=str(tls.key),
        )
    try:
        return Client(address, timeout=timeout_s, security=security, set_as_default=False)
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"no Dask scheduler answers at {address} within {timeout_s:g} s "
            f"({str(error) or type(error).__name__}).\n"
            "Start one with `dask scheduler`, and on each machine with an engine: "
            f"dask worker {address} --nthreads 1"
        ) from error
