"""Rules on the size of a request: as much as the gateway lets through."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from typing import Any

from custom_image.probing.http import ANSWER_TIMEOUT_S, Answer, ask
from custom_image.probing.sample_requests import (
    FORM_HEADER,
    FORM_TYPE,
    form,
    form_values,
    sample_value,
    seven_jpeg,
)
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
from custom_image.specification import HUAWEICLOUD

BODY_LIMIT = HUAWEICLOUD.request_body.source
MB = 10**6
SPARE_BYTES = 1000
PATIENCE_S = ANSWER_TIMEOUT_S
TOO_LONG = re.compile(r"(?i)too (?:large|long|big)|exceed|maximum (?:size|length)|max_\w*size")
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
    good = context.service.request
    if not good.body:
        return not_checked("the first api takes no body")
    answer = _fill(context)
    size = f"{context.edition.request_body.value:g} MB"
    evidence = f"{good.method} {good.path} with {size}: {answer}"
    if answer.timed_out:  # what limits a size refuses at once, or hangs up
        return not_checked(f"{answer}, which tells of no limit", evidence)
    if _is_too_large(answer):
        return failed(str(answer), evidence)
    return passed(f"{size}: {answer}"[:120], evidence)


@rule(
    id="body.text",
    title="The service takes a text as large as the gateway lets through",
    why="A picture of 9 MB is 12 MB in base64: a limit for one text refuses what the body's "
    "limit takes.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("api.answers", "http.latency"),
    expected="no refusal of 12 MB of base64 for its size",
    source=BODY_LIMIT,
    remediation="Count the bytes behind the base64, or raise the limit of a text: Starlette's "
    "max_part_size, Werkzeug's max_form_memory_size, maxLength of the schema.",
    good='{"image": "..."} of 12 MB gets an answer',
    bad="413 for a text above 1 MB, while files of 12 MB are taken",
)
def text_size(context: Context) -> Finding:
    """Put base64 of that size into the first member of the body that takes any text."""
    good, api = context.service.request, next(iter(context.config.apis), None)
    schema = api.request.data if api and api.request else None
    name = next((n for n, m in ((schema or {}).get("properties") or {}).items() if _is_free(m)), "")
    if not name or not good.body or good.method == "GET":
        return not_checked("the first api takes no text that could hold a file")
    if _is_too_large(_fill(context)):
        return not_checked("the whole body is limited: see body.size")
    target_bytes = int(context.edition.request_body.value * MB)
    room = (target_bytes - len(good.body) - SPARE_BYTES) // 4 * 3
    text = b64encode(seven_jpeg().ljust(room, b"\0")).decode()
    if good.content_type.startswith(FORM_TYPE):
        body = form({**form_values(schema), name: text})
        request = replace(good, body=body, content_type=FORM_HEADER)
    else:
        body = json.dumps({**sample_value(schema), name: text}).encode()
        request = replace(good, body=body)
    answer = ask(context.service.url, request, PATIENCE_S)
    said = answer.body[:2000].decode(errors="replace")
    evidence = f"{good.method} {good.path}, {name} of {len(text):,} characters: {answer}"
    if answer.timed_out:
        return not_checked(f"{answer}, which tells of no limit", evidence)
    if _is_too_large(answer) or (not answer.is_good and TOO_LONG.search(said)):
        return failed(str(answer), evidence)
    return passed(f"{len(text) / MB:.0f} MB in {name}: {answer}"[:120], evidence)


def _fill(context: Context) -> Answer:
    """Send the good request, filled up; once for both rules."""

    def drill() -> Answer:
        service = context.service
        good = service.request
        target_bytes = int(context.edition.request_body.value * MB)
        if good.content_type == FORM_HEADER:
            # The last part is filled up, before the line that closes the form.
            content, sign, end = good.body.rpartition(b"\r\n--")
            filled = content.ljust(target_bytes - len(sign + end), b"\0") + sign + end
        else:
            filled = good.body.ljust(target_bytes, b" ")
        return ask(service.url, replace(good, body=filled), PATIENCE_S)

    return context.once("body.size", drill)


def _is_too_large(answer: Answer) -> bool:
    return answer.status == TOO_LARGE or not answer.status


def _is_free(schema: Any) -> bool:
    """Tell whether a member takes any text."""
    bound = ("enum", "const", "format", "pattern", "maxLength", "default", "examples")
    is_text = isinstance(schema, dict) and schema.get("type") == "string"
    return is_text and not any(keyword in schema for keyword in bound)
