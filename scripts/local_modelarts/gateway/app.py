"""The gateway in front of services: who calls, how much, which instance answers, how long it may.

    POST /v1/infers/{service_id}{url of the api}    of a classic service (v1)
    POST /v2/infers/{service_id}{any path}          of one of Inference 2.0 (v2)

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
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from custom_image.errors import CustomImageError
from custom_image.specification import REQUEST_TIMEOUT_LONGEST, STREAM_LONGEST
from local_modelarts import errors
from local_modelarts.errors import ApiError
from local_modelarts.gateway import refusals
from local_modelarts.gateway.authentication import Authentication
from local_modelarts.gateway.rate_limit import Traffic
from local_modelarts.gateway.request import HOP_BY_HOP, ClientGone, Request
from local_modelarts.gateway.upstream import (
    BrokenExchange,
    ConnectTimeout,
    Exchange,
    Server,
    Upstream,
)
from local_modelarts.gateway.websocket import WebSocketRelay
from local_modelarts.platform import Platform
from local_modelarts.runtime.routing import Route, Routing, Target
from local_modelarts.storage.resources import Service

SERVED_BY: Final = b"x-served-by"
SERVER: Final = (b"server", b"ModelArts")
"""What tells the gateway from others; an answer with a code of the platform is not the model's.

Source: https://support.huaweicloud.com/modelarts_faq/modelarts_05_3135.html
"""
_NOT_PASSED_BACK: Final = HOP_BY_HOP | {b"date", b"server"}  # the gateway says its own
_log = logging.getLogger("local_modelarts")


class AsynchronousTasks(Protocol):
    """Takes over the requests to asynchronous services; blocking, called in a thread."""

    def respond(
        self,
        row: Service,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body for ``path`` (with its query) below the service."""


