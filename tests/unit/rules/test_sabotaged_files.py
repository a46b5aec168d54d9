"""Sabotages that no Dockerfile can hold: of an archive, and of a build context.

The others stand in `support/sabotage.py`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from image_archives import (
    configuration,
    digest,
    docker_archive,
    layer_of,
    member,
    oci_parts,
    tar_of,
    write,
)
from judging import BROKEN, GOOD_SERVICE, judge, verdicts
from sabotage import WITHOUT_SABOTAGE

from custom_image.specification import MODEL_DIR

FILES = {
    "etc/passwd": b"ma-user:x:1000:100::/home/ma-user:/bin/sh\n",
    "home/run.sh": b"#!/bin/sh\nexec python3 /home/serve.py\n",
    f"{MODEL_DIR}/config.json": (GOOD_SERVICE / "config.json").read_bytes(),
}
SETTINGS = {"Env": ["PYTHONUNBUFFERED=1"], "ExposedPorts": {"8080/tcp": {}}}
DOCKERFILE = 'FROM debian:12-slim\nCOPY . /home\nUSER 1000:100\nCMD ["sh", "/home/run.sh"]\n'


def archive(
    folder: Path, *more: tuple[tarfile.TarInfo, bytes], architecture: str = "amd64"
) -> Path:
    layers = [layer_of(FILES), tar_of(*more)]
    document = json.loads(configuration(layers, **SETTINGS)) | {"architecture": architecture}
    return write(folder, docker_archive(layers, json.dumps(document).encode()))


def context(folder: Path, line: str = "") -> Path:
    (folder / "Dockerfile").write_text(DOCKERFILE.replace("COPY", f"{line}\nCOPY"))
    for path in ("run.sh", "config.json"):
        (folder / path).write_bytes((GOOD_SERVICE / path).read_bytes())
    return folder


TABLE: dict[str, Callable[[Path], Path]] = {
    "image.platform": lambda folder: archive(folder, architecture="s390x"),
    "layers.unpack": lambda folder: archive(folder, member("../outside", b"x")),
    "dockerfile.lint": lambda folder: context(folder, "RUN cd /tmp"),
}


@pytest.mark.parametrize("make", [archive, context])
def test_the_good_ones_break_no_rule(make, tmp_path):
    assert verdicts(judge(make(tmp_path), level="static"), *BROKEN) == []


@pytest.mark.parametrize("rule", TABLE)
def test_a_sabotage_fails_its_rule_and_no_other(rule, tmp_path):
    report = judge(TABLE[rule](tmp_path), level="static")

    assert verdicts(report, *BROKEN) == [rule], str(report)


INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def oci(folder: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Return an OCI archive whose documents were changed."""
    parts = dict(oci_parts([layer_of(FILES)], **SETTINGS))
    image = json.loads(parts["index.json"])["manifests"][0]
    parts["index.json"] = json.dumps({"manifests": [image]}).encode()
    change(parts)
    return write(folder, tar_of(*(member(name, content) for name, content in parts.items())))


def as_buildkit_does(parts: dict[str, bytes]) -> None:
    """Put the image and its attestation into an index within the index."""
    image = json.loads(parts["index.json"])["manifests"][0] | {"mediaType": MANIFEST}
    image["platform"] = {"os": "linux", "architecture": "amd64"}
    empty = json.dumps({"config": {"mediaType": EMPTY, "digest": image["digest"]}, "layers": []})
    parts[_blob(empty.encode())] = empty.encode()
    attestation = {
        "mediaType": MANIFEST,
        "digest": digest(empty.encode()),
        "platform": {"os": "unknown", "architecture": "unknown"},
    }
    inner = json.dumps({"mediaType": INDEX, "manifests": [image, attestation]}).encode()
    parts[_blob(inner)] = inner
    outer = {"mediaType": INDEX, "digest": digest(inner)}
    parts["index.json"] = json.dumps({"manifests": [outer]}).encode()


def _blob(content: bytes) -> str:
    return f"blobs/{digest(content).replace(':', '/')}"


def with_zstd(parts: dict[str, bytes]) -> None:
    """Call the layers what no standard knows."""
    for name, content in parts.items():
        if content.startswith(b'{"schemaVersion"') and b'"layers"' in content:
            document = json.loads(content)
            for layer in document["layers"]:
                layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.zstd"
            parts[name] = json.dumps(document).encode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (as_buildkit_does, ["an index within", "attestation", "2 manifests", EMPTY]),
        (with_zstd, ["rootfs.diff.tar.zstd"]),
    ],
)
def test_what_the_registry_refuses_at_the_last_step_is_named(change, words, tmp_path):
    settings = {"level": "static", "profile": "registry", "only": ["registry.manifest"]}

    good = judge(oci(tmp_path, lambda parts: None), **settings)
    report = judge(oci(tmp_path, change), **settings)

    assert verdicts(good, *BROKEN) == []
    assert verdicts(report, *BROKEN) == ["registry.manifest"], str(report)
    assert all(word in report.check("registry.manifest").evidence for word in words)


def test_what_no_dockerfile_can_break_is_broken_here():
    assert {*TABLE, "registry.manifest"} == WITHOUT_SABOTAGE
