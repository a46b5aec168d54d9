"""Saving a running instance as an image: refuse, snapshot, push, and only then call it ACTIVE.

The image's row stands with CREATING from the request on, and its instance with SNAPSHOTTING. Only
one transaction ends both, so an image is either whole in the registry or not ACTIVE. After a crash
the job begins again: committing and pushing twice give the same image.

What a save loses is what is mounted: ``work``, ``/cache`` and the instance's keys.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from custom_image.engines.docker.images import RUN_LABEL
from custom_image.errors import CustomImageError, Unavailable
from custom_image.platform_api import SAVED_IMAGE_FIELDS
from local_modelarts import errors, validation
from local_modelarts.errors import ApiError, image_exists, no_instance, parameter, wrong_state
from local_modelarts.notebooks.containers import NOTEBOOK_LABEL, Containers, container_name
from local_modelarts.notebooks.images import host_architecture
from local_modelarts.notebooks.responses import DEDICATED
from local_modelarts.platform import Platform
from local_modelarts.storage.paths import LABEL
from local_modelarts.storage.resources import Image, Notebook, Organization

_LABELS_OF_INSTANCES: Final = (LABEL, NOTEBOOK_LABEL, RUN_LABEL)
# The engine's words when a layer did not arrive, before it tries again for about a minute. On
# loopback that means that the registry is gone, and a rehearsal need not wait for it.
_RETRYING: Final = "Retrying in"


class _Refused(Exception):
    """The save cannot be done; the message becomes the image's ``status_message``."""


