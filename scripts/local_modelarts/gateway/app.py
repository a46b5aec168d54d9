"""The gateway in front of services: who calls, how much, which instance answers, how long it may.

    POST /v1/infers/{service_id}{url of the api}

A request with a token flows through; one with a signature is read whole first, because its body is
part of what is signed.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from custom_image.errors import CustomImageError
from local_modelarts import errors
from local_modelarts.errors import ApiError
from local_modelarts.gateway.rate_limit import Traffic
from local_modelarts.gateway.request import HOP_BY_HOP, ClientGone, Request
from local_modelarts.gateway.upstream import BrokenExchange, Exchange, Server, Upstream
from local_modelarts.http.aksk_signature import ALGORITHM, UNSIGNED, check_signature
from local_modelarts.http.iam_tokens import Tokens
from local_modelarts.platform import Platform
from local_modelarts.runtime.routing import Route, Routing, Target
from local_modelarts.storage.store import SERVICE

SERVED_BY: Final = b"x-served-by"
_NOT_PASSED_BACK: Final = HOP_BY_HOP | {b"date"}  # the gateway says its own
_log = logging.getLogger("local_modelarts")


class AsynchronousTasks(Protocol):
    """Takes over the requests to asynchronous services; blocking, called in a thread."""

    def respond(
        self,
        row: Mapping[str, Any],
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body for ``path`` (with its query) below the service."""


