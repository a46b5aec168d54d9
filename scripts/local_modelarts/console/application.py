"""Routes of the console."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from custom_image.errors import CustomImageError
from local_modelarts.console import pages
from local_modelarts.console.forms import Form, Upload, forms_of
from local_modelarts.console.prediction import MOST_BYTES, predict
from local_modelarts.errors import ApiError
from local_modelarts.platform import Platform
from local_modelarts.services.backend import Services
from local_modelarts.validation import whole

PREFIX: Final = "/console"
_FOLDER: Final = Path(__file__).parent
# Uploads are shown as data:, chosen files as blob:. Nothing else comes from anywhere else.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data: blob:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]", "::1")

Page = Callable[[Request], Awaitable[Response]]


def console(platform: Platform, services: Services) -> Starlette:
    """Return the application below ``/console``."""
    templates = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["time"] = pages.time_text
    templates.filters["size"] = pages.size_text

    def render(name: str, status: int = 200, **values: Any) -> Response:
        text = templates.get_template(name).render(prefix=PREFIX, **values)
        return HTMLResponse(text, status, headers=_HEADERS)

    def page(show: Page) -> Page:
        async def guarded(request: Request) -> Response:
            try:
                _check_caller(request)
                return await show(request)
            except ApiError as error:
                return render("error.html", error.status, code=error.code, message=error.message)
            except CustomImageError as error:
                return render("error.html", 500, code="", message=str(error))

        return guarded

    async def show_services(_: Request) -> Response:
        return render("services.html", **await run_in_threadpool(pages.services, platform))

    async def show_models(_: Request) -> Response:
        return render("models.html", **await run_in_threadpool(pages.models, platform))

    async def show_model(request: Request) -> Response:
        model_id = request.path_params["id"]
        return render("model.html", **await run_in_threadpool(pages.model, platform, model_id))

    async def show_images(_: Request) -> Response:
        return render("images.html", **await run_in_threadpool(pages.images, platform))

    async def show_batch(request: Request) -> Response:
        batch_id = request.path_params["id"]
        return render("batch.html", **await run_in_threadpool(pages.batch, platform, batch_id))

    async def show_service(request: Request) -> Response:
        """Show one service; after its form was sent, with what was answered."""
        row = await run_in_threadpool(services.show, request.path_params["id"])
        forms = forms_of(platform, row)
        outcome = None
        if request.method == "POST":
            form, values = await _sent(request, forms)
            outcome = await run_in_threadpool(predict, platform, row, form, values)
        found = await run_in_threadpool(pages.service, platform, services, row)
        return render("service.html", forms=forms, outcome=outcome, **found)

    return Starlette(
        routes=[
            Mount(f"{PREFIX}/static", StaticFiles(directory=_FOLDER / "static")),
            Route(PREFIX, page(show_services)),
            Route(f"{PREFIX}/", page(show_services)),
            Route(f"{PREFIX}/models", page(show_models)),
            Route(f"{PREFIX}/models/{{id}}", page(show_model)),
            Route(f"{PREFIX}/images", page(show_images)),
            Route(f"{PREFIX}/batches/{{id}}", page(show_batch)),
            Route(f"{PREFIX}/services/{{id}}", page(show_service), methods=["GET", "POST"]),
        ]
    )


async def _sent(request: Request, forms: list[Form]) -> tuple[Form, dict[str, str | Upload]]:
    """Return the form that was sent and what is in it.

    Raises:
        ApiError: there is no such form, or what is in it is too large.
    """
    declared = whole(request.headers.get("content-length", ""))
    if declared is None or declared > MOST_BYTES:
        raise ApiError(413, "APIG.0201", f"A prediction here is at most {MOST_BYTES} bytes.")
    values: dict[str, str | Upload] = {}
    async with request.form(max_files=20, max_fields=200, max_part_size=MOST_BYTES) as sent:
        for name, value in sent.multi_items():
            if isinstance(value, UploadFile):
                values[name] = Upload(
                    value.filename or "", await value.read(), value.content_type or ""
                )
            else:
                values[name] = value
    api = values.pop("api", "")
    number = whole(api) if isinstance(api, str) else None
    if number is None or number >= len(forms):
        raise ApiError(400, "ModelArts.0104", "Parameter error. There is no such form.")
    return forms[number], values


def _check_caller(request: Request) -> None:
    """Refuse whoever is not at this machine, and pages of others that borrow its browser.

    Raises:
        ApiError: 403.
    """
    client = request.client.host if request.client else "0.0.0.0"
    is_here = ipaddress.ip_address(client).is_loopback
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    origin = request.headers.get("origin")
    is_own_page = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if not is_here or host not in _LOCAL_NAMES or not is_own_page:
        raise ApiError(403, "LocalModelArts.403", "The console answers this machine only.")