class Saving:
    """Saves instances as images."""

    def __init__(self, platform: Platform, containers: Containers) -> None:
        self._platform = platform
        self._state = platform.state
        self._containers = containers

    def request(self, notebook_id: str, body: Mapping[str, Any]) -> Image:
        """Begin to save an instance, and return the image to be.

        Raises:
            ApiError: there is no such instance, it does not run or is being saved, a name is not
                allowed, the organization does not exist, or the image does already.
        """
        validation.check(body, SAVED_IMAGE_FIELDS, required=("name", "namespace", "tag"))
        name, namespace, tag = body["name"], body["namespace"], body["tag"]
        if self._platform.registry.manifest(f"{namespace}/{name}", tag):
            raise image_exists(f"{namespace}/{name}:{tag}")
        with self._state.transaction():
            notebook = self._state.get(Notebook, notebook_id)
            if notebook is None:
                raise no_instance()
            if notebook.status != "RUNNING":
                raise _not_running(notebook.status)
            if self._state.get(Organization, namespace) is None:
                raise parameter(f"namespace: there is no organization {namespace!r} in SWR")
            for other in self._state.find(Image, ("ACTIVE", "CREATING")):
                if (other.namespace, other.name, other.tag) == (namespace, name, tag):
                    raise image_exists(f"{namespace}/{name}:{tag}")
            image = self._state.add(
                Image,
                str(uuid.uuid4()),
                "CREATING",
                name=name,
                namespace=namespace,
                tag=tag,
                description=body.get("description") or "",
                swr_path=f"{self._platform.registry.host}/{namespace}/{name}:{tag}",
                type=DEDICATED,
                origin="IMAGE_SAVE",
                arch=host_architecture(),
                dev_services=["NOTEBOOK", "SSH"],
                resource_categories=["CPU", "GPU"],
                service_type="UNKNOWN",
                visibility="PRIVATE",
                workspace_id=body.get("workspace_id") or "0",
                size=0,
                status_message="",
                notebook_id=notebook_id,
            )
            self._state.change(Notebook, notebook_id, ("RUNNING",), "SNAPSHOTTING")
        self._platform.jobs.submit(self.advance, image.id)
        return image

    def resume(self) -> None:
        """Begin again what is half saved and has no job: a kill, or an engine that was gone."""
        for image in self._state.find(Image, ("CREATING",)):
            self._platform.jobs.submit(self.advance, image.id)

    def advance(self, image_id: str) -> None:
        """Save the instance of an image that is being created."""
        image = self._state.get(Image, image_id)
        if image is None or image.status != "CREATING":
            return
        reference = image.swr_path
        try:
            self._check(image.notebook_id)
            self._platform.host.remove_image(reference)  # of a job that was killed
            self._platform.host.commit(
                container_name(image.notebook_id), reference, drop_labels=_LABELS_OF_INSTANCES
            )
            if not self._push(image):
                return  # the platform stops; the next one begins again
            self._check_lease(image.notebook_id)
            manifest = self._platform.registry.manifest(
                f"{image.namespace}/{image.name}", image.tag
            )
            if manifest is None:
                raise _Refused(errors.PUSH_FAILED)
        except (_Refused, CustomImageError) as error:
            self._undo(image)
            self._end(image, "CREATE_FAILED", status_message=str(error).strip())
        else:
            self._end(image, "ACTIVE", size=manifest.size_bytes, digest=manifest.digest)

    def _check(self, notebook_id: str) -> None:
        """Refuse what the platform refuses before anything is copied."""
        settings, host = self._platform.settings, self._platform.host
        container = container_name(notebook_id)
        running = {c.name: c.is_running for c in host.find(f"{NOTEBOOK_LABEL}={notebook_id}")}
        if not running.get(container):
            raise _Refused(errors.SAVE_INTERRUPTED)
        self._check_lease(notebook_id, settings.save_reserve_s)
        if host.stuck_processes(container):
            raise _Refused(errors.STUCK_PROCESSES)
        if host.layer_count(host.image_of(container)) + 1 > settings.save_layers:
            raise _Refused(errors.TOO_MANY_LAYERS)
        size_bytes = host.size_bytes(container)
        if size_bytes > settings.save_size_bytes:
            raise _Refused(errors.too_large(size_bytes, settings.save_size_bytes))

    def _check_lease(self, notebook_id: str, reserve_s: float = 0) -> None:
        notebook = self._state.get(Notebook, notebook_id)
        left_s = notebook.lease_ends_at / 1000 - time.time() if notebook else 0
        if left_s <= 0:
            raise _Refused(errors.LEASE_ENDED)
        if left_s < reserve_s:
            raise _Refused(errors.LEASE_ENDING)

    def _push(self, image: Image) -> bool:
        """Push, and tell whether it came to its end: False where the platform stops first."""
        platform = self._platform
        login = platform.logins.temporary("local", platform.settings.login_s)
        try:
            for step in platform.host.push(image.swr_path, login.user, login.password):
                if platform.jobs.is_stopping:
                    return False
                self._check_lease(image.notebook_id)
                if step.startswith(_RETRYING):
                    raise _Refused(errors.PUSH_FAILED)
        except Unavailable as error:
            raise _Refused(f"{errors.PUSH_FAILED}: {error}") from error
        return True

    def _undo(self, image: Image) -> None:
        """Leave no trace of a save that failed, in the engine or in the registry."""
        self._platform.host.remove_image(image.swr_path)
        try:
            repository = f"{image.namespace}/{image.name}"
            self._platform.registry.delete_tag(repository, image.tag)
        except Unavailable:
            pass  # the tag is what a push writes last: one that failed has left none

    def _end(self, image: Image, status: str, **fields: Any) -> None:
        """End a save: image and instance change together."""
        notebook_id = image.notebook_id
        notebook = self._state.get(Notebook, notebook_id)
        has_lease = notebook is not None and notebook.lease_ends_at > time.time() * 1000
        after = "RUNNING" if has_lease else "STOPPING"
        with self._state.transaction():
            self._state.change(Image, image.id, ("CREATING",), status, **fields)
            self._state.change(Notebook, notebook_id, ("SNAPSHOTTING",), after)
        if after == "STOPPING":
            self._platform.jobs.submit(self._containers.advance, notebook_id)


def _not_running(status: str) -> ApiError:
    if status == "SNAPSHOTTING":
        return parameter("The instance is being saved as an image already.")
    return wrong_state(status, "save")
