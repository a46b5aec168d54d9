"""Models ("AI applications"): imported from an image of the registry, checked, published.

A model is PUBLISHING until the image has been looked at; then it is PUBLISHED or FAILED, and its
events say why.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from custom_image.errors import CustomImageError, Unavailable
from custom_image.specification import GB
from local_modelarts.errors import model_exists, model_in_use, no_model
from local_modelarts.platform import Platform
from local_modelarts.services.model_requests import find_fault, read_request, routes
from local_modelarts.storage import events
from local_modelarts.storage.events import Events
from local_modelarts.storage.resources import Batch, Event, Model, Repository, Service
from local_modelarts.storage.store import WrongStatus

_KNOWN: Final = ("PUBLISHING", "PUBLISHED", "FAILED")
_BATCH_AT_WORK: Final = ("deploying", "running", "stopping")


class _Refused(Exception):
    """The image or its config cannot be imported; the text becomes an event."""


class Models:
    """The models of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._state = platform.state
        self._events = Events(platform.state)

    def create(self, body: Mapping[str, Any]) -> Model:
        """Begin to import a model.

        Raises:
            ApiError: a field is not allowed, or this version of the model is there.
        """
        fields = read_request(body)
        with self._state.transaction():
            for row in self._state.find(Model, _KNOWN):
                if (row.name, row.version) == (fields["name"], fields["version"]):
                    raise model_exists(row.name, row.version)
            model_id = str(uuid.uuid4())
            row = self._state.add(
                Model, model_id, "PUBLISHING", digest="", image="", size_bytes=0, apis=[], **fields
            )
            self._events.add(model_id, events.MODEL_STARTS)
        self._platform.jobs.submit(self.advance, model_id)
        return row

    def find(self, query: Mapping[str, str]) -> list[Model]:
        """Return the models that a query asks for, newest first."""
        name = query.get("model_name", "")
        exact = query.get("exact_match", "").lower() == "true"
        return [
            row
            for row in self._state.find(Model, _KNOWN)
            if (row.name == name if exact and name else name in row.name)
            and query.get("model_version") in (None, "", row.version)
            and query.get("model_status") in (None, "", row.status.lower())
            and query.get("workspace_id") in (None, "", row.workspace_id)
        ]

    def show(self, model_id: str) -> Model:
        """Return a model.

        Raises:
            ApiError: there is none.
        """
        row = self._state.get(Model, model_id)
        if row is None or row.status not in _KNOWN:
            raise no_model(model_id)
        return row

    def events(self, model_id: str) -> list[Event]:
        """Return what has happened to a model, newest first.

        Raises:
            ApiError: there is none.
        """
        return self._events.of(self.show(model_id).id)

    def delete(self, model_id: str) -> None:
        """Delete a model; the image in the registry stays.

        Raises:
            ApiError: there is none, or a service uses it.
        """
        with self._state.transaction():
            row = self.show(model_id)
            users = [r for r in self._state.find(Service) if r.status != "DELETING"]
            names = [s.name for s in users if any(g.model_id == model_id for g in s.config)]
            for batch in self._state.find(Batch, _BATCH_AT_WORK):
                names += [batch.name for e in batch.config if e.get("model_id") == model_id]
            if names:
                raise model_in_use(row.name, names[0])
            self._state.change(Model, model_id, (row.status,), "DELETING")
        self._platform.jobs.submit(self.advance, model_id)

    def resume(self) -> None:
        """Go on with what is half done and has no job: a kill, or a registry that was gone."""
        for row in self._state.find(Model, ("PUBLISHING", "DELETING")):
            self._platform.jobs.submit(self.advance, row.id)

    def advance(self, model_id: str) -> None:
        """Do what the transient status of a model announces."""
        row = self._state.get(Model, model_id)
        if row and row.status == "PUBLISHING":
            self._publish(row)
        elif row and row.status == "DELETING":
            self._platform.host.remove_image(self._local_name(model_id))
            with self._state.transaction():
                self._events.forget(model_id)
                self._state.remove(Model, model_id)

    def _publish(self, row: Model) -> None:
        try:
            fields = self._import(row)
        except (_Refused, CustomImageError) as error:
            text = str(error).strip()
            with suppress(WrongStatus), self._state.transaction():  # it was deleted meanwhile
                self._state.change(Model, row.id, ("PUBLISHING",), "FAILED", error_msg=text)
                self._events.add(row.id, text, abnormal=True)
        else:
            with suppress(WrongStatus), self._state.transaction():
                self._state.change(Model, row.id, ("PUBLISHING",), "PUBLISHED", **fields)
                self._events.add(row.id, events.MODEL_IMPORTED)

    def _import(self, row: Model) -> dict[str, Any]:
        """Look at config and image; return what is known of them then."""
        if fault := find_fault(row.config):
            raise _Refused(fault)
        platform, path = self._platform, row.source_location
        host, _, rest = path.partition("/")
        repository, _, tag = rest.rpartition(":")
        manifest = None
        if host == platform.registry.host and repository:
            manifest = platform.registry.manifest(repository, tag)
            if manifest is None and platform.registry.tags(repository):
                raise _Refused(events.NO_TAG.format(f"{host}/{repository}", tag))
        if manifest is None:
            raise _Refused(f"{events.NO_IMAGE} {path}")
        if (known := self._state.get(Repository, repository)) and known.is_public:
            raise _Refused(f"{events.NOT_SHARED} {repository} is public: set it to private.")
        login = platform.logins.temporary("local", platform.settings.login_s)
        digest = self._known_digest(row) or manifest.digest
        image = f"{host}/{repository}@{digest}"
        try:
            platform.host.pull(image, login.user, login.password)
        except Unavailable as error:
            raise _Refused(f"{events.NO_IMAGE} {error}") from error
        size_bytes = platform.host.image_size_bytes(image)
        limit_bytes = platform.settings.model_size_bytes
        if size_bytes > limit_bytes:
            raise _Refused(events.TOO_LARGE.format("Image", path, limit_bytes // GB))
        self._events.add(row.id, events.SIZE_CALCULATED)
        if row.source_copy:  # the image may go: what was imported is kept
            pulled, image = image, self._local_name(row.id)
            platform.host.tag(pulled, image)
        self._events.add(row.id, events.IMAGE_SHARED)
        return {
            "digest": digest,
            "image": image,
            "size_bytes": size_bytes,
            "apis": routes(row.config),
        }

    def _known_digest(self, row: Model) -> str:
        """Return what a tag named for the first model that did not copy its image; else nothing.

        A tag that is pushed again is followed by models that copy it alone: "enable image
        replication when creating a model. Otherwise new models still use the old image".
        Source: https://support.huaweicloud.com/intl/en-us/inference-modelarts/inference-modelarts-0009.html
        """
        others = [
            model.digest
            for model in self._state.find(Model, ("PUBLISHED",))
            if model.source_location == row.source_location and not model.source_copy
        ]
        return others[-1] if others and not row.source_copy else ""  # all have the same

    def _local_name(self, model_id: str) -> str:
        return f"{self._platform.identity.images}:{model_id}"


def find_published(platform: Platform, model_id: object) -> Model:
    """Return a model that a service can be made of.

    Raises:
        ApiError: there is none, or it is not published.
    """
    row = platform.state.get(Model, str(model_id))
    if row is None or row.status != "PUBLISHED":
        raise no_model(str(model_id))
    return row
