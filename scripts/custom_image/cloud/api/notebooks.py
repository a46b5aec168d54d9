"""Notebook instances of ModelArts, and saving them, by the official SDK's own methods."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from custom_image.cloud.api.credentials import refusals
from custom_image.cloud.saved_image import SavedImage
from custom_image.cloud.validation import save_image
from custom_image.errors import CloudRefused
from custom_image.image_reference import ImageReference
from custom_image.progress import progress_bar
from custom_image.specification import NOTEBOOK_FLAVOR, SAVE_TIME

if TYPE_CHECKING:
    from huaweicloudsdkmodelarts.v1 import ModelArtsClient
    from huaweicloudsdkswr.v2 import SwrClient

_POLL_S: Final = 0.5
_LONGEST_START_S: Final = 600.0
_LONGEST_SAVE_S: Final = 6 * SAVE_TIME.value
_BEING_MADE: Final = ("INIT", "CREATING")


class NotebookInstances:
    """Calls about notebook instances; :class:`~custom_image.cloud.api.client.Cloud` has them."""

    _modelarts: ModelArtsClient
    _swr: SwrClient

    def find_preset(self, reference: str) -> str:
        """Return the id of a preset image, or nothing where the platform offers none of this name.

        Raises:
            CloudRefused: the API refuses.
            Unavailable: it does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import ListImageRequest

        with refusals("list its preset images"):
            found = self._modelarts.list_image(ListImageRequest(type="BUILD_IN", limit=200)).data
        return next((str(image.id) for image in found or [] if image.swr_path == reference), "")

    def delete_image(self, name: str) -> None:
        """Delete the saved image ``organization/image:tag`` here and in SWR. Idempotent.

        Raises:
            CloudRefused: the platform refuses.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import (
            DeleteImageRequest,
            DeleteImageRequestBody,
            ListImageRequest,
        )

        with refusals(f"delete {name}"):
            found = self._modelarts.list_image(ListImageRequest(type="DEDICATED", limit=200)).data
            for image in found or []:
                if f"{image.namespace}/{image.name}:{image.tag}" == name:
                    body = DeleteImageRequestBody(is_force=True)
                    self._modelarts.delete_image(DeleteImageRequest(id=image.id, body=body))

    def start_notebook(self, name: str, image_id: str) -> str:
        """Create a notebook instance with the smallest of disks; return its id when it runs.

        Raises:
            CloudRefused: the platform refuses, or the instance does not start; in its words.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import (
            CreateNotebookRequest,
            NotebookCreateRequest,
            ShowNotebookRequest,
            VolumeMountRequest,
        )

        body = NotebookCreateRequest(
            name=name,
            image_id=image_id,
            flavor=NOTEBOOK_FLAVOR.value,
            volume=VolumeMountRequest(category="EVS", ownership="MANAGED"),
        )
        with refusals(f"create the notebook instance {name}"):
            created = self._modelarts.create_notebook(CreateNotebookRequest(body=body))
        deadline = time.monotonic() + _LONGEST_START_S
        while True:
            with refusals(f"show the notebook instance {name}"):
                shown = self._modelarts.show_notebook(ShowNotebookRequest(id=created.id))
            if shown.status == "RUNNING":
                return str(created.id)
            if shown.status != "CREATING" or time.monotonic() > deadline:
                raise CloudRefused(
                    f"The notebook instance {name} did not start: it is {shown.status}.\n"
                    f"The platform says: {shown.fail_reason or 'nothing'}"
                )
            time.sleep(_POLL_S)

    def switch_notebook(self, notebook_id: str, name: str) -> None:
        """Stop a running instance, give it the registered image ``name``, and start it again.

        Args:
            notebook_id: of the instance.
            name: ``organization/image:tag``.

        Raises:
            CloudRefused: the platform refuses, has no such image, or the instance does not start.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import (
            ListImageRequest,
            NotebookUpdateRequest,
            StartNotebookRequest,
            StopNotebookRequest,
            UpdateNotebookRequest,
        )

        with refusals(f"switch the notebook instance {notebook_id} to {name}"):
            listed = self._modelarts.list_image(ListImageRequest(type="DEDICATED", limit=200)).data
            found = [i for i in listed or [] if f"{i.namespace}/{i.name}:{i.tag}" == name]
            if not found:
                raise CloudRefused(f"No image {name} is registered in ModelArts.")
            self._modelarts.stop_notebook(StopNotebookRequest(id=notebook_id))
            self._wait_until(notebook_id, "STOPPED", ("STOPPING", "RUNNING"))
            body = NotebookUpdateRequest(image_id=found[0].id)
            self._modelarts.update_notebook(UpdateNotebookRequest(id=notebook_id, body=body))
            self._modelarts.start_notebook(StartNotebookRequest(id=notebook_id))
            self._wait_until(notebook_id, "RUNNING", ("STARTING", "STOPPED"))

    def _wait_until(self, notebook_id: str, wanted: str, on_the_way: tuple[str, ...]) -> None:
        from huaweicloudsdkmodelarts.v1 import ShowNotebookRequest

        deadline = time.monotonic() + _LONGEST_START_S
        while True:
            shown = self._modelarts.show_notebook(ShowNotebookRequest(id=notebook_id))
            if shown.status == wanted:
                return
            if shown.status not in on_the_way or time.monotonic() > deadline:
                raise CloudRefused(
                    f"The notebook instance {notebook_id} is {shown.status}, not {wanted}.\n"
                    f"The platform says: {shown.fail_reason or 'nothing'}"
                )
            time.sleep(_POLL_S)

    def delete_notebook(self, notebook_id: str) -> None:
        """Stop a notebook instance, and delete it with its disk.

        Raises:
            CloudRefused: the platform refuses, or it does not stop.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import (
            DeleteNotebookRequest,
            ShowNotebookRequest,
            StopNotebookRequest,
        )

        with refusals(f"stop the notebook instance {notebook_id}"):
            self._modelarts.stop_notebook(StopNotebookRequest(id=notebook_id))
            deadline = time.monotonic() + _LONGEST_START_S
            while True:
                shown = self._modelarts.show_notebook(ShowNotebookRequest(id=notebook_id))
                if shown.status == "STOPPED":
                    break
                if time.monotonic() > deadline:
                    raise CloudRefused(
                        f"The notebook instance {notebook_id} does not stop: it is {shown.status}."
                    )
                time.sleep(_POLL_S)
            self._modelarts.delete_notebook(DeleteNotebookRequest(id=notebook_id))

    def save_notebook(self, notebook_id: str, name: str, *, description: str = "") -> SavedImage:
        """Save a running instance as ``organization/image:tag``, and wait until that is ACTIVE.

        Raises:
            UsageError: ``name`` is not of this form.
            CloudRefused: the platform refuses, at once or after trying; in its words.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkmodelarts.v1 import CreateImageRequest, ImageCreateReq

        reference = ImageReference.parse(name)
        save_image(reference.name, reference.namespace, reference.tag)
        body = ImageCreateReq(
            name=reference.name,
            namespace=reference.namespace,
            tag=reference.tag,
            description=description,
        )
        began = time.monotonic()
        with refusals(f"save instance {notebook_id} as {name}"):
            image = self._modelarts.create_image(CreateImageRequest(id=notebook_id, body=body))
        image = self._wait_until_active(image.id, name)
        layers = self._layers(reference)
        return SavedImage(
            id=image.id,
            reference=image.swr_path,
            stored_bytes=_in_bytes(int(image.size or 0), sum(size for _, size in layers)),
            layers=layers,
            seconds=time.monotonic() - began,
        )

    def _wait_until_active(self, image_id: str, name: str) -> Any:
        from huaweicloudsdkmodelarts.v1 import ShowImageRequest

        began = time.monotonic()
        with progress_bar(SAVE_TIME.value, f"saving {name}", "s") as bar:
            while True:
                with refusals(f"show image {image_id}"):
                    image = self._modelarts.show_image(ShowImageRequest(id=image_id))
                waited_s = time.monotonic() - began
                if image.status == "ACTIVE":
                    return image
                if image.status not in _BEING_MADE or waited_s > _LONGEST_SAVE_S:
                    raise CloudRefused(
                        f"{name} was not saved: it is {image.status} after {waited_s:.0f} s.\n"
                        f"The platform says: {image.status_message or 'nothing'}"
                    )
                bar.update(min(waited_s, SAVE_TIME.value) - bar.n)
                time.sleep(_POLL_S)

    def _layers(self, reference: ImageReference) -> tuple[tuple[str, int], ...]:
        from huaweicloudsdkswr.v2 import ShowRepoTagRequest

        request = ShowRepoTagRequest(
            namespace=reference.namespace, repository=reference.name, tag=reference.tag
        )
        with refusals(f"show {reference.namespace}/{reference.name}:{reference.tag} in SWR"):
            manifest = json.loads(self._swr.show_repo_tag(request).manifest or "{}")
        return tuple((layer["digest"], layer["size"]) for layer in manifest.get("layers", []))


def _in_bytes(size: int, compressed_bytes: int) -> int:
    """Return the size of an image in bytes: documented as kB, and bytes in the page's own sample.

    Source: https://support.huaweicloud.com/api-modelarts/CreateImage.html
    """
    return size * 1000 if size * 100 < compressed_bytes else size
