"""The port that the image and the model's form have to agree on, before anything runs."""

from __future__ import annotations

from custom_image.rules import Context, Finding, Needs, Severity, failed, passed, rule
from custom_image.specification import ECS_EXAMPLE, PORT


@rule(
    id="port.default",
    title="The declared port is the one that the platform takes for granted",
    why="Another port works only where the model's form names it; security groups open this one.",
    severity=Severity.WARNING,
    needs=Needs.NOTHING,
    limit_field="port",
    remediation=f"Listen on {PORT}, or name the port in the form each time a model is created.",
    good=f"custom-image verify mnist:1 --port {PORT}",
    bad="custom-image verify mnist:1 --port 9000",
)
def default(context: Context) -> Finding:
    """Compare the declared port; whether anything listens there is network.port."""
    is_default = context.port == context.edition.port.value
    return (passed if is_default else failed)(f"{context.port}")


@rule(
    id="port.exposed",
    title="EXPOSE names the declared port",
    why="EXPOSE opens nothing; it tells the reader, and tools, where the service listens.",
    severity=Severity.NOTE,
    needs=Needs.IMAGE,
    expected="EXPOSE of the declared port",
    source=ECS_EXAMPLE,
    remediation=f"Add EXPOSE {PORT} to the Dockerfile.",
    good=f"EXPOSE {PORT}",
    bad=f"EXPOSE 5000, while the service listens on {PORT}",
)
def exposed(context: Context) -> Finding:
    """Compare the TCP ports of the image's metadata with the declared one."""
    ports = context.image.exposed_ports
    shown = ", ".join(str(port) for port in sorted(ports)) or "no port"
    return (passed if context.port in ports else failed)(shown)
