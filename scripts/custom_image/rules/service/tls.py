"""Rules on TLS: whether the port speaks HTTP or HTTPS, and whether config.json says so."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from custom_image.probing.http import Request, ask
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
from custom_image.specification import SERVICE_UNREACHABLE

PATIENCE_S: Final = 3.0


@rule(
    id="tls.protocol",
    title="The port speaks the declared protocol",
    why="The platform speaks that protocol to it, and answers ModelArts.4503 where it fails.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE,
    requires=("network.port", "network.bind-address"),
    exclusive=True,
    expected="HTTP, or HTTPS where apis[].protocol says so",
    source=SERVICE_UNREACHABLE,
    remediation='Declare "protocol": "https" in apis[] where the server has a certificate, '
    'else "http".',
    good='"protocol": "https" and uvicorn --ssl-certfile',
    bad='"protocol": "https" and a server without a certificate',
)
def protocol(context: Context) -> Finding:
    """Look how the shared service was reached; where it was not, try the other protocol."""
    service = context.service
    if not service.url:
        return not_checked("the service never listened: see health.ready")
    declared = urlsplit(service.url).scheme
    if service.start.last_answer.status:
        return passed(declared.upper(), f"{service.request}: {service.start.last_answer}")
    other = {"http": "https", "https": "http"}[declared]
    url = service.url.replace(declared, other, 1)
    answer = ask(url, Request("GET", service.request.path), PATIENCE_S)
    if answer.status:
        seen = f"speaks {other.upper()}, declared is {declared.upper()}"
        return failed(seen, f"GET {url}{service.request.path}: {answer}")
    return not_checked("it answers neither HTTP nor HTTPS: see health.ready", str(answer))
