"""Asking a running service as a client of the platform would."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from typing import Any

import requests

from custom_image.errors import Unavailable
from custom_image.specification import HEALTH_URL, INFERENCE_URL, SYNCHRONOUS_LATENCY

OnPart = Callable[[str], None]
"""Told each part of an answer that comes in parts."""

_PICTURE_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif"}
_LONGEST_TEXT = 500
_LONGEST_MEMBERS = 60


@dataclass(frozen=True)
class Prediction:
    """A request and what the service answered.

    Attributes:
        request: as a reader would write it, for example ``POST / images=@digit.jpg``.
        status: of HTTP.
        text: the body of the answer.
        seconds: from the first byte sent to the last one read.
        sent: the body of the file that was sent; empty where none was.
        said_by: ``the model`` or ``the platform``, where a gateway stands between.
        advice: what to do about a refusal.
    """

    request: str
    status: int
    text: str
    seconds: float
    sent: bytes = field(default=b"", repr=False)
    said_by: str = ""
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status is 200."""
        return self.status == HTTPStatus.OK

    @property
    def json(self) -> Any:
        """The body of the answer as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.text)

    def __str__(self) -> str:
        by = "" if self.ok or not self.said_by else f" says {self.said_by}"
        text = f"{self.request} -> {self.status}{by} {self._shown()} ({self.seconds * 1000:.0f} ms)"
        return f"{text}\n{self.advice}" if self.advice else text

    def _repr_html_(self) -> str:
        answer = (
            f"<code>{escape(self.request)}</code><br><b>{self.status}</b> "
            f"<code>{escape(self._shown())}</code><br><small>{self.seconds * 1000:.0f} ms</small>"
        )
        return (
            "<table><tr>"
            f"<td>{self._picture()}</td><td style='text-align:left'>{answer}</td>"
            "</tr></table>"
        )

    def _picture(self) -> str:
        for beginning, media_type in _PICTURE_TYPES.items():
            if self.sent.startswith(beginning):
                data = base64.b64encode(self.sent).decode()
                return (
                    f"<img alt='what was sent' style='height:112px;image-rendering:pixelated' "
                    f"src='data:{media_type};base64,{data}'>"
                )
        if not self.sent:
            return ""
        return f"<code>{escape(repr(self.sent[:60]))}</code><br>{len(self.sent):,} bytes"

    def _shown(self) -> str:
        text = self.text.strip()
        return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."


def predict(
    url: str,
    body: bytes | Mapping[str, Any],
    *,
    field: str = "images",
    filename: str = "digit.jpg",
    url_path: str = INFERENCE_URL.value,
    timeout_s: float = SYNCHRONOUS_LATENCY.value,
    on_part: OnPart | None = None,
) -> Prediction:
    """Send one file as the platform's console does, ``curl -F field=@filename``; members as JSON.

    A refusal (400, 413 ...) is an answer, not an error. ``on_part`` is told each part of a good one
    as it arrives; ``timeout_s`` is then the longest silence between two of them.

    Raises:
        Unavailable: nothing answers at ``url``, or not within ``timeout_s``.
    """
    if isinstance(body, bytes):
        request = f"POST {url_path} {field}=@{filename}"
        said: dict[str, Any] = {"files": {field: (filename, body)}}
    else:
        request = f"POST {url_path} {json.dumps(body)[:_LONGEST_MEMBERS]}"
        said = {"json": body}
    status, text, seconds = _ask("POST", f"{url}{url_path}", timeout_s, on_part, **said)
    return Prediction(request, status, text, seconds, body if isinstance(body, bytes) else b"")


def ask_health(url: str, url_path: str = HEALTH_URL.value, *, timeout_s: float = 5.0) -> Prediction:
    """Ask a service whether it is well.

    Raises:
        Unavailable: nothing answers at ``url``, or not within ``timeout_s``.
    """
    status, text, seconds = _ask("GET", f"{url}{url_path}", timeout_s)
    return Prediction(f"GET {url_path}", status, text, seconds)


def read_text(answer: requests.Response, on_part: OnPart | None) -> str:
    """Return the body of an answer; hand over each part of a good one as it comes."""
    if on_part is None or not answer.ok:
        return answer.text
    answer.encoding = answer.encoding or "utf-8"
    parts = []
    for part in answer.iter_content(None, decode_unicode=True):
        text = part if isinstance(part, str) else part.decode(errors="replace")
        on_part(text)
        parts.append(text)
    return "".join(parts)


def _ask(
    method: str, url: str, timeout_s: float, on_part: OnPart | None = None, **body: Any
) -> tuple[int, str, float]:
    """Return status and text of the answer, and the seconds until its end."""
    began = time.perf_counter()
    try:
        with requests.request(method, url, timeout=timeout_s, stream=True, **body) as answer:
            text = read_text(answer, on_part)
    except requests.RequestException as error:
        raise Unavailable(
            f"{method} {url} got no answer ({type(error).__name__}, limit {timeout_s:g} s).\n"
            "Is the service still running? Its log says why: instance.logs()"
        ) from error
    return answer.status_code, text, time.perf_counter() - began
