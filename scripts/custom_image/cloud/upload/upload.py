"""One image of an engine into a registry: one manifest of Docker's type, layers of gzip."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from custom_image.cloud.upload.repository import Repository
from custom_image.cloud.upload.single_image import SingleImage, saved_parts
from custom_image.image_archive import media_types
from custom_image.image_reference import ImageReference
from custom_image.progress import progress_bar
from custom_image.registry_client import Blob


def upload(
    image: SingleImage,
    saved: Callable[[], Iterator[bytes]],
    reference: str,
    *,
    user: str,
    password: str,
) -> None:
    """Send what the registry lacks of an image, then its manifest.

    Args:
        image: what was read of the engine's saved image before.
        saved: saves it once more; only called where a layer is lacking.
        reference: where to.
        user: of a login.
        password: of that login.

    Raises:
        ArchiveError: the saved image is damaged.
        Unavailable: the registry refuses or does not answer, or the engine broke off.
    """
    target = ImageReference.parse(reference)
    layers = {layer.part: layer for layer in image.layers}
    with (
        Repository(target.registry, target.repository, user, password) as repository,
        progress_bar(len(layers), f"pushing {reference}", "layer") as bar,
    ):
        known = {p: repository.find(layer.digest) for p, layer in layers.items() if layer.digest}
        there = {part: blob for part, blob in known.items() if blob is not None}
        bar.update(len(there))
        lacking = {part: layer for part, layer in layers.items() if part not in there}
        if lacking:
            for layer, chunks in saved_parts(reference, saved(), lacking):
                there[layer.part] = repository.send(chunks)
                bar.update()
        config = repository.find(image.id) or repository.send([image.config])
        blobs = [there[layer.part] for layer in image.layers]
        repository.put_manifest(target.tag, media_types.DOCKER_IMAGE, manifest_of(config, blobs))


def manifest_of(config: Blob, layers: list[Blob]) -> bytes:
    """Return the manifest of an image, of Docker's type."""

    def descriptor(media_type: str, blob: Blob) -> dict[str, object]:
        return {"mediaType": media_type, "size": blob.size_bytes, "digest": blob.digest}

    document = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_IMAGE,
        "config": descriptor(media_types.DOCKER_CONFIG, config),
        "layers": [descriptor(media_types.DOCKER_LAYER, layer) for layer in layers],
    }
    return json.dumps(document, indent=3).encode()
