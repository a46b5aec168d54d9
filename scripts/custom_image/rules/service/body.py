"""How much a client may send: as much as the gateway lets through."""

from __future__ import annotations

from dataclasses import replace

from custom_image.probing.http import ask
from custom_image.probing.sample_requests import FORM_HEADER
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

MB = 10**6
TOO_LARGE = 413


@rule(
    id="body.size",
    title="The service takes bodies as large as the gateway lets through",
    why="nginx takes 1 MB by default: a larger picture is refused behind a gateway that took it.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE,
    requires=("api.answers", "http.latency"),
    limit_field="request_body",
    remediation="Raise the server's limit: nginx client_max_body_size 12m, or the framework's own.",
    good="client_max_body_size 12m;",
    bad="nginx in front, as it comes: 1 MB",
)
def size(context: Context) -> Finding:
    """Send a good request, filled up with what its format lets pass: blanks, or zeros at the end.

    Whether such a picture is still one is the model's own business: any answer will do but the one
    that says too large, and none.
    """
    service = context.service
    good = service.request
    if not good.body:
        return not_checked("the first api takes no body")
    target_bytes = int(context.edition.request_body.value * MB)
    if good.content_type == FORM_HEADER:
        # The last part is filled up, before the line that closes the form.
        content, sign, end = good.body.rpartition(b"\r\n--")
        filled = content.ljust(target_bytes - len(sign + end), b"\0") + sign + end
    else:
        filled = good.body.ljust(target_bytes, b" ")
    answer = ask(service.url, replace(good, body=filled))
    evidence = f"{good.method} {good.path} with {len(filled)} bytes: {answer}"
    if answer.status == TOO_LARGE or not answer.status:
        return failed(str(answer), evidence)
    return passed(f"{len(filled) / MB:.0f} MB: {answer}"[:120], evidence)
