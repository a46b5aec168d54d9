"""WebSocket, where a service speaks it at one of its urls."""

from __future__ import annotations

import json
from typing import Final

from custom_image.probing.sample_requests import JSON_TYPE, sample_value
from custom_image.probing.websocket import ABNORMAL, WebSocket
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import Source

WEBSOCKET: Final = Source(
    "Inference 2.0: WebSocket",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0013.html",
)
FRAME_BYTES: Final = 64 * 1024
MESSAGE_BYTES: Final = 200_000
PATIENCE_S: Final = 5.0
# What a server says of a message that it cannot put together, or not hold.
REFUSALS: Final = {1002: "protocol error", 1009: "message too big", ABNORMAL: "hung up"}


@rule(
    id="websocket.frames",
    title="A message over WebSocket that comes in frames of 64 KB is put together",
    why="The gateway cuts a longer message into such frames.",
    severity=Severity.WARNING,
    profiles=frozenset({Profile.V2}),
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("health.ready",),
    expected="200 kB in four frames are taken as one message",
    source=WEBSOCKET,
    remediation="Raise the server's limit of a message (uvicorn --ws-max-size, websockets "
    "max_size), and read messages, not frames.",
    good="async for message in websocket",
    bad="a limit of 65,536 bytes a message: close code 1009",
)
def frames(context: Context) -> Finding:
    """Send a short message, then the same one filled up with blanks, in frames."""
    url = context.service.url
    for api in context.config.apis:
        schema = api.request.data if api.request and api.request.content_type == JSON_TYPE else None
        message = json.dumps(sample_value(schema or {"type": "object"})).encode()
        socket = WebSocket.open(url, api.url, PATIENCE_S)
        if socket is None:
            continue
        with socket:
            socket.send(message, FRAME_BYTES)
            if code := socket.closed_with(1.0):
                return not_checked(f"{api.url} closes after a short message, with {code}")
            sent = socket.send(message.ljust(MESSAGE_BYTES), FRAME_BYTES)
            code = socket.closed_with(PATIENCE_S) if sent else ABNORMAL
        shown = f"{MESSAGE_BYTES:,} bytes in frames of {FRAME_BYTES:,}"
        if code in REFUSALS:
            return failed(f"{api.url} closes with {code}, {REFUSALS[code]}, after {shown}")
        return passed(f"{shown} taken at {api.url}")
    return not_checked("no api answers the handshake of WebSocket")