class Gateway:
    """The application below ``/v1/infers/`` and ``/v2/infers/``.

    Attributes:
        tasks: takes over the requests to asynchronous services, once it is set.
    """

    def __init__(self, platform: Platform, routing: Routing) -> None:
        self._platform = platform
        self._routing = routing
        self.tasks: AsynchronousTasks | None = None
        self._authentication = Authentication(platform)
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
            response.headers["Server"] = SERVER[1].decode()
            await response(scope, receive, send)
        except ClientGone:
            return

    def websocket(self, server_state: Any, **_: Any) -> WebSocketRelay:
        """Return what takes over a connection that asks for an upgrade; called by uvicorn."""
        return WebSocketRelay(self.admit_websocket, server_state.connections)

    def send(
        self,
        row: Service,
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
        route = self._routing.find(row.id)
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

    async def admit_websocket(self, request: Request) -> tuple[Target, int, float]:
        """Return where a request to upgrade goes, the service's generation, the time-out in s.

        Raises:
            ApiError: there is no such service, the caller is not known, or it speaks no WebSocket.
        """
        route = self._find(request)
        row = route.row
        if not row.websocket:
            raise refusals.wrong_protocol("WebSocket", "HTTP")
        await self._authentication.check(request, row, 0)
        target = self._target(route)
        return target, row.generation, self._timeout_s(row)

    def _find(self, request: Request) -> Route:
        if not request.service_id:
            raise errors.no_service_id()
        route = self._routing.find(request.service_id)
        if route is None:
            row = self._platform.state.get(Service, request.service_id)
            if row is None or row.generation != request.generation:
                raise errors.no_api()
            raise errors.service_unavailable()
        if route.row.generation != request.generation:
            raise errors.no_api()
        return route

    def _target(self, route: Route) -> Target:
        target = route.choose()
        if target is None:
            raise errors.service_unavailable()
        if target.is_dead:
            raise refusals.not_reached(route.row.generation, ConnectionRefusedError())
        return target

    async def _answer(self, request: Request, send: Send) -> None:
        route = self._find(request)
        row = route.row
        limit_bytes = self._limit(row, "body_bytes", self._platform.settings.request_body_bytes)
        if request.declared_bytes > limit_bytes:
            raise refusals.body_too_large(row.generation)
        if row.websocket and row.generation == refusals.V2:
            raise refusals.wrong_protocol("HTTP", "WebSocket")
        body = await self._authentication.check(request, row, limit_bytes)
        self._traffic.admit(row)
        if row.asynchronous:
            await self._hand_over(request, row, body, limit_bytes, send)
            return
        check_api(row, request.method, request.rest)
        await self._forward(request, route, self._target(route), body, limit_bytes, send)

    async def _hand_over(
        self,
        request: Request,
        row: Service,
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
        send: Send,
    ) -> None:
        self._sweep(route)
        generation = route.row.generation
        server = Server(target.id, target.host, target.port, target.protocol == "https")
        content = request.stream(limit_bytes) if body is None else _whole(body)
        deadline = Deadline(self._timeout_s(route.row), is_renewed=generation == refusals.V2)
        has_begun = False
        try:
            async with asyncio.timeout(None) as clock:
                deadline.begin(clock)
                exchange = await self._upstream.send(
                    server,
                    request.head(
                        f"{target.host}:{target.port}", None if body is None else len(body)
                    ),
                    content,
                    is_head=request.method == "HEAD",
                )
                has_begun = True
                passing = asyncio.ensure_future(_pass_on(exchange, target, send, deadline.renew))
                leaving = asyncio.ensure_future(request.left())
                try:
                    await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    leaving.cancel()
                    if not passing.done():  # the client has gone, or time is up
                        passing.cancel()
                        exchange.close()
                if passing.done():
                    passing.result()
        except (TimeoutError, BrokenExchange, OSError) as error:
            if has_begun:  # what is half told cannot be taken back: the connection ends
                raise
            if isinstance(error, TimeoutError) and not isinstance(error, ConnectTimeout):
                raise refusals.timed_out(generation) from error
            raise refusals.not_reached(generation, error) from error

    def _timeout_s(self, row: Service) -> float:
        """Return how long a caller waits; how long for the next part of an answer in v2."""
        return self._limit(row, "timeout_s", self._platform.settings.predict_timeout_s)

    def _sweep(self, route: Route) -> None:
        """Now and then, close the connections to instances that requests no longer go to."""
        now = time.monotonic()
        if now - self._swept_at > 1:
            self._swept_at = now
            self._upstream.keep(self._routing.targets())

    def _limit(self, row: Service, name: str, default: int) -> int:
        return int(row.limit.get(name) or default)


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _pass_on(
    exchange: Exchange, target: Target, send: Send, renew: Callable[[], None]
) -> None:
    headers = [(n.lower(), v) for n, v in exchange.headers if n.lower() not in _NOT_PASSED_BACK]
    headers.append(SERVER)
    headers.append((SERVED_BY, f"{target.title} {target.name}".encode("ascii", "replace")))
    try:
        await send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        async for part in exchange.body():
            renew()
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except BaseException:
        exchange.close()
        raise


class Deadline:
    """When an answer has to be there: the whole of it in v1, each part of it in v2.

    v1 has 40 s for a whole stream (inference-modelarts-0124). In v2 the time-out of the service is
    for the next part, and :data:`~custom_image.specification.STREAM_LONGEST` for all (inferred).
    """

    def __init__(self, timeout_s: float, *, is_renewed: bool) -> None:
        self._timeout_s = min(timeout_s, REQUEST_TIMEOUT_LONGEST.value)
        self._is_renewed = is_renewed
        self._clock: asyncio.Timeout | None = None
        self._last = 0.0

    def begin(self, clock: asyncio.Timeout) -> None:
        """Count from now on."""
        now = asyncio.get_running_loop().time()
        self._clock, self._last = clock, now + STREAM_LONGEST.value
        clock.reschedule(now + self._timeout_s)

    def renew(self) -> None:
        """Note that a part has come."""
        if self._is_renewed and self._clock is not None:
            now = asyncio.get_running_loop().time()
            self._clock.reschedule(min(now + self._timeout_s, self._last))


def check_api(row: Service, method: str, path: str) -> None:
    """Refuse what the model does not declare; a model of Inference 2.0 declares nothing.

    Raises:
        ApiError: 404 or 405.
    """
    if not row.apis:
        return
    methods = [api["method"] for api in row.apis if api["url"] == path]
    if not methods:
        raise errors.no_api()
    if method not in methods:
        raise errors.method_not_allowed()
