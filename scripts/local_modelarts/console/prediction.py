"""One prediction, asked of the gateway as any client would."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

from custom_image.specification import CONSOLE_BODY, MIB
from local_modelarts.console.forms import Form, Upload, body_of
from local_modelarts.errors import ApiError
from local_modelarts.gateway.request import PREFIXES
from local_modelarts.http.iam_tokens import Tokens
from local_modelarts.platform import Platform, endpoint
from local_modelarts.storage.resources import Service

MOST_BYTES: Final = CONSOLE_BODY.value * MIB
_TIMEOUT_S: Final = 120
_SHOWN_CHARACTERS: Final = 20_000
# Only what a browser shows as a picture without running anything: no SVG.
_PICTURES: Final = {
    b"\x89PNG\r\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


@dataclass(frozen=True)
class Outcome:
    """What was answered.

    Attributes:
        form: the number of the form that was sent.
        status: of HTTP; 0 where nothing was sent, or no answer came.
        text: the body: JSON with indents, or as it came.
        pictures: what was uploaded, as ``data:`` addresses, by name.
    """

    form: int
    status: int
    text: str
    seconds: float
    pictures: Mapping[str, str]

    @property
    def is_good(self) -> bool:
        """Whether the model has answered."""
        return 200 <= self.status < 300


def predict(
    platform: Platform, service: Service, form: Form, values: Mapping[str, str | Upload]
) -> Outcome:
    """Send a form that was filled in."""
    began = time.monotonic()
    pictures: dict[str, str] = {}
    try:
        uploads, rest = body_of(form, values)
        pictures = {name: _picture(upload.content) for name, upload in uploads.items()}
        response = _send(platform, service, form, uploads, rest)
    except ApiError as error:
        return Outcome(form.number, 0, error.message, 0, pictures)
    except requests.RequestException as error:
        return Outcome(form.number, 0, str(error), time.monotonic() - began, pictures)
    return Outcome(
        form.number,
        response.status_code,
        _text(response),
        time.monotonic() - began,
        {name: address for name, address in pictures.items() if address},
    )


def _send(
    platform: Platform, service: Service, form: Form, uploads: Mapping[str, Upload], rest: Any
) -> requests.Response:
    token, _ = Tokens(platform.identity, platform.settings.token_s).make()
    base = endpoint(platform, "127.0.0.1")
    body: dict[str, Any] = {"json": rest}
    if form.method == "GET":
        body = {"params": rest}
    elif form.is_multipart:
        parts: dict[str, Any] = {
            name: (upload.name, upload.content, upload.content_type)
            for name, upload in uploads.items()
        }
        for name, value in rest.items():
            parts[name] = (None, value if isinstance(value, str) else json.dumps(value))
        body = {"files": parts}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(
            form.method,
            f"{base}{PREFIXES[service.generation]}{service.id}{form.url}",
            headers={"X-Auth-Token": token},
            timeout=_TIMEOUT_S,
            **body,
        )


def _text(response: requests.Response) -> str:
    try:
        text = json.dumps(response.json(), indent=2, ensure_ascii=False)
    except ValueError:
        text = response.content[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
    return text[:_SHOWN_CHARACTERS]


def _picture(content: bytes) -> str:
    kind = next((kind for magic, kind in _PICTURES.items() if content.startswith(magic)), "")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}" if kind else ""
