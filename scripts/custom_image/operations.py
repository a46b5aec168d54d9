"""The verbs that work wherever an image is: in an engine of this machine, or on a build server.

server = open_server("root@10.0.0.5")
image = build(context, "mnist:1", on=server)
service = start_service(image, on=server)
report = verify(image, on=server)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from custom_image import builders, ecs, image_saving, verification
from custom_image.ecs import BuildServer
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import UsageError
from custom_image.image_saving import NotebookInstance
from custom_image.specification import HEALTH_URL

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.engines import Engine, Instance
    from custom_image.images import Image
    from custom_image.report import Report

READY_S: Final = 60.0


def build(context: BuildContext, tag: str, *, on: Engine | BuildServer, **options: Any) -> Image:
    """Build the image of a context.

    Args:
        context: what :func:`~custom_image.build_context.write_build_context` wrote.
        tag: the name of the image, where it is built.
        on: an engine of this machine, or a build server.
        options: of :func:`custom_image.ecs.build`, on a server.

    Raises:
        As :func:`custom_image.builders.build` and :func:`custom_image.ecs.build`.
    """
    if isinstance(on, BuildServer):
        return ecs.build(context, tag, on=on, **options)
    return builders.build(context, tag, engine=on)


def start_service(
    image: Image | NotebookInstance | str,
    *,
    on: Engine | BuildServer | None = None,
    timeout_s: float = READY_S,
) -> Instance:
    """Start an image, or what a notebook instance serves, and return when its health is good.

    Args:
        image: what was built, its name, or a notebook instance, which needs no engine.
        on: where the image is.
        timeout_s: how long it may take to become ready.

    Raises:
        ServiceNotReady: it ended, or was not ready in time; with its log.
        UsageError: there is no such image, or ``on`` is missing.
    """
    if isinstance(image, NotebookInstance):
        return image_saving.start_service(image)
    engine = on.engine if isinstance(on, BuildServer) else on
    if engine is None:
        raise UsageError(
            f"{image}: nothing was named that starts it.\nName an engine or a server: "
            "start_service(image, on=open_engine())."
        )
    service = engine.start(image if isinstance(image, str) else image.reference)
    try:
        wait_until_ready(service, HEALTH_URL.value, timeout_s)
    except BaseException:
        service.stop()
        raise
    return service


def verify(target: Any, *, on: Engine | BuildServer | None = None, **options: Any) -> Report:
    """Judge a target by the rules of the platform.

    Args:
        target: what was built; an image's name, a folder or a URL; or a notebook instance.
        on: where the image is; None for the Docker engine of this machine.
        options: of :func:`custom_image.verification.verify`: ``level``, ``config``, ``profile`` ...

    Raises:
        As :func:`custom_image.verification.verify` and :func:`custom_image.ecs.verify`.
    """
    if isinstance(target, NotebookInstance):
        return verification.verify(target.target(), **options)
    target = getattr(target, "reference", target)
    if isinstance(on, BuildServer):
        return ecs.verify(target, on=on, **options)
    return verification.verify(target, engine=on, **options)
