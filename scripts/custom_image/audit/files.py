"""Files and folders of a notebook instance, judged for a save."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from custom_image.audit.findings import Finding
from custom_image.audit.walk import Place, shown
from custom_image.rules.contents.secrets import BINARY, MOST_SEARCHED_BYTES, SNIFFED_BYTES
from custom_image.rules.contents.waste import CACHES
from custom_image.scanners.secret_patterns import secrets_in_file
from custom_image.specification import MODEL_DIR

LARGE_BYTES: Final = 10 * 10**6
TO_WORK: Final = "Move it to /home/ma-user/work, which no save keeps."
_WEIGHTS: Final = re.compile(
    rb"\.(?:onnx|safetensors|pth?|pt2|pb|h5|keras|ckpt|tflite|mindir|om|pkl|joblib|bin|gguf|npz)$",
    re.IGNORECASE,
)
_CHECKPOINTS: Final = re.compile(rb"(?i)^(?:checkpoint[-_]?\d+|checkpoints?|.*\.ckpt)$")
_HISTORY: Final = re.compile(
    rb"^(?:\.(?:bash|sh|ash|zsh|python|psql|mysql)_history|\.lesshst|history\.sqlite)$"
)
# Of those below ~/.cache: each is made again by the program that it is named after.
_REMADE: Final = {
    b"pip", b"uv", b"yarn", b"go-build", b"matplotlib", b"fontconfig", b"mypy", b"black", b"jedi",
}  # fmt: skip
_COMPARED_BYTES: Final = 2**30


def judge_saved(places: list[Place], home: Path) -> Iterator[Finding]:
    """Yield what a save would carry along for nothing, or should not carry at all."""
    covered: tuple[bytes, ...] = ()  # what lies below a folder that was judged whole
    for place in places:
        if place.path.startswith(covered):
            continue
        if place.is_folder:
            finding = _judge_folder(place, places)
            if finding:
                covered += (place.path + b"/",)
                yield finding
        elif place.is_file:
            yield from _judge_file(place, home)


def judge_lost(
    places: Iterable[Place], folder: Path, weights: list[Place], home: Path
) -> Iterator[Finding]:
    """Yield the weights below a folder that a save loses, unless the model package has them."""
    kept = {place.size_bytes: place for place in weights}
    for place in places:
        if not place.is_file or not place.size_bytes or not _WEIGHTS.search(place.name):
            continue
        if _is_copy(place, kept.get(place.size_bytes)):
            continue
        yield _finding(
            "lost",
            place,
            place.size_bytes,
            f"weights that a save loses: {folder.name} is mounted",
            f"If the service needs them, copy them to {MODEL_DIR}.",
        )


def _judge_folder(place: Place, places: list[Place]) -> Finding | None:
    parent = place.path.rpartition(b"/")[0].rpartition(b"/")[2]
    inside = place.path + b"/"
    if place.name == b".git":
        kind, what, remediation = "git", "the history of a repository", TO_WORK
    elif place.name == b".ssh":
        kind, what = "ssh", "keys of a person or a machine"
        remediation = f"Nobody who pulls the image should have them. {TO_WORK}"
    elif place.name == b".ipynb_checkpoints":
        kind, what, remediation = "checkpoints", "copies that JupyterLab makes", "Remove it."
    elif _CHECKPOINTS.match(place.name):
        kind, what, remediation = "checkpoints", "checkpoints of a training", TO_WORK
    elif parent == b".cache" or CACHES.search(inside):
        kind, what = "caches", "a cache, which no service uses"
        remediation = "Remove it, or empty it with the program that it belongs to."
    else:
        return None
    members = [other for other in places if other.path.startswith(inside)]
    has_weights = any(_WEIGHTS.search(member.name) for member in members)
    is_remade = place.name in _REMADE if kind == "caches" else place.name == b".ipynb_checkpoints"
    size = sum(member.size_bytes for member in members)
    if not size and kind in ("caches", "checkpoints"):
        return None
    return _finding(kind, place, size, what, remediation, is_safe=is_remade and not has_weights)


def _judge_file(place: Place, home: Path) -> Iterator[Finding]:
    if _HISTORY.match(place.name) and place.size_bytes:
        remediation = "Remove it: passwords that were typed are in it."
        yield _finding(
            "history", place, place.size_bytes, "what was typed", remediation, is_safe=True
        )
        return
    if _CHECKPOINTS.match(place.name):
        yield _finding(
            "checkpoints", place, place.size_bytes, "a checkpoint of a training", TO_WORK
        )
    elif place.size_bytes > LARGE_BYTES and not place.is_model_of(home):
        yield _finding("large", place, place.size_bytes, "more than 10 MB", TO_WORK)
    if not BINARY.search(place.name):
        content = place.read(MOST_SEARCHED_BYTES)
        if b"\0" in content[:SNIFFED_BYTES]:
            return
        # Named once for each kind of secret; what it says is kept nowhere.
        for what, line in dict(secrets_in_file(place.path, content)).items():
            remediation = f"{TO_WORK} Renew it where an image with it was saved before."
            yield _finding(
                "secrets", place, place.size_bytes, f"{what}, in line {line}", remediation
            )


def _is_copy(place: Place, kept: Place | None) -> bool:
    """Tell whether the model package has the same bytes."""
    if kept is None or place.size_bytes > _COMPARED_BYTES:
        return False
    contents = (one.read(_COMPARED_BYTES) for one in (place, kept))
    digests = {hashlib.sha256(content).digest() for content in contents}
    return len(digests) == 1


def _finding(
    kind: str, place: Place, size_bytes: int, what: str, remediation: str, *, is_safe: bool = False
) -> Finding:
    return Finding(kind, shown(place.path), size_bytes, what, remediation, is_safe, raw=place.path)
