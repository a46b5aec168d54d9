"""Lookup by name of what is at the platform already: an image, a model, a service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.images import PublishedImage, log_in, registered
from custom_image.cloud.model import Model
from custom_image.cloud.models import FIRST_VERSION, show_model, versions_of
from custom_image.cloud.services.access import V1, V2
from custom_image.cloud.services.deploy import api_of
from custom_image.cloud.services.rollout import Rollout
from custom_image.cloud.services.service import Service
from custom_image.cloud.validation.checks import refuse
from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference
from custom_image.model_config import ModelConfig, parse_model_config, read_model_config
from custom_image.platform_api import MODELS, REQUEST_MODES
from custom_image.specification import MODEL_TYPE, PORT

_LISTED: Final = 1000


def find_image(name: str, *, cloud: Cloud | None = None) -> PublishedImage:
    """Return an image that was pushed, by ``organization/image:tag`` or its whole address.

    A digest behind it, ``...:tag@sha256:...``, says what the tag has to name when it is published.

    Raises:
        UsageError: the registry has none of this name, or it has no tag.
        CloudRefused: the API refuses to say.
        Unavailable: it does not answer.
    """
    cloud = cloud or open_cloud()
    parsed = ImageReference.parse(name)
    registry = parsed.registry
    if registry == DEFAULT_REGISTRY:
        registry = log_in(cloud).registry
    if not parsed.tag:
        refuse(
            name, "a tag before the digest", "none", "A model is made of a tag: NAME:TAG@DIGEST."
        )
    reference = f"{registry}/{parsed.repository}:{parsed.tag}"
    if cloud.wire.dry_run:
        return PublishedImage(reference, f"sha256:{'0' * 64}", 0, True, 0.0)
    found = registered(cloud, reference)
    validation.image_tag(reference, is_there=found is not None)
    assert found is not None  # or the line above has raised
    return PublishedImage(reference, parsed.digest or found.digest, found.size_bytes, True, 0.0)


def find_model(
    name: str,
    version: str = "",
    *,
    config: Path | None = None,
    cloud: Cloud | None = None,
) -> Model:
    """Return a version of a model; the highest one that is published where none is named.

    Args:
        name: of the model.
        version: of it.
        config: the config.json that a dry run takes for the model's, which it cannot ask for.
        cloud: where; None for :func:`~custom_image.cloud.open_cloud`.

    Raises:
        UsageError: there is none.
        CloudRefused: the API refuses to say.
        Unavailable: it does not answer.
    """
    cloud = cloud or open_cloud()
    shown = versions_of(cloud, name)
    if cloud.wire.dry_run:
        return _planned(name, version or FIRST_VERSION, config)
    ready = [v for v, model in shown.items() if model.get("model_status") == "published"]
    ready.sort(key=lambda text: [int(part) for part in text.split(".")])
    wanted = version or (ready[-1] if ready else "")
    if wanted not in ready:
        there = ", ".join(ready) or "none of this name"
        refuse(f"model {name} {version}".strip(), "one that is published", there, "Publish it.")
    return model_of(shown[wanted])


def find_service(
    name: str,
    *,
    model: Model | None = None,
    generation: str = "",
    config: Path | None = None,
    cloud: Cloud | None = None,
) -> Service:
    """Return a service that is there.

    Args:
        name: of the service.
        model: what it serves; None to look it up, which in v2 is the newest model of its image.
        generation: of the API, ``v1`` or ``v2``; empty for that of the endpoint.
        config: the config.json that a dry run takes for the model's, which it cannot ask for.
        cloud: where; None for :func:`~custom_image.cloud.open_cloud`.

    Raises:
        UsageError: there is none of this name, or what it serves is not known.
        CloudRefused: the API refuses to say.
        Unavailable: it does not answer.
    """
    cloud = cloud or open_cloud()
    api = api_of(cloud, generation)
    seen = api.find(name)
    if cloud.wire.dry_run:
        seen = api.show("SERVICE_ID")
        model = model or _planned(name, FIRST_VERSION, config)
    if seen is None:
        refuse(f"service {name}", "one that is there", "none of this name", "Deploy it first.")
    if model is None:
        first = (seen.content or [("",)])[0] if isinstance(seen.content, list) else ("",)
        if api.generation == V2:
            model = _of_image(cloud, name, str(first[0]))
        else:
            model = model_of(show_model(cloud, str(first[0]), name))
    later = seen.is_asynchronous or (api.generation == V1 and model.is_asynchronous)
    return Rollout(cloud, api, model, name, seen.options, later).service(seen)


def _of_image(cloud: Cloud, service: str, image: str) -> Model:
    """Return the newest model of the image that a service of v2 serves.

    Raises:
        UsageError: there is none.
    """
    found = cloud.call("GET", MODELS, query={"limit": _LISTED}, what="list the models")
    models = [m for m in found.get("models") or [] if image and m.get("source_location") == image]
    if not models:
        remediation = "Publish it, or name the model, whose config.json says what is asked."
        refuse(f"service {service}", "a model of its image", image or "no image", remediation)
    return model_of(show_model(cloud, str(models[0]["model_id"]), service))


def _planned(name: str, version: str, config: Path | None) -> Model:
    """Return the model that a dry run goes on with."""
    read = (
        read_model_config(config)
        if config
        else ModelConfig(model_algorithm="x", model_type=MODEL_TYPE.value)
    )
    return Model("MODEL_ID", name, version, "published", "IMAGE", "", read)


def model_of(shown: Mapping[str, Any]) -> Model:
    """Return a model as ShowModel describes it.

    Raises:
        ConfigError: its config.json is none.
    """
    where = f"model {shown.get('model_name')} {shown.get('model_version')}"
    given = shown.get("config") or {}
    text = given if isinstance(given, str) else json.dumps(given)
    document = json.loads(text)
    return Model(
        id=str(shown["model_id"]),
        name=str(shown["model_name"]),
        version=str(shown["model_version"]),
        status=str(shown["model_status"]),
        image=str(shown.get("source_location") or ""),
        digest=str(shown.get("description") or "").rpartition(" ")[2],
        config=parse_model_config(text, where),
        port=int(document.get("port") or PORT.value),
        command=str(shown.get("cmd") or ""),
        is_asynchronous=shown.get("request_mode") == REQUEST_MODES[1],
        was_there=True,
    )
