"""A recorder of every call of the SDK's clients, below the SDK.

The SDK lends a hook before a request is sent and one behind its answer. Here they keep a diary for
the bundle of a failure, and hold every call back in a dry run, which prints it instead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from custom_image.scanners.secret_patterns import is_secret

if TYPE_CHECKING:
    from huaweicloudsdkcore.http.http_handler import HttpHandler

MASK: Final = "***"
_SECRET_MEMBERS: Final = ("auths", "password", "token", "secret", "value", "api_key")
_LONGEST_LINE: Final = 4000


class NotSent(Exception):
    """A call that a dry run held back."""


@dataclass(frozen=True)
class SentCall:
    """One call, without any secret.

    Attributes:
        body: as JSON; None where there is none.
        status: of the answer; 0 where none came, or nothing was sent.
    """

    method: str
    url: str
    body: Any = None
    status: int = 0
    seconds: float = 0.0
    answer: str = ""

    def __str__(self) -> str:
        line = f"{self.method} {self.url}"
        if self.body is None:
            return line
        return f"{line}\n{json.dumps(self.body, indent=2, ensure_ascii=False)}"

    def to_json(self) -> str:
        """Return it on one line."""
        return json.dumps(vars(self), ensure_ascii=False)


class Wire:
    """The diary of the calls of one client, and the switch that holds them back."""

    def __init__(self, *, dry_run: bool = False, show: Callable[[str], None] = print) -> None:
        self.dry_run = dry_run
        self.calls: list[SentCall] = []
        self._show = show
        self._began = 0.0

    def handler(self) -> HttpHandler:
        """Return the SDK's own object that calls the hooks."""
        from huaweicloudsdkcore.http.http_handler import HttpHandler

        handler = HttpHandler()
        return handler.add_request_handler(self._sending).add_response_handler(self._answered)

    def hold(self, what: str) -> None:
        """Show, in a dry run, what is done without the SDK."""
        self._show(what)

    def _sending(self, request: Any, **_: Any) -> None:
        self._began = time.monotonic()
        call = SentCall(request.method, str(request.url), masked(_read(request.body)))
        self.calls.append(call)
        if self.dry_run:
            self._show(str(call))
            raise NotSent(call.url)

    def _answered(self, response: Any, **_: Any) -> None:
        call = self.calls.pop() if self.calls else SentCall(response.request.method, response.url)
        answer = masked(_read(response.content))
        self.calls.append(
            SentCall(
                call.method,
                call.url,
                call.body,
                response.status_code,
                round(time.monotonic() - self._began, 3),
                json.dumps(answer, ensure_ascii=False)[:_LONGEST_LINE],
            )
        )


def masked(value: Any, name: str = "") -> Any:
    """Return a JSON value with its secrets replaced, by what they are called or look like."""
    if isinstance(value, Mapping):
        return {key: masked(member, str(key)) for key, member in value.items()}
    if isinstance(value, list):
        return [masked(member, name) for member in value]
    if not isinstance(value, str):
        return value
    if name == "auth_type":  # whose value API_KEY only sounds like one
        return value
    is_named = name.lower() in _SECRET_MEMBERS
    return MASK if value and (is_named or is_secret(name, value)) else value


def raw_answer() -> type:
    """Return the class of an answer that the SDK has no model for; ``raw_content`` holds it.

    The SDK sets that on an object of its own only: a plain ``dict`` makes it fail.
    """
    from huaweicloudsdkcore.sdk_response import SdkResponse

    class RawAnswer(SdkResponse):  # type: ignore[misc]  # the SDK is not typed
        openapi_types: ClassVar[dict[str, str]] = {}
        attribute_map: ClassVar[dict[str, str]] = {}
        sensitive_list: ClassVar[list[str]] = []

        def __init__(self) -> None:
            super().__init__()

    return RawAnswer


def _read(content: Any) -> Any:
    if not content:
        return None
    text = content.decode(errors="replace") if isinstance(content, bytes) else str(content)
    try:
        return json.loads(text)
    except ValueError:
        return text[:_LONGEST_LINE]
