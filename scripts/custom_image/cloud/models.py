"""A model (an AI application) of an image in the registry: classic calls, signed by the SDK's core.

Source: https://docs.otc.t-systems.com/modelarts/api-ref/model_management/creating_a_model.html
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.conversion import (
    to_apis,
    to_initial_config,
    to_metrics,
    to_params,
    to_protocol,
)
from custom_image.cloud.images import PublishedImage, registered
from custom_image.cloud.model import Model
from custom_image.cloud.validation.checks import refuse
from custom_image.errors import CloudRefused
from custom_image.model_config import ModelConfig, read_model_config
from custom_image.platform_api import EVENTS, INFER_TYPES, MODELS, REAL_TIME, REQUEST_MODES
from custom_image.progress import say
from custom_image.specification import MODEL_TYPE, PORT, REMARK_LENGTH

FIRST_VERSION: Final = "1.0.0"
LONGEST_PUBLISHING_S: Final = 1800.0
_ENDED: Final = ("published", "failed", "building_failed")
_LISTED: Final = 1000


def publish(
    published: PublishedImage,
    config: ModelConfig | str | Path,
    *,
    name: str = "",
    version: str = "",
    description: str = "",
    documents: Sequence[Mapping[str, str]] = (),
    copy_image: bool = True,
    asynchronous: bool = False,
    port: int = PORT.value,
    command: str = "",
    cloud: Cloud | None = None,
    timeout_s: float = LONGEST_PUBLISHING_S,
) -> Model:
    """Publish an image as a model, and wait until it is; a version that is there is found.

    Args:
        published: what :func:`~custom_image.cloud.push` returned.
        config: config.json, parsed or as its path.
        name: of the model; empty for the image's.
        version: empty for the one that has this content already, else the next one.
        description: kept short: the image's digest is written behind it.
        documents: each ``{"doc_name": ..., "doc_url": ...}``.
        copy_image: whether the platform copies the image; without, its tag must never change.
        asynchronous: its services answer later, for predictions that take longer than the gateway
            waits.
        port: that the container listens on.
        command: that starts the service; empty for the image's own.
        cloud: where to; None for :func:`~custom_image.cloud.open_cloud`.
        timeout_s: when to give up.

    Raises:
        UsageError: the platform would refuse it, or this version has other content.
        CloudRefused: the platform refuses, or publishing failed; with a bundle.
        Unavailable: the API does not answer.
    """
    cloud = cloud or open_cloud()
    if not isinstance(config, ModelConfig):
        config = read_model_config(config)
    name = name or re.sub(r"[^A-Za-z0-9_-]", "-", published.name)
    remark = f"{description} {published.digest}".strip()
    validation.model_name(name)
    if version:
        validation.model_version(version)
    validation.model_docs(documents)
    if len(remark) > REMARK_LENGTH.value:
        room = REMARK_LENGTH.value - len(published.digest) - 1
        remediation = "The image's digest stands behind it; shorten it."
        refuse("description", f"at most {room} characters", len(description), remediation)
    validation.description(remark)
    validation.region(published.reference, cloud.endpoint)
    if asynchronous:
        validation.async_service(REAL_TIME, to_protocol(config))
    body = {
        "model_name": name,
        "model_version": version,
        "model_type": MODEL_TYPE.value,
        "source_location": published.reference,
        "source_copy": str(copy_image).lower(),
        "install_type": [REAL_TIME] if asynchronous else list(INFER_TYPES),
        "model_algorithm": config.model_algorithm,
        "model_metrics": to_metrics(config),
        "description": remark,
        "model_docs": [dict(document) for document in documents],
        "apis": to_apis(config),
        "input_params": to_params(config, "request"),
        "output_params": to_params(config, "response"),
        "initial_config": to_initial_config(config, port),
        # No page names this field: inferred from the form's Request Mode.
        "request_mode": REQUEST_MODES[1] if asynchronous else "",
        # ShowModel tells it under this name; that CreateModel takes it so is inferred.
        "cmd": command,
    }
    body = {key: value for key, value in body.items() if value not in ("", [])}
    began = time.monotonic()
    versions = versions_of(cloud, name)
    version = version or _version_for(versions, body)
    validation.model_version(version)  # the one after 1.0.99 is none
    body["model_version"] = version
    with Bundle(cloud, "publish", f"{name}-{version}") as bundle:
        bundle.add("request.json", body)
        bundle.add("config.json", config.to_json())
        bundle.add("image.json", {"labels": dict(published.labels), **_image(published)})
        found = versions.get(version)
        if found and found["model_status"] in ("failed", "building_failed"):
            say(f"{name} {version} had failed; it is published anew")
            cloud.call("DELETE", f"{MODELS}/{found['model_id']}", what=f"delete {name} {version}")
            found = None
        if found and not _is_same(found, body):
            refuse(
                f"model {name} {version}",
                "the content that is published now",
                f"a version with other content ({_difference(found, body)})",
                "A version never changes: publish under another, or let one be chosen.",
            )
        if found is None:
            _require_private_image(cloud, published)
            created = cloud.call(
                "POST",
                MODELS,
                body,
                what=f"publish {name} {version}",
                planned={"model_id": "MODEL_ID"},
            )
        model_id = str(found["model_id"] if found else created["model_id"])
        bundle.add("events.json", lambda: model_events(cloud, model_id))
        shown = _wait(cloud, model_id, f"{name} {version}", timeout_s)
        if shown["model_status"] != "published":
            raise CloudRefused(
                f"{name} {version} was not published: it is {shown['model_status']}.\n"
                f"The platform says: {last_trouble(model_events(cloud, model_id))}"
            )
    return Model(
        id=model_id,
        name=name,
        version=version,
        status="published",
        image=published.reference,
        digest=published.digest,
        config=config,
        port=port,
        command=command,
        is_asynchronous=asynchronous,
        was_there=found is not None,
        seconds=time.monotonic() - began,
    )


def model_events(cloud: Cloud, model_id: str) -> list[dict[str, Any]]:
    """Return the events of a model, oldest first. The call is inferred: the console shows them."""
    try:
        found = cloud.call("GET", f"{MODELS}/{model_id}{EVENTS}", what="show the model's events")
    except CloudRefused:
        return []
    return sorted(found.get("events") or [], key=lambda event: event.get("occur_time", 0))


def last_trouble(events: Sequence[Mapping[str, Any]]) -> str:
    """Return the words of the last event that is not a normal one; else of the last."""
    words = [str(e.get("event_info", "")) for e in events if e.get("event_type") != "normal"]
    words = words or [str(event.get("event_info", "")) for event in events]
    return words[-1] if words else "nothing; see the Events tab of the console"


def versions_of(cloud: Cloud, name: str) -> dict[str, dict[str, Any]]:
    """Return what the platform shows of each version of a model, by version."""
    query = {"model_name": name, "exact_match": "true", "limit": _LISTED}
    found = cloud.call("GET", MODELS, query=query, what=f"list the versions of {name}")
    listed = [model for model in found.get("models") or [] if model.get("model_name") == name]
    return {model["model_version"]: show_model(cloud, model["model_id"], name) for model in listed}


def show_model(cloud: Cloud, model_id: str, name: str) -> dict[str, Any]:
    """Return what the platform says of a model."""
    planned = {"model_status": "published"}
    return cloud.call("GET", f"{MODELS}/{model_id}", what=f"show {name}", planned=planned)


def _version_for(versions: Mapping[str, Mapping[str, Any]], body: Mapping[str, Any]) -> str:
    """Return the latest version of this content, else the one that comes next."""
    ordered = sorted(versions, key=lambda text: [int(part) for part in text.split(".")])
    for version in reversed(ordered):
        if _is_same(versions[version], body):
            return version
    if not ordered:
        return FIRST_VERSION
    *upper, last = ordered[-1].split(".")
    return ".".join([*upper, str(int(last) + 1)])


def _is_same(shown: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    return not _difference(shown, body)


def _difference(shown: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Return what differs between a published version and the one to be published."""
    digest = body["description"].rpartition(" ")[2]
    checks = {
        "image": shown.get("source_location") == body["source_location"],
        "digest": str(shown.get("description") or "").endswith(digest),
        "config.json": _parsed(shown.get("config")) == _parsed(body["initial_config"]),
        "start command": (shown.get("cmd") or "") == body.get("cmd", ""),
        "request mode": (shown.get("request_mode") or "sync") == body.get("request_mode", "sync"),
    }
    return ", ".join(name for name, is_equal in checks.items() if not is_equal)


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text


def _require_private_image(cloud: Cloud, published: PublishedImage) -> None:
    """Refuse an image that is not there, is public, or is another than was pushed."""
    if cloud.wire.dry_run:
        return
    found = registered(cloud, published.reference)
    validation.image_tag(published.reference, is_there=found is not None)
    validation.private_image(published.reference, is_public=bool(found and found.is_public))
    if found:
        remediation = (
            "Push yours under a tag of its own, or publish what is there now: "
            f"{published.reference.partition('/')[2]}@{found.digest}"
        )
        validation.image_digest(published.reference, published.digest, found.digest, remediation)


def _wait(cloud: Cloud, model_id: str, name: str, timeout_s: float) -> dict[str, Any]:
    return wait_until(
        f"publishing {name}",
        lambda: show_model(cloud, model_id, name),
        is_settled=lambda shown: shown.get("model_status") in _ENDED,
        describe=lambda shown: str(shown.get("model_status")),
        timeout_s=timeout_s,
        poll_s=cloud.poll_s,
    )


def _image(published: PublishedImage) -> dict[str, Any]:
    return {"reference": published.reference, "digest": published.digest}