class Gateway:
    """The application below ``/v1/infers/``.

    Attributes:
        tasks: takes over the requests to asynchronous services, once it is set.
    """

    def __init__(self, platform: Platform, routing: Routing) -> None:
        self._platform = platform
        self._routing = routing
        self.tasks: AsynchronousTasks | None = None
        self._tokens = Tokens(platform.identity, platform.settings.token_s)
        self._traffic = Traffic(platform.settings.requests_per_s)
        self._upstream = Upstream()
        self._swept_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        request_id = uuid.uuid4().hex
        try:
            await self._answer(request, send)
        except ApiError as error:
            response: Response = JSONResponse(error.body(request_id), error.status)
            response.headers["X-Request-Id"] = request_id
            await response(scope, receive, send)
        except ClientGone:
            return

    def send(
        self,
        row: Mapping[str, Any],
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request to an instance of a service and wait; without the gateway's limits.

        Raises:
            ApiError: no instance is ready, or it does not answer.
        """
        route = self._routing.find(row["id"])
        target = route.choose() if route else None
        if target is None or target.is_dead:
            raise errors.backend_refused()
        connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
        if target.protocol == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                target.host, target.port, timeout=timeout_s, context=context
            )
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except TimeoutError as error:
            raise errors.backend_timeout() from error
        except ConnectionRefusedError as error:
            raise errors.backend_refused() from error
        except (OSError, http.client.HTTPException) as error:
            raise errors.backend_broken() from error
        finally:
            connection.close()

    # --- one request ------------------------------------------------------------------------------

    async def _answer(self, request: Request, send: Send) -> None:
        service_id, rest = request.service_id, request.rest
        if not service_id:
            raise errors.no_service_id()
        route = self._routing.find(service_id)
        if route is None:
            self._refuse_unknown(service_id)
            raise errors.service_unavailable()
        row = route.row
        limit_bytes = self._limit(row, "body_bytes", self._platform.settings.request_body_bytes)
        if request.declared_bytes > limit_bytes:
            raise errors.body_too_large()
        body = await self._authenticate(request, row, limit_bytes)
        self._traffic.admit(row)
        if row["asynchronous"]:
            await self._hand_over(request, row, body, limit_bytes, send)
            return
        check_api(row, request.method, rest)
        target = route.choose()
        if target is None:
            raise errors.service_unavailable()
        if target.is_dead:
            raise errors.backend_refused()
        timeout_s = self._limit(row, "timeout_s", self._platform.settings.predict_timeout_s)
        await self._forward(request, route, target, body, limit_bytes, timeout_s, send)

    def _refuse_unknown(self, service_id: str) -> None:
        if self._platform.state.get(SERVICE, service_id) is None:
            raise errors.no_api()

    async def _authenticate(
        self, request: Request, row: Mapping[str, Any], limit_bytes: int
    ) -> bytes | None:
        """Check who calls; return the body where it was read for that.

        Raises:
            ApiError: 401 or 413.
        """
        if row["auth"] == "NONE":
            return None
        if token := request.headers.get("x-auth-token"):
            self._tokens.check(token)
            return None
        is_read = (
            request.headers.get("authorization", "").startswith(ALGORITHM)
            and request.headers.get("x-sdk-content-sha256") != UNSIGNED
        )
        body = await request.read(limit_bytes) if is_read else None
        identity, settings = self._platform.identity, self._platform.settings
        check_signature(
            request.method,
            request.raw_path,
            request.query,
            request.headers,
            # Not read, as its hash is not signed: then all that counts is that there is one.
            b"unread" if body is None else body,
            keys={identity.access_key: identity.secret_key},
            age_s=settings.signature_age_s,
        )
        return body

    async def _hand_over(
        self,
        request: Request,
        row: Mapping[str, Any],
        body: bytes | None,
        limit_bytes: int,
        send: Send,
    ) -> None:
        if self.tasks is None:
            raise errors.service_unavailable()
        if body is None:
            body = await request.read(limit_bytes)
        try:
            status, headers, content = await run_in_threadpool(
                self.tasks.respond,
                row,
                request.method,
                request.path_and_query,
                request.headers,
                body,
            )
        except CustomImageError as error:
            _log.error("%s: %s", request.raw_path, error)
            raise ApiError(500, "ModelArts.0010", f"Internal error: {error}") from error
        await Response(content, status, dict(headers))(request.scope, request.receive, send)

    async def _forward(
        self,
        request: Request,
        route: Route,
        target: Target,
        body: bytes | None,
        limit_bytes: int,
        timeout_s: float,
        send: Send,
    ) -> None:
        self._sweep(route)
        server = Server(target.id, target.host, target.port, target.protocol == "https")
        content = request.stream(limit_bytes) if body is None else _whole(body)
        has_begun = False
        try:
            async with asyncio.timeout(timeout_s):
                exchange = await self._upstream.send(
                    server,
                    request.head(
                        f"{target.host}:{target.port}", None if body is None else len(body)
                    ),
                    content,
                    is_head=request.method == "HEAD",
                )
                has_begun = True
                await _pass_on(exchange, target, send)
        except (TimeoutError, BrokenExchange, OSError) as error:
            if has_begun:  # what is half told cannot be taken back: the connection ends
                raise
            raise _refusal(error) from error

    def _sweep(self, route: Route) -> None:
        """Now and then, close the connections to instances that requests no longer go to."""
        now = time.monotonic()
        if now - self._swept_at > 1:
            self._swept_at = now
            self._upstream.keep(self._routing.targets())

    def _limit(self, row: Mapping[str, Any], name: str, default: int) -> int:
        return int(row["limit"].get(name) or default)


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _pass_on(exchange: Exchange, target: Target, send: Send) -> None:
    headers = [(n.lower(), v) for n, v in exchange.headers if n.lower() not in _NOT_PASSED_BACK]
    headers.append((SERVED_BY, f"{target.title} {target.name}".encode("ascii", "replace")))
    try:
        await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        async for part in exchange.body():
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except BaseException:
        exchange.close()
        raise


def check_api(row: Mapping[str, Any], method: str, path: str) -> None:
    """Refuse what the model does not declare; a model of Inference 2.0 declares nothing.

    Raises:
        ApiError: 404 or 405.
    """
    if not row["apis"]:
        return
    methods = [api["method"] for api in row["apis"] if api["url"] == path]
    if not methods:
        raise errors.no_api()
    if method not in methods:
        raise errors.method_not_allowed()


def _refusal(error: Exception) -> ApiError:
    if isinstance(error, TimeoutError):
        return errors.backend_timeout()
    if isinstance(error, ssl.SSLError):
        return errors.backend_not_tls()
    if isinstance(error, BrokenExchange):
        return errors.backend_broken()
    return errors.backend_refused()
