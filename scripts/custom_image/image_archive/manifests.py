"""Manifests of an archive: the image's configuration, and its layers in order.

Sources: https://github.com/moby/docker-image-spec/blob/main/spec.md (manifest.json) and
https://github.com/opencontainers/image-spec/blob/main/image-layout.md (index.json).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from custom_image.engines import ImageFacts
from custom_image.engines.image_facts import image_facts
from custom_image.errors import ArchiveError, UsageError
from custom_image.image_archive import media_types

M = TypeVar("M", bound=BaseModel)

DOCKER_MANIFEST: Final = "manifest.json"
OCI_INDEX: Final = "index.json"
_DEEPEST_INDEX: Final = 4
_PREFERRED: Final = ("linux", "amd64")


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _DockerImage(_Model):
    config: str = Field(alias="Config")
    layers: list[str] = Field(alias="Layers")
    tags: list[str] | None = Field(None, alias="RepoTags")


class _Platform(_Model):
    os: str = ""
    architecture: str = ""


class _Descriptor(_Model):
    digest: str
    platform: _Platform | None = None
    media_type: str = Field("", alias="mediaType")


class _Manifest(_Model):
    """An image manifest, or an index of several, which may hold further indexes."""

    config: _Descriptor | None = None
    layers: list[_Descriptor] = []
    manifests: list[_Descriptor] = []


class _Command(_Model):
    command: list[str] | None = Field(None, alias="Cmd")
    entry_point: list[str] | None = Field(None, alias="Entrypoint")
    environment: list[str] | None = Field(None, alias="Env")
    user: str | None = Field("", alias="User")
    working_dir: str | None = Field("", alias="WorkingDir")
    ports: dict[str, Any] | None = Field(None, alias="ExposedPorts")
    labels: dict[str, str] | None = Field(None, alias="Labels")


class _Step(_Model):
    created_by: str = ""
    empty_layer: bool = False


class _RootFiles(_Model):
    diff_ids: list[str] = []


class ImageConfig(_Model):
    """The configuration of an image, as far as it is looked at."""

    architecture: str = ""
    os: str = ""
    config: _Command | None = None
    history: list[_Step] | None = None
    rootfs: _RootFiles | None = None


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    Attributes:
        layers: names of the parts that hold them, lowest first.
        id: the digest of the configuration, or the part that holds it.
        shape: what a push would send besides one image in plain or gzip layers, a line each.
    """

    id: str
    config: ImageConfig
    layers: tuple[str, ...]
    shape: tuple[str, ...] = ()

    @property
    def steps(self) -> list[tuple[str, bool]]:
        """What made the image, oldest first, and whether each step made a layer."""
        steps = [(s.created_by, not s.empty_layer) for s in self.config.history or []]
        if sum(makes for _, makes in steps) != len(self.layers):
            return [(f"layer {n}", True) for n in range(1, len(self.layers) + 1)]
        return steps

    def facts(self, reference: str, sizes: list[int]) -> ImageFacts:
        """Return the facts that an engine would tell of it; ``sizes`` are the layers', in bytes."""
        command, remaining = self.config.config or _Command.model_validate({}), iter(sizes)
        history = [
            {"CreatedBy": step, "Size": next(remaining, 0) if makes_layer else 0}
            for step, makes_layer in self.steps
        ]
        attributes = {
            "Id": self.id,
            "Size": sum(sizes),
            "Architecture": self.config.architecture,
            "Os": self.config.os,
            "Config": command.model_dump(by_alias=True, exclude_none=True),
            "RootFS": {"Layers": self.config.rootfs.diff_ids if self.config.rootfs else []},
        }
        return image_facts(reference, attributes, history[::-1])


