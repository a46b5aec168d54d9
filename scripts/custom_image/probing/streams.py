"""Answers that come in parts: when each part arrived, and what server-sent events it brought.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from typing import Any, Final

from custom_image.model_config import Api
from custom_image.model_config.remarks import EVENT_STREAM
from custom_image.probing.http import ANSWER_TIMEOUT_S, Request, connect
from custom_image.probing.sample_requests import JSON_TYPE, sample_of

LARGEST_STREAM_BYTES: Final = 4_000_000
MOST_PARTS: Final = 20_000
_SWITCH: Final = "stream"
"""The member by which clients of language models ask for a stream."""


@dataclass(frozen=True)
class Stream:
    """An answer in parts.

    Attributes:
        status: 0 where no answer began.
        headers: names in lower case.
        parts: of the body, each with its arrival in seconds from the start of the request.
        end_s: when it ended, or was given up.
        is_whole: whether it ended as its framing says.
        error: why it did not.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    parts: tuple[tuple[float, bytes], ...] = ()
    end_s: float = 0.0
    is_whole: bool = False
    error: str = ""

    @property
    def content_type(self) -> str:
        """What the answer says that it is; empty where it says nothing."""
        return self.headers.get("content-type", "")

    @property
    def body(self) -> bytes:
        """All parts together."""
        return b"".join(part for _, part in self.parts)

    @property
    def first_s(self) -> float:
        """When the first part arrived; the end where none did."""
        return self.parts[0][0] if self.parts else self.end_s

    @property
    def is_events(self) -> bool:
        """Whether it is a stream of events, by its type or, where that is wrong, by its body."""
        named = self.content_type.partition(";")[0].strip().lower() == EVENT_STREAM
        return named or len(re.findall(rb"(?:^|\n\n|\r\n\r\n)data:", self.body)) > 1

    @property
    def events(self) -> list[bytes]:
        """The events, the last one too where its blank line is missing."""
        return [event for event in re.split(rb"\r\n\r\n|\n\n|\r\r", self.body) if event.strip()]

    def __str__(self) -> str:
        if not self.status:
            return f"no answer ({self.error}) after {self.end_s:.2f} s"
        how = "" if self.is_whole else f", cut off ({self.error})"
        return (
            f"{self.status} {self.content_type or 'without a type'}: {len(self.events)} events in "
            f"{len(self.parts)} parts, the first after {self.first_s:.2f} s, the last after "
            f"{self.parts[-1][0] if self.parts else self.end_s:.2f} s{how}"
        )


def declares_stream(api: Api) -> bool:
    """Tell whether config.json says that the answers of an api are events."""
    declared = api.response.content_type if api.response else ""
    return declared.partition(";")[0].strip().lower() == EVENT_STREAM


def stream_request(api: Api) -> Request | None:
    """Return a sample of an api that asks for a stream; None where its schema has no switch."""
    schema = api.request.data if api.request else None
    members = schema.get("properties") if isinstance(schema, dict) else None
    sample = sample_of(api)
    if not isinstance(members, dict) or _SWITCH not in members or sample.content_type != JSON_TYPE:
        return None
    document: dict[str, Any] = json.loads(sample.body)
    return replace(sample, body=json.dumps(document | {_SWITCH: True}).encode())


def read_stream(
    url: str,
    request: Request,
    timeout_s: float = ANSWER_TIMEOUT_S,
    *,
    leave_after: int = 0,
    on_part: Callable[[], None] | None = None,
) -> Stream:
    """Send a request and read its answer as it comes. Never raises.

    Args:
        url: base URL.
        request: what is sent.
        timeout_s: how long the whole of it may take.
        leave_after: the number of parts after which the client hangs up; 0 for never.
        on_part: called once, when the first part is there.
    """
    connection = connect(url, timeout_s)
    headers = {"Accept": f"{EVENT_STREAM}, */*", **dict(request.headers)}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    began = time.monotonic()
    parts: list[tuple[float, bytes]] = []
    stream = Stream(0)
    size = 0
    try:
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        stream = Stream(response.status, found)
        while part := response.read1(65536):
            now_s = time.monotonic() - began
            parts.append((now_s, part))
            size += len(part)
            if len(parts) == 1 and on_part is not None:
                on_part()
            if len(parts) == leave_after:
                return replace(stream, parts=tuple(parts), end_s=now_s, error="the client left")
            if size > LARGEST_STREAM_BYTES or len(parts) >= MOST_PARTS or now_s > timeout_s:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(max(0.1, timeout_s - now_s))
        # Without a length or chunks the end of the connection is the end of the answer.
        stream = replace(stream, is_whole=True)
    except TimeoutError:
        stream = replace(stream, error="it did not end in time")
    except (OSError, HTTPException) as error:
        stream = replace(stream, error=f"{type(error).__name__}: {error}".rstrip(": ")[:120])
    finally:
        if connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
    return replace(stream, parts=tuple(parts), end_s=time.monotonic() - began)
