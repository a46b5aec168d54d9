"""Rules on the listening address, as the container itself sees it."""

from __future__ import annotations

from custom_image.drills.startup import EVERY_ADDRESS
from custom_image.engines import Socket
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import BIND_ADDRESS, ECS_EXAMPLE, PORT


@rule(
    id="network.port",
    title="The service listens on the declared port",
    why="The platform sends requests to that port of the container and to no other.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE | Needs.INSTANCE,
    requires=("boot.command", "boot.file"),
    exclusive=True,
    expected="the declared port",
    source=ECS_EXAMPLE,
    remediation=f"Listen on {PORT}, or declare the port it listens on (--port, and in the "
    "model's form).",
    good="app.run(port=8080)",
    bad="app.run(port=5000), while the form says 8080",
)
def port(context: Context) -> Finding:
    """Look for a listening socket on that port."""
    service = context.service
    sockets = service.start.sockets
    if service.start.has_ended:
        return not_checked("the service ended before it listened: see health.ready")
    if sockets is None:
        return not_checked("nothing here can look at its sockets")
    if not sockets:  # a slow start is no wrong port, and health.ready shows the log
        return not_checked("it listens on no port yet: see health.ready")
    shown = ", ".join(sorted({str(socket.port) for socket in sockets}))
    if service.port in {socket.port for socket in sockets}:
        return passed(f"{service.port}", _shown(sockets))
    return failed(f"listens on {shown}, declared is {service.port}", _shown(sockets))


@rule(
    id="network.bind-address",
    title="The service listens on every address of the container",
    why="Requests come from outside the container; one that listens on 127.0.0.1 gets none.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE | Needs.CONTAINER,
    requires=("network.port",),
    exclusive=True,
    expected=BIND_ADDRESS,
    remediation=f"Bind to {BIND_ADDRESS}: --host {BIND_ADDRESS}, or --bind {BIND_ADDRESS}:{PORT}.",
    good='app.run(host="0.0.0.0")',
    bad='app.run(host="127.0.0.1"), the default of Flask',
)
def bind_address(context: Context) -> Finding:
    """Look at the addresses of the sockets on the declared port."""
    service = context.service
    mine = [socket for socket in service.start.sockets or () if socket.port == service.port]
    if not mine:
        return not_checked("no socket on the declared port was seen")
    shown = ", ".join(sorted({socket.address for socket in mine}))
    if any(socket.address in EVERY_ADDRESS for socket in mine):
        return passed(shown)
    return failed(shown, _shown(mine))


def _shown(sockets: tuple[Socket, ...] | list[Socket]) -> str:
    return "\n".join(f"listens on {socket.address} port {socket.port}" for socket in sockets)
