"""Which image of a saved one is sent, and what is said of the rest."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from image_archives import (
    configuration,
    containerd_archive,
    digest,
    docker_archive,
    gzipped,
    layer_of,
    member,
    oci_parts,
    tar_of,
)

from custom_image.cloud.upload.single_image import read_single_image, saved_parts
from custom_image.cloud.upload.upload import manifest_of
from custom_image.errors import ArchiveError, UsageError
from custom_image.image_archive import media_types
from custom_image.registry_client import Blob

LAYERS = [layer_of({"a": b"a" * 3000}), layer_of({"b": b"b" * 3000}), layer_of({"c": b"c" * 3000})]
PACKED = [gzipped(LAYERS[0]), zstandard.compress(LAYERS[1]), LAYERS[2]]
SAVED = containerd_archive(LAYERS, PACKED)


def test_of_an_index_the_image_is_chosen_and_the_rest_is_named():
    image = read_single_image("any:1", iter([SAVED]))

    assert image.id == digest(configuration(LAYERS))
    assert [layer.packing for layer in image.layers] == ["gzip", "zstd", "plain"]
    assert [layer.digest for layer in image.layers] == [digest(PACKED[0]), "", ""]
    assert image.conversions == (
        "left out: the image for linux/arm64",
        "left out: an attestation",
        "packed as gzip: 1 zstd layer",
        "packed as gzip: 1 plain layer",
    )


def test_layers_are_sent_as_gzip_whatever_they_were_and_the_same_each_time():
    image = read_single_image("any:1", iter([SAVED]))
    wanted = {layer.part: layer for layer in image.layers}

    once, twice = (
        {
            layer.part: b"".join(chunks)
            for layer, chunks in saved_parts("any:1", iter([SAVED]), wanted)
        }
        for _ in range(2)
    )

    assert once == twice
    sent = [once[layer.part] for layer in image.layers]
    assert sent[0] == PACKED[0]
    assert [gzip.decompress(layer) for layer in sent] == LAYERS


def test_a_plain_image_of_a_classic_store_is_sent_whole():
    config = configuration(LAYERS[:1])
    image = read_single_image("any:1", iter([docker_archive_of(config)]))

    assert image.conversions == ("packed as gzip: 1 plain layer",)


def docker_archive_of(config: bytes) -> bytes:
    name = digest(config).removeprefix("sha256:")
    manifest = [{"Config": f"{name}.json", "RepoTags": ["any:1"], "Layers": ["1/layer.tar"]}]
    return tar_of(
        member("1/layer.tar", LAYERS[0]),
        member(f"{name}.json", config),
        member("manifest.json", json.dumps(manifest).encode()),
    )


def test_an_image_whose_layer_or_configuration_is_not_there_is_refused():
    parts = oci_parts(LAYERS[:1])
    layer = f"blobs/{digest(LAYERS[0]).replace(':', '/')}"
    without = tar_of(*(member(n, c) for n, c in parts.items() if n != layer))

    with pytest.raises(ArchiveError, match=f"{layer} is not there"):
        read_single_image("any:1", iter([without]))
    with pytest.raises(ArchiveError, match="the configuration sha256:c0ffee is not there"):
        read_single_image("any:1", iter([docker_archive(LAYERS[:1])]))
    with pytest.raises(UsageError, match="no archive of an image"):
        read_single_image("any:1", iter([tar_of(member("hello"))]))


def test_the_manifest_is_of_dockers_type_and_swr_finds_no_fault_in_it():
    manifest = json.loads(manifest_of(Blob("sha256:aa", 1), [Blob("sha256:bb", 2)] * 2))

    assert manifest["mediaType"] == media_types.DOCKER_IMAGE
    assert [layer["size"] for layer in manifest["layers"]] == [2, 2]
    assert media_types.faults(media_types.DOCKER_IMAGE, manifest) == []
