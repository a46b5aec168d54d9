"""Starting what an instance serves, and waiting until a prediction may be asked."""

from __future__ import annotations

from http import HTTPStatus

from custom_image.engines import Instance
from custom_image.engines.client import ask_health
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import Unavailable
from custom_image.image_saving.instance import NotebookInstance
from custom_image.specification import HEALTH_URL


def start_service(instance: NotebookInstance, *, timeout_s: float = 120.0) -> Instance:
    """Start the boot file of an instance, and return when the service says that it is well.

    The server of a preset image may have no health route (404): then its first answer has to do,
    and a prediction that comes too early is refused by it.

    Raises:
        ServiceNotReady: it ended, or was not well in time; with its log.
    """
    service = instance.start()
    try:
        if ask_health(service.url).status == HTTPStatus.NOT_FOUND:
            return service
    except Unavailable:
        pass  # it listens and does not answer yet
    try:
        wait_until_ready(service, HEALTH_URL.value, timeout_s)
    except BaseException:
        service.stop()
        raise
    return service
