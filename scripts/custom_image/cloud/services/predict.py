"""Asking a service through the platform's gateway, as :class:`Access` proves who asks.

An asynchronous service answers by a task. Its wire form is inferred, and the local platform's: the
page tells of submitting, asking for the state and fetching the result, but shows no call.

Source: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0079.html
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import requests

from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.conversion import file_field
from custom_image.cloud.services.access import Access
from custom_image.cloud.services.answers import advice, who_answered
from custom_image.engines.client import OnPart, Prediction, read_text
from custom_image.errors import CloudRefused, Unavailable, UsageError
from custom_image.platform_api import TASKS
from custom_image.specification import CONTENT_TYPES, SYNCHRONOUS_LATENCY

if TYPE_CHECKING:
    from custom_image.model_config import Api

LONGEST_TASK_S: Final = 3600.0
_ENDED: Final = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True)
class _Answer:
    status: int
    text: str
    headers: Mapping[str, str]


def ask_now(
    access: Access,
    base_url: str,
    api: Api,
    body: bytes | Mapping[str, Any],
    *,
    filename: str,
    token: str = "",
    timeout_s: float | None = None,
    on_part: OnPart | None = None,
) -> Prediction:
    """Send one request and return the answer, or the refusal; ``on_part`` is told its parts.

    Raises:
        UsageError: the api takes no such body.
        Unavailable: nothing answers.
    """
    prepared = prepare(api, body, filename)
    began = time.perf_counter()
    answer = _send(
        access, api.method, f"{base_url.rstrip('/')}{api.url}", prepared, token, timeout_s, on_part
    )
    seconds = time.perf_counter() - began
    sent = body if isinstance(body, bytes) else b""
    request = described(api, body, filename)
    return _prediction(request, answer, seconds, sent)


def ask_later(
    access: Access,
    base_url: str,
    api: Api,
    body: bytes | Mapping[str, Any],
    *,
    filename: str,
    token: str = "",
    timeout_s: float | None = None,
) -> Prediction:
    """Submit a task, wait for its end, and return the service's own answer.

    Raises:
        UsageError: the api takes no such body.
        CloudRefused: the task failed, or has not ended by the deadline.
        Unavailable: nothing answers.
    """
    began = time.perf_counter()
    submitted = ask_now(access, base_url, api, body, filename=filename, token=token)
    if submitted.status != HTTPStatus.ACCEPTED:
        return submitted
    task = f"{base_url.rstrip('/')}{TASKS}/{submitted.json['task_id']}"

    def look() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(_send(access, "get", task, ({}, b""), token, None).text)
        return found

    ended = wait_until(
        f"task {submitted.json['task_id']}",
        look,
        is_settled=lambda found: found.get("status") in _ENDED,
        describe=lambda found: str(found.get("status")),
        timeout_s=timeout_s or LONGEST_TASK_S,
        poll_s=access.cloud.poll_s,
    )
    answer = _send(access, "get", f"{task}/result", ({}, b""), token, None)
    if ended["status"] != _ENDED[0] and answer.status != HTTPStatus.OK:
        raise CloudRefused(
            f"task {submitted.json['task_id']} failed: {ended.get('error_message') or 'no reason'}."
        )
    request = f"{described(api, body, filename)}, by a task"
    seconds = time.perf_counter() - began
    sent = body if isinstance(body, bytes) else b""
    return _prediction(request, answer, seconds, sent)


def _prediction(request: str, answer: _Answer, seconds: float, sent: bytes) -> Prediction:
    return Prediction(
        request,
        answer.status,
        answer.text,
        seconds,
        sent,
        said_by=who_answered(answer.headers, answer.text),
        advice=advice(answer.status, answer.headers, answer.text),
    )


def prepare(
    api: Api, body: bytes | Mapping[str, Any], filename: str
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a request as the api declares it.

    Raises:
        UsageError: a file for an api of JSON, or the reverse.
    """
    form, field = CONTENT_TYPES[1], file_field(api)
    is_form = api.request is not None and api.request.content_type == form
    if isinstance(body, Mapping):
        if is_form:
            raise UsageError(
                f"{api.url}: expected a file, as its request is {form}, found JSON members.\n"
                "Hand over the content of the file as bytes."
            )
        return {"Content-Type": CONTENT_TYPES[0]}, json.dumps(body).encode()
    if not is_form:
        return {"Content-Type": CONTENT_TYPES[0]}, body
    if not field:
        raise UsageError(
            f"{api.url}: expected a member of type file in its request, found none.\n"
            "Declare it under request.data.properties of config.json."
        )
    encoded = requests.Request("POST", "http://gateway", files={field: (filename, body)}).prepare()
    content = encoded.body if isinstance(encoded.body, bytes) else b""
    return {"Content-Type": encoded.headers["Content-Type"]}, content


def described(api: Api, body: bytes | Mapping[str, Any], filename: str) -> str:
    """Return a request as a reader would write it."""
    if isinstance(body, Mapping):
        return f"{api.method.upper()} {api.url} {json.dumps(body)[:60]}"
    field = file_field(api)
    return f"{api.method.upper()} {api.url} {field}=@{filename}" if field else f"POST {api.url}"


def _send(
    access: Access,
    method: str,
    url: str,
    prepared: tuple[dict[str, str], bytes],
    token: str,
    timeout_s: float | None,
    on_part: OnPart | None = None,
) -> _Answer:
    headers, body = prepared
    if access.cloud.wire.dry_run:
        shown = base64.b64encode(body[:30]).decode()
        access.cloud.wire.hold(f"{method.upper()} {url}\n{len(body):,} bytes: {shown}...")
        return _Answer(HTTPStatus.OK, "{}", {})
    limit_s = timeout_s or float(SYNCHRONOUS_LATENCY.value)
    try:
        with requests.request(
            method.upper(),
            url,
            headers=access.headers(method, url, headers, body, token),
            data=body,
            timeout=limit_s,
            stream=True,
        ) as answer:
            return _Answer(answer.status_code, read_text(answer, on_part), answer.headers)
    except requests.RequestException as error:
        raise Unavailable(
            f"{method.upper()} {url} got no answer ({type(error).__name__}, limit {limit_s:g} s).\n"
            "Is the service still running? `custom-image deploy` says so."
        ) from error
