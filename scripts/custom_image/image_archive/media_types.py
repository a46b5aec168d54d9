"""Media types of manifests and layers, and which of them the registry SWR refuses.

Sources: https://github.com/opencontainers/image-spec/blob/main/media-types.md,
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DOCKER_IMAGE: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_IMAGE: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY_CONFIG: Final = "application/vnd.oci.empty.v1+json"
INDEXES: Final = (OCI_INDEX, DOCKER_LIST)
MANIFESTS: Final = (DOCKER_IMAGE, OCI_IMAGE, DOCKER_LIST, OCI_INDEX)


def faults(media_type: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return why SWR refuses a manifest; nothing where it takes it.

    An OCI index is refused, a Docker list is not: https://github.com/vllm-project/vllm-ascend/pull/16117.
    That it refuses zstd layers as well is inferred from engines that cannot unpack them.
    """
    if media_type == OCI_INDEX:
        return [f"an index of the type {OCI_INDEX}"]
    found = []
    if _type_of(manifest.get("config")) == EMPTY_CONFIG:
        found.append(f"a configuration of the type {EMPTY_CONFIG}, which is no image")
    layers = manifest.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if "zstd" in _type_of(layer):
            found.append(f"a layer of the type {_type_of(layer)}")
    return list(dict.fromkeys(found))


def _type_of(descriptor: Any) -> str:
    return str(descriptor.get("mediaType", "")) if isinstance(descriptor, Mapping) else ""
