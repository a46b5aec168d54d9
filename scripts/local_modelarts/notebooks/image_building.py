"""Building an image of a context that an instance sends: what the stand-in of ``ma-cli`` calls.

How the real ma-cli reaches the platform's builder is not documented, so these calls are our own,
below ``/local``. The build runs on the Docker engine without a network, and the image goes to the
registry as a save's does. Nothing is written down here: a build that a kill interrupts has left no
tag in the registry, and is simply begun again by whoever asked for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import IO, Any, Final

from custom_image.builders.build_log import BuildLog
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import Unavailable
from custom_image.platform_api import SAVED_IMAGE_FIELDS
from local_modelarts import errors, validation
from local_modelarts.errors import ApiError, image_exists, parameter
from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.platform import Platform
from local_modelarts.registry.client import Manifest
from local_modelarts.storage.resources import Organization

_LAST_LINES: Final = 30


def building_calls(platform: Platform) -> Calls:
    """Return the calls of the stand-in of ma-cli."""

    def build(call: Call) -> Answer:
        if call.upload is None:
            raise parameter("expected the build context as application/x-tar")
        return Answer(_build(platform, call.query, call.upload))

    def show_registry(_: Call) -> Answer:
        return Answer({"host": platform.registry.host})

    return [
        ("POST", "/local/{project_id}/image-builds", build),
        ("GET", "/local/{project_id}/registry", show_registry),
    ]


def _build(platform: Platform, query: Mapping[str, str], context: IO[bytes]) -> dict[str, Any]:
    """Build, push, and return what the registry holds then, with the builder's log.

    Raises:
        ApiError: the name is not allowed or taken, a step failed, or the image is too large.
        Unavailable: the engine or the registry does not answer.
    """
    path = query.get("swr_path", "")
    repository, _, tag = path.rpartition(":")
    namespace, _, name = repository.partition("/")
    fields = {"name": name, "namespace": namespace, "tag": tag}
    validation.check(fields, SAVED_IMAGE_FIELDS, required=tuple(fields))
    if platform.state.get(Organization, namespace) is None:
        raise parameter(f"swr_path: there is no organization {namespace!r} in SWR")
    if query.get("force") != "true" and platform.registry.manifest(repository, tag):
        raise image_exists(path)
    reference = f"{platform.registry.host}/{path}"
    log = _run(reference, _arguments(query.get("build_args", "{}")), context)
    size_bytes = platform.host.image_size_bytes(reference)
    if size_bytes > platform.settings.save_size_bytes:
        platform.host.remove_image(reference)
        raise parameter(errors.too_large(size_bytes, platform.settings.save_size_bytes))
    manifest = _push(platform, reference, repository, tag)
    return {
        "swr_path": reference,
        "size": manifest.size_bytes,
        "digest": manifest.digest,
        "log": log.lines,
    }


def _arguments(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise parameter(f"build_args is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise parameter("build_args is no JSON object")
    return {str(name): str(value) for name, value in found.items()}


def _run(reference: str, arguments: Mapping[str, str], context: IO[bytes]) -> BuildLog:
    log = BuildLog()
    with closing(DockerEngine.connect()) as engine:
        for message in engine.build(context, reference, arguments):
            log.read(message)
    if log.error:
        tail = "\n".join(log.lines[-_LAST_LINES:])
        raise ApiError(400, "LocalModelArts.400", f"the build failed: {log.failure}\n{tail}")
    return log


def _push(platform: Platform, reference: str, repository: str, tag: str) -> Manifest:
    login = platform.logins.temporary("local", platform.settings.login_s)
    for _ in platform.host.push(reference, login.user, login.password):
        pass
    manifest = platform.registry.manifest(repository, tag)
    if manifest is None:
        raise Unavailable(errors.PUSH_FAILED)
    return manifest
