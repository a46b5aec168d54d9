"""Small images as archives, good and hostile, made without an engine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custom_image.image_archive import media_types

Layer = Mapping[str, bytes]


def member(name: str, content: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """Return one member of a tar; ``changes`` are attributes of its header."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.uid, info.gid = len(content), 0o755, 1000, 100
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """Return a tar of members, whatever their names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if content else None)
    return file.getvalue()


def layer_of(files: Layer) -> bytes:
    """Return a layer with these files, by path."""
    return tar_of(*(member(path.lstrip("/"), content) for path, content in files.items()))


def configuration(layers: Sequence[bytes], **config: Any) -> bytes:
    """Return the configuration of an image."""
    known = {"Cmd": ["sh", "/home/run.sh"], "User": "1000:100", "Env": ["PATH=/usr/bin"]}
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": known | config,
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [{"created_by": f"COPY step {n} /"} for n, _ in enumerate(layers, 1)],
    }
    return json.dumps(document).encode()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def docker_archive(layers: Sequence[bytes], config: bytes | None = None, **changes: Any) -> bytes:
    """Return what ``docker save`` writes: layers by an id of their own, the manifest at the end."""
    config = configuration(layers, **changes) if config is None else config
    # Ids that sort in another order than the layers, as those of an engine do.
    names = [f"{len(layers) - n:064x}/layer.tar" for n, _ in enumerate(layers)]
    manifest = [{"Config": "c0ffee.json", "RepoTags": ["mnist:1"], "Layers": names}]
    parts = sorted(zip(names, layers, strict=True))
    return tar_of(
        *(member(name, layer) for name, layer in parts),
        member("c0ffee.json", config),
        member("manifest.json", json.dumps(manifest).encode()),
    )


def oci_parts(layers: Sequence[bytes], packed: Sequence[bytes] = (), **changes: Any) -> Layer:
    """Return the files of an OCI layout; ``packed`` are the layers as they are stored."""
    packed = packed or layers
    config = configuration(layers, **changes)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": {"digest": digest(config)},
            "layers": [{"digest": digest(layer)} for layer in packed],
        }
    ).encode()
    attestation = {"digest": digest(b"x"), "platform": {"os": "unknown", "architecture": "unknown"}}
    index = {"schemaVersion": 2, "manifests": [{"digest": digest(manifest)}, attestation]}
    blobs = (config, manifest, *packed)
    return {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps(index).encode(),
        **{f"blobs/{digest(blob).replace(':', '/')}": blob for blob in blobs},
    }


def oci_archive(layers: Sequence[bytes], packed: Sequence[bytes] = (), **changes: Any) -> bytes:
    """Return an OCI archive."""
    parts = oci_parts(layers, packed, **changes)
    return tar_of(*(member(name, content) for name, content in parts.items()))


def containerd_archive(layers: Sequence[bytes], packed: Sequence[bytes], **changes: Any) -> bytes:
    """Return what ``docker save`` writes with containerd's image store: the engine's index whole.

    That is the image for linux/amd64, one for linux/arm64, and the attestation of the first.
    """
    blobs: dict[str, bytes] = {}

    def blob(content: bytes | dict[str, Any]) -> dict[str, Any]:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        blobs[f"blobs/{digest(data).replace(':', '/')}"] = data
        return {"digest": digest(data), "size": len(data)}

    def image(config: bytes, of: Sequence[bytes], system: str, architecture: str) -> dict[str, Any]:
        manifest = {"schemaVersion": 2, "config": blob(config), "layers": [blob(p) for p in of]}
        platform = {"os": system, "architecture": architecture}
        return {"mediaType": media_types.OCI_IMAGE, **blob(manifest), "platform": platform}

    config = configuration(layers, **changes)
    index = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [
            image(config, packed, "linux", "amd64"),
            image(b'{"architecture": "arm64"}', packed[:1], "linux", "arm64"),
            image(b"{}", [b'{"predicateType": "slsa"}'], "unknown", "unknown"),
        ],
    }
    outer = {"manifests": [{"mediaType": media_types.OCI_INDEX, **blob(index)}]}
    names = [f"blobs/{digest(p).replace(':', '/')}" for p in packed]
    name = f"blobs/{digest(config).replace(':', '/')}"
    manifest = [{"Config": name, "RepoTags": ["any:1"], "Layers": names}]
    return tar_of(
        *(member(name, content) for name, content in sorted(blobs.items())),
        member("index.json", json.dumps(outer).encode()),
        member("manifest.json", json.dumps(manifest).encode()),
        member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
    )


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1)


def write(folder: Path, content: bytes, name: str = "image.tar") -> Path:
    """Write an archive and return where."""
    path = folder / name
    path.write_bytes(content)
    return path
