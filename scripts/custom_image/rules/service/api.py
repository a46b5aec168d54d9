"""The apis that config.json declares, asked one by one."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from custom_image.model_config import Api
from custom_image.model_config.remarks import EVENT_STREAM
from custom_image.probing.http import Answer, ask
from custom_image.probing.sample_requests import sample_of
from custom_image.probing.streams import declares_stream
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
    warned,
)
from custom_image.rules.service.http import PATIENCE_S, propose
from custom_image.specification import CONFIG_FILE, SPECIFICATIONS, Source

PREFIX = Source(
    "FAQ: the address of a prediction",
    "https://support.huaweicloud.com/modelarts_faq/modelarts_05_0023.html",
)
NOT_SERVED = (404, 405, 415)


@rule(
    id="api.answers",
    title="Every api of config.json answers at its url, with its method and content type",
    why="The platform calls these urls; one that is not served answers 404 to every client.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("health.ready",),
    exclusive=True,
    expected="2xx to a sample of its schema",
    source=SPECIFICATIONS,
    remediation="Make apis[].url, method and request in config.json equal to what the service "
    "serves.",
    good='"url": "/" and the code serves POST /',
    bad='"url": "/predict" and the code serves POST /',
)
def answers(context: Context) -> Finding:
    """Send a sample that is made from each schema."""
    if not context.config.apis:
        return not_checked("config.json declares no apis")
    asked = _answers(context)
    evidence = "\n".join(f"{api.method.upper()} {api.url}: {answer}" for api, answer in asked)
    silent = [(a, r) for a, r in asked if not r.is_answer or r.status in NOT_SERVED]
    if silent:
        proposal = propose(max(answer.seconds for _, answer in silent))
        return failed(f"{_named(silent[0][0])}: {silent[0][1]}", evidence, proposal)
    refused = [(a, r) for a, r in asked if not r.is_good]
    moved = [(a, r) for a, r in refused if 300 <= r.status < 400]
    if moved:
        where = moved[0][1].headers.get("location", "nowhere")
        text = f"{_named(moved[0][0])} redirects to {where}: {moved[0][1].status}"
        return warned(
            text, evidence, "Declare the url as it is served: with the last /, or without."
        )
    if refused and sample_of(refused[0][0]).from_schema:
        text = f"{_named(refused[0][0])} refuses a sample of its schema: {refused[0][1]}"
        return warned(text, evidence, "Declare in request.data what the service requires.")
    if refused:
        text = f"{_named(refused[0][0])} declares no request.data to make a sample from"
        return not_checked(text, evidence)
    first = asked[0][1]
    return passed(
        str(first) if len(asked) == 1 else f"{len(asked)} apis, all {first.status}", evidence
    )


@rule(
    id="api.location",
    title="A Location in an answer keeps the prefix of the gateway",
    why="Behind the gateway a service is at /v2/infers/ID: an absolute Location leads past it.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("health.ready",),
    expected="none, or one that is relative to the url",
    source=PREFIX,
    remediation="Answer with a relative Location, or with the id alone; serve the url as it is "
    "declared, without a redirect.",
    good="Location: jobs/17",
    bad="Location: /jobs/17, or http://127.0.0.1:8080/jobs/17",
)
def location(context: Context) -> Finding:
    """Read the header of every answer to a sample."""
    asked = [(_named(api), answer) for api, answer in _answers(context)]
    found = [(name, a.headers["location"]) for name, a in asked if a.headers.get("location")]
    host = urlsplit(context.service.url).hostname
    lost = [
        f"{name} answers Location: {where}"
        for name, where in found
        if (parts := urlsplit(where)).hostname in (None, host) and parts.path.startswith("/")
    ]
    if lost:
        return failed(lost[0], "\n".join(lost))
    return passed("none" if not found else f"{len(found)}, none absolute", str(found or ""))


@rule(
    id="api.content-type",
    title="Answers have the declared content type",
    why="The console and generated clients read an answer by what config.json declares.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("api.answers",),
    expected="response.Content-type",
    source=CONFIG_FILE,
    remediation="Send that Content-Type, or declare the one that is sent.",
    good='"Content-type": "application/json" and JSON is answered',
    bad="text/html is answered, as Flask does for a plain string",
)
def content_type(context: Context) -> Finding:
    """Compare the header of each good answer with what is declared."""
    compared, wrong = [], []
    for api, answer in _answers(context):
        if api.response is None or not answer.is_good:
            continue
        sent = answer.headers.get("content-type", "none")
        compared.append(f"{_named(api)}: {sent}")
        if sent.startswith(EVENT_STREAM) or declares_stream(api):  # stream.content-type judges it
            continue
        if sent.partition(";")[0].strip().lower() != api.response.content_type.lower():
            wrong.append(f"{_named(api)} sends {sent}, declared is {api.response.content_type}")
    if not compared:
        return not_checked("no api declares a response, or none gave one")
    return failed(wrong[0], "\n".join(wrong)) if wrong else passed(compared[0], "\n".join(compared))


@rule(
    id="api.response-schema",
    title="Answers fit the declared response schema",
    why="The console shows results by the schema; what does not fit is shown wrongly.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("api.answers",),
    expected="response.data",
    source=CONFIG_FILE,
    remediation="Correct response.data in config.json; the platform's own sample does not fit "
    "its answer.",
    good='{"type": "integer"} and the answer is 7',
    bad='{"type": "string"} and the answer is 7',
)
def response_schema(context: Context) -> Finding:
    """Validate the JSON of each good answer."""
    compared, wrong = [], []
    for api, answer in _answers(context):
        if api.response is None or not api.response.data or not answer.is_good:
            continue
        if answer.headers.get("content-type", "").startswith(EVENT_STREAM) or declares_stream(api):
            continue
        fault = _fault(api.response.data, answer.body)
        text = answer.body[:200].decode(errors="replace")
        compared.append(f"{_named(api)}: {text}")
        if fault:
            wrong.append(f"{_named(api)}: {fault}")
    if not compared:
        return not_checked("no api declares response.data, or none gave an answer")
    if wrong:
        return failed(wrong[0], "\n".join([*wrong, *compared]))
    return passed(compared[0][:120], "\n".join(compared))


def _fault(schema: dict[str, Any], body: bytes) -> str:
    """Return why an answer does not fit, or an empty string."""
    try:
        document = json.loads(body)
    except ValueError:
        return "the answer is no JSON"
    error = next(iter(_validator()(schema).iter_errors(document)), None)
    if error is None:
        return ""
    return f"{error.json_path}: {error.message[:160]}"


@cache
def _validator() -> Any:
    """Return the class that validates; its library takes a second to import, so nothing else does.

    Draft 7 is the newest draft with the tuple form of `items` that the platform's samples use;
    `file` is the platform's own type.
    """
    from jsonschema import Draft7Validator
    from jsonschema.validators import extend

    checker = Draft7Validator.TYPE_CHECKER.redefine("file", lambda _, __: True)
    return extend(Draft7Validator, type_checker=checker)  # type: ignore[no-untyped-call]


def _answers(context: Context) -> list[tuple[Api, Answer]]:
    """Ask every api once, for all the rules here."""
    service, apis = context.service, context.config.apis

    def drill() -> list[tuple[Api, Answer]]:
        # The first one's request may be the author's own.
        requests = [service.request, *(sample_of(api) for api in apis[1:])]
        return [(a, ask(service.url, r, PATIENCE_S)) for a, r in zip(apis, requests, strict=False)]

    return context.once("apis", drill)


def _named(api: Api) -> str:
    return f"{api.method.upper()} {api.url}"