def find_image(name: str, documents: Mapping[str, bytes | int], linked: Mapping[str, str]) -> Image:
    """Return the image that an archive holds.

    Args:
        name: of the archive.
        documents: its JSON parts by name; of those that are too large, their size in bytes.
        linked: names of parts that are links, and what they lead to.

    Raises:
        UsageError: it holds none, or several.
        ArchiveError: what describes the image is damaged.
    """
    found = _Documents(name, documents)
    if DOCKER_MANIFEST in documents:
        images = found.docker_images()
        if len(images) != 1:
            tags = ", ".join(t for image in images for t in image.tags or ["untagged"])[:300]
            raise UsageError(
                f"{name} holds {len(images)} images{f' ({tags})' if tags else ''}; expected one.\n"
                "Save the one that is meant: docker save --output FILE IMAGE"
            )
        config, layers = images[0].config, images[0].layers
    elif OCI_INDEX in documents:
        config, layers = found.oci_image(OCI_INDEX)
    else:
        raise UsageError(
            f"{name} holds neither {DOCKER_MANIFEST} nor {OCI_INDEX}: it is no archive of an image."
            "\nExpected what `docker save` writes (not `docker export`), or an OCI archive."
        )
    resolved = [linked.get(layer, layer) for layer in layers]
    digest = config.removeprefix("blobs/").replace("/", ":").removesuffix(".json")
    image_id = digest if ":" in digest else f"sha256:{digest}"
    shape = tuple(dict.fromkeys(found.shape(OCI_INDEX))) if OCI_INDEX in documents else ()
    return Image(image_id, found.read(config, ImageConfig), tuple(resolved), shape)


@dataclass(frozen=True)
class _Documents:
    name: str
    documents: Mapping[str, bytes | int]

    def read(self, part: str, model: type[M]) -> M:
        document = self.parse(part)
        try:
            return model.model_validate(document)
        except (ValidationError, RecursionError) as error:
            raise self._damage(part, _first_fault(error)) from error

    def docker_images(self) -> list[_DockerImage]:
        document = self.parse(DOCKER_MANIFEST)
        if not isinstance(document, list):
            raise self._damage(DOCKER_MANIFEST, "expected a list")
        try:
            return [_DockerImage.model_validate(image) for image in document]
        except ValidationError as error:
            raise self._damage(DOCKER_MANIFEST, _first_fault(error)) from error

    def shape(self, part: str, depth: int = 0) -> Iterator[str]:
        """Yield what an index holds besides one image: an index within, no image at all, zstd."""
        if part not in self.documents or depth > _DEEPEST_INDEX:
            return
        manifest = self.read(part, _Manifest)
        yield from media_types.faults("", self.parse(part))
        if len(manifest.manifests) > 1:
            yield f"an index of {len(manifest.manifests)} manifests"
        for descriptor in manifest.manifests:
            if descriptor.platform and descriptor.platform.os == "unknown":
                yield "an attestation, platform unknown/unknown"
            if descriptor.media_type in media_types.INDEXES:
                yield f"an index within: {descriptor.media_type}"
            yield from self.shape(_blob(descriptor), depth + 1)

    def oci_image(self, part: str, depth: int = 0) -> tuple[str, list[str]]:
        """Return the parts with configuration and layers; of several images, linux/amd64."""
        manifest = self.read(part, _Manifest)
        if manifest.config is not None:
            return _blob(manifest.config), [_blob(layer) for layer in manifest.layers]
        # Provenance is stored as an image for the platform unknown/unknown.
        images = [
            m for m in manifest.manifests if not m.platform or m.platform.os in ("", "linux")
        ] or manifest.manifests
        wanted = [
            m
            for m in images
            if m.platform and (m.platform.os, m.platform.architecture) == _PREFERRED
        ]
        chosen = wanted or images
        if len(chosen) != 1 or depth == _DEEPEST_INDEX:
            raise UsageError(
                f"{self.name} holds {len(chosen)} images; expected one.\n"
                "Save the one that is meant, for one platform."
            )
        return self.oci_image(_blob(chosen[0]), depth + 1)

    def parse(self, part: str) -> Any:
        content = self.documents.get(part)
        if content is None:
            raise self._damage(part, "it is not there")
        if isinstance(content, int):
            raise self._damage(part, f"it has {content:,} bytes, far more than any image needs")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._damage(part, f"it is not JSON ({error})") from error

    def _damage(self, part: str, what: str) -> ArchiveError:
        return ArchiveError(f"{self.name}, {part}: {what}.\nSave the image again.")


def _blob(descriptor: _Descriptor) -> str:
    return "blobs/" + descriptor.digest.replace(":", "/", 1)


def _first_fault(error: ValidationError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}"
