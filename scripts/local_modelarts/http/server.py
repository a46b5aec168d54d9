"""HTTP: who calls, which call it is, and how an answer or a refusal is written.

Handlers run in threads. What no route claims is answered 501 with the name of the call, never with
something made up.
"""

from __future__ import annotations

import json
import logging
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from custom_image.errors import CustomImageError
from local_modelarts.errors import ApiError, not_implemented, parameter, wrong_project
from local_modelarts.http.aksk_signature import check_signature
from local_modelarts.http.messages import Answer, Call, Calls, Handler
from local_modelarts.platform import Platform

_log = logging.getLogger("local_modelarts")
UPLOAD: Final = "application/x-tar"
"""The one content that is no JSON: a file, too large to be held in memory."""
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


def make_app(
    platform: Platform, signed: Calls, unsigned: Calls, applications: Mapping[str, ASGIApp]
) -> Starlette:
    """Return the application: signed calls, a few that carry their own proof, and 501.

    ``applications`` answer for themselves: by the beginning of their path.
    """
    routes = [
        Route(f"{prefix}{{rest:path}}", application) for prefix, application in applications.items()
    ]
    routes += [_route(platform, *call, is_signed=False) for call in unsigned]
    routes += [_route(platform, *call, is_signed=True) for call in signed]
    routes.append(_route(platform, "*", "/{path:path}", _refuse, is_signed=True))
    return Starlette(routes=routes)


def _refuse(call: Call) -> Answer:
    raise not_implemented(f"{call.headers[':method']} {call.headers[':path']}")


def _route(
    platform: Platform, method: str, path: str, handler: Handler, *, is_signed: bool
) -> Route:
    async def endpoint(request: Request) -> Response:
        request_id = uuid.uuid4().hex
        try:
            if request.headers.get("content-type") == UPLOAD:
                # Its signature is that of a call without a body: checked before a byte is kept.
                call = _read(platform, request, b"", is_signed)
                with tempfile.TemporaryFile(dir=platform.folder.root) as file:
                    async for chunk in request.stream():
                        file.write(chunk)
                    file.seek(0)
                    answer = await run_in_threadpool(handler, replace(call, upload=file))
            else:
                call = _read(platform, request, await request.body(), is_signed)
                answer = await run_in_threadpool(handler, call)
            response = _write(answer)
        except ApiError as error:
            response = JSONResponse(error.body(request_id), error.status)
        except CustomImageError as error:  # the engine or the registry does not answer
            _log.error("%s %s: %s", request.method, request.url.path, error)
            response = _internal(error, request_id)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the SDK reads only JSON
            _log.exception("%s %s", request.method, request.url.path)
            response = _internal(error, request_id)
        response.headers["X-Request-Id"] = request_id
        return response

    return Route(path, endpoint, methods=_METHODS if method == "*" else [method])


def _internal(error: Exception, request_id: str) -> Response:
    refusal = ApiError(500, "ModelArts.0010", f"Internal error: {error}")
    return JSONResponse(refusal.body(request_id), refusal.status)


def _read(platform: Platform, request: Request, body: bytes, is_signed: bool) -> Call:
    """Check who calls, and take the request apart.

    Raises:
        ApiError: 401, 403 or 400.
    """
    raw_path = request.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
    if is_signed:
        check_signature(
            request.method,
            raw_path,
            request.url.query,
            dict(request.headers),
            body,
            keys={platform.identity.access_key: platform.identity.secret_key},
            age_s=platform.settings.signature_age_s,
        )
        project = request.path_params.get("project_id", platform.identity.project_id)
        if project != platform.identity.project_id:
            raise wrong_project(project)
    content: object = {}
    if body:
        try:
            content = json.loads(body)
        except ValueError as error:
            raise parameter(f"the body is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise parameter("the body is no JSON object")
    headers = dict(request.headers) | {":method": request.method, ":path": request.url.path}
    return Call(request.path_params, request.query_params, dict(content), headers)  # type: ignore[call-overload]


def _write(answer: Answer) -> Response:
    headers = dict(answer.headers)
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    if isinstance(answer.body, str):
        return PlainTextResponse(answer.body, answer.status, headers=headers)
    return JSONResponse(answer.body, answer.status, headers=headers)
