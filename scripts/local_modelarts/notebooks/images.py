"""Image management: the preset images, and registering, listing, showing and deleting images."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from custom_image.errors import UsageError
from custom_image.image_reference import ImageReference
from custom_image.platform_api import REGISTERED_IMAGE_FIELDS
from custom_image.specification import IMAGE_TAGS
from local_modelarts import validation
from local_modelarts.errors import image_exists, no_image, parameter
from local_modelarts.notebooks.responses import BUILD_IN, DEDICATED
from local_modelarts.platform import Platform
from local_modelarts.storage.resources import Image

_ARCHITECTURES: Final = ("X86_64", "AARCH64")
_SERVICE_TYPES: Final = ("UNKNOWN", "COMMON", "INFERENCE", "TRAIN", "DEV")
_PRESETS: Final = uuid.UUID("6f1b3a52-6f58-4c3f-9a3f-2f6f3a0c7d11")


class Images:
    """The images that ModelArts knows of. Those who are not in SWR are preset (BUILD_IN)."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._state = platform.state

    def offer_presets(self, references: Sequence[str]) -> None:
        """Register images of the engine as the platform's own, each under an id that stays.

        Raises:
            UsageError: the engine has no such image.
        """
        for text in references:
            reference = ImageReference.parse(text)
            size_bytes = self._platform.host.image_size_bytes(text)
            if not size_bytes:
                raise UsageError(f"--preset {text}: the Docker engine has no such image.")
            image_id = str(uuid.uuid5(_PRESETS, text))
            if self._state.get(Image, image_id) is None:
                self._add(
                    image_id,
                    reference,
                    swr_path=text,
                    type=BUILD_IN,
                    origin="CUSTOMIZE",
                    visibility="PUBLIC",
                    size=size_bytes,
                )

    def register(self, body: Mapping[str, Any]) -> Image:
        """Register an image that exists in the registry.

        Raises:
            ApiError: a field is not allowed, the image is not there, or it is registered.
        """
        validation.check(body, REGISTERED_IMAGE_FIELDS, required=("swr_path",))
        path = body["swr_path"]
        if len(body.get("tags") or []) > IMAGE_TAGS.value:
            raise parameter(f"tags: at most {IMAGE_TAGS} are allowed")
        fields = {
            "arch": validation.choice(body, "arch", _ARCHITECTURES, "X86_64"),
            "origin": validation.choice(body, "origin", ("CUSTOMIZE", "IMAGE_SAVE"), "CUSTOMIZE"),
            "service_type": validation.choice(body, "service_type", _SERVICE_TYPES, "UNKNOWN"),
            "visibility": validation.choice(body, "visibility", ("PRIVATE", "PUBLIC"), "PRIVATE"),
            "dev_services": body.get("services") or ["NOTEBOOK", "SSH"],
            "resource_categories": body.get("resource_category") or ["CPU", "GPU"],
            "description": body.get("description") or "",
            "workspace_id": body.get("workspace_id") or "0",
            "flavor_type": body.get("flavor_type"),
        }
        host, _, rest = path.partition("/")
        repository, _, tag = rest.rpartition(":")
        registry = self._platform.registry
        manifest = registry.manifest(repository, tag) if host == registry.host else None
        if manifest is None:
            raise no_image(path)
        with self._state.transaction():
            if any(row.swr_path == path for row in self._state.find(Image, _VISIBLE)):
                raise image_exists(path)
            return self._add(
                str(uuid.uuid4()),
                ImageReference.parse(path),
                swr_path=path,
                type=DEDICATED,
                size=manifest.size_bytes,
                digest=manifest.digest,
                **fields,
            )

    def list(self, query: Mapping[str, str]) -> list[Image]:
        """Return the images that a query asks for, newest first.

        Raises:
            ApiError: a word of the query is not known.
        """
        kind = validation.choice(query, "type", (BUILD_IN, DEDICATED, "ALL"), BUILD_IN)
        descending = validation.choice(query, "sort_dir", ("DESC", "ASC"), "DESC") == "DESC"
        name = query.get("name", "")
        exact = query.get("name_fuzzy_match", "true").lower() == "false"
        rows = [
            row
            for row in self._state.find(Image, _VISIBLE)
            if kind in ("ALL", row.type)
            and (row.name == name if exact and name else name in row.name)
            and query.get("namespace") in (None, "", row.namespace)
            and query.get("workspace_id") in (None, "", row.workspace_id)
            and query.get("service_type") in (None, "", row.service_type)
        ]
        return rows if descending else rows[::-1]

    def show(self, image_id: str) -> Image:
        """Return an image.

        Raises:
            ApiError: there is none.
        """
        row = self._state.get(Image, image_id)
        if row is None:
            raise no_image(image_id)
        return row

    def delete(self, image_id: str, *, with_content: bool) -> Image:
        """Forget an image; ``with_content`` deletes it from the registry too.

        Raises:
            ApiError: there is none, it is preset, or it is just being saved.
        """
        row = self.show(image_id)
        if row.type == BUILD_IN or row.status == "CREATING":
            raise parameter(f"image {image_id} cannot be deleted: it is {row.type}, {row.status}")
        if with_content and row.visibility == "PRIVATE":
            self._platform.registry.delete_tag(f"{row.namespace}/{row.name}", row.tag)
            self._platform.host.remove_image(row.swr_path)
        self._state.remove(Image, image_id)
        return row

    def _add(self, image_id: str, reference: ImageReference, **fields: Any) -> Image:
        defaults = {
            "name": reference.name,
            "namespace": reference.namespace,
            "tag": reference.tag,
            "arch": host_architecture(),
            "description": "",
            "dev_services": ["NOTEBOOK", "SSH"],
            "resource_categories": ["CPU", "GPU"],
            "service_type": "COMMON",
            "workspace_id": "0",
            "status_message": "",
        }
        return self._state.add(Image, image_id, "ACTIVE", **(defaults | fields))


_VISIBLE: Final = ("ACTIVE", "CREATING", "CREATE_FAILED", "ERROR")


def host_architecture() -> str:
    """Return this machine's architecture as the platform writes it."""
    return "AARCH64" if os.uname().machine in ("aarch64", "arm64") else "X86_64"
