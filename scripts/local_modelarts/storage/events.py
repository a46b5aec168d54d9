"""Events of models and services, in the platform's words where they are documented.

Source: https://support.huaweicloud.com/usermanual-standard-modelarts/inference-modelarts-0118.html
(models) and https://support.huaweicloud.com/intl/en-us/inference-modelarts/inference-modelarts-0119.html
(services). Texts with the remark "ours" stand on neither page.
"""

from __future__ import annotations

import uuid
from typing import Final

from local_modelarts.storage.resources import Event, PodEvent
from local_modelarts.storage.store import State

# --- models ---------------------------------------------------------------------------------------
MODEL_STARTS: Final = "Start model import."
MODEL_IMPORTED: Final = "The model imported."
SIZE_CALCULATED: Final = "Source image size calculated."
IMAGE_SHARED: Final = "Source image shared."
NO_DEPENDENCIES: Final = "Customize model does not support dependencies."
NO_TAG: Final = "Image {} does not have the {} tag."
NO_IMAGE: Final = "Failed to obtain the source image. Check whether the image exists."
NOT_SHARED: Final = (
    "Failed to share the source image. Check whether the image exists or whether you have the "
    "permission to share the image."
)
TOO_LARGE: Final = "{} [{}] is larger than {}G and cannot be imported."
WRONG_HEALTH_URL: Final = "The health check url of custom image model must be {}."
INVALID_CONFIG: Final = "Invalid {} in config.json."

# --- services -------------------------------------------------------------------------------------
DEPLOYING: Final = "The service starts to deploy."
UPDATING: Final = "The service is being updated."
STARTING: Final = "The service is being started."
STOPPING: Final = "The service is being stopped."
STOPPED: Final = "The service has been stopped."
FAILED: Final = "Service {} failed. Error: {}"
ROLLBACK: Final = "Failed to update the service. Perform a rollback."
ROLLBACK_FAILED: Final = "Upgrade rollback failed."
"""Of v2: https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0048.html"""
POD_FAILED: Final = "Failed to start the pod container in deployment [{}]."
"""Of v2: https://support.huaweicloud.com/modelarts_faq/modelarts_05_0026.html"""
PULL_FAILED: Final = "Failed to pull image, retry later"
DEPLOYED: Final = "The service has been deployed."  # ours, as all below
UPDATED: Final = "The service has been updated."
INTERRUPTED: Final = (
    "In a public resource pool an update is not hitless: the old instances are stopped before new "
    "ones start. Use a dedicated resource pool (pool_name)."
)
NO_HEALTH: Final = (
    "The model has no health check: an instance counts as started as soon as its port accepts "
    "connections, and an update is not hitless."
)


class Events:
    """What has happened, one row each."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, resource_id: str, text: str, *, abnormal: bool = False) -> None:
        """Note what has happened to a resource, unless it is what was noted last."""
        with self._state.transaction():
            last = self.of(resource_id)[:1]
            if not last or last[0].event_info != text:
                self._state.add(
                    Event,
                    str(uuid.uuid4()),
                    "abnormal" if abnormal else "normal",
                    of=resource_id,
                    event_info=text,
                )

    def of(self, resource_id: str) -> list[Event]:
        """Return what has happened to a resource, newest first."""
        return [row for row in self._state.find(Event) if row.of == resource_id]

    def forget(self, resource_id: str) -> None:
        """Drop the events of a resource. Idempotent."""
        with self._state.transaction():
            for row in self.of(resource_id):
                self._state.remove(Event, row.id)


class PodEvents:
    """What has happened to one instance, by Kubernetes' reasons; counted where it repeats itself.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def add(self, instance_id: str, reason: str, message: str, *, is_warning: bool = False) -> None:
        """Note what has happened to an instance."""
        with self._state.transaction():
            for row in self.of(instance_id):
                if (row.reason, row.message) == (reason, message):
                    count = row.count + 1
                    self._state.change(PodEvent, row.id, (row.status,), count=count)
                    return
            self._state.add(
                PodEvent,
                str(uuid.uuid4()),
                "Warning" if is_warning else "Normal",
                of=instance_id,
                reason=reason,
                message=message,
                count=1,
            )

    def of(self, instance_id: str) -> list[PodEvent]:
        """Return what has happened to an instance, newest first."""
        return [row for row in self._state.find(PodEvent) if row.of == instance_id]

    def forget(self, instance_id: str) -> None:
        """Drop the events of an instance. Idempotent."""
        with self._state.transaction():
            for row in self.of(instance_id):
                self._state.remove(PodEvent, row.id)
