"""Verifying an image on the server that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from custom_image.errors import ConnectionLost
from custom_image.verification import verify as judge

if TYPE_CHECKING:
    from custom_image.ecs.server.server import BuildServer
    from custom_image.report import Report


def verify(image: str, *, on: BuildServer, **options: Any) -> Report:
    """Judge an image on the engine of a server; see :func:`custom_image.verification.verify`.

    Raises:
        ConnectionLost: in the middle: what rules then saw was the network, not the image.
        UsageError: the server has no such image, or an option cannot be used.
        Unavailable: the server's engine does not answer.
    """
    lost = ConnectionLost(
        f"the connection to {on.address} broke off while {image} was judged; "
        "there is no verdict.\nVerify again: containers that were left there are removed then."
    )
    engine = on.engine
    try:
        report = judge(image, engine=engine, **options)
    except Exception as error:
        if on.connection.is_open():
            raise
        raise lost from error
    if not on.connection.is_open():
        raise lost
    return report
