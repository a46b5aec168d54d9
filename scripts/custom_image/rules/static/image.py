"""Rules on the metadata of the image, before anything runs."""

from __future__ import annotations

import re

from custom_image.rules import (
    ALL_PROFILES,
    SERVING_PROFILES,
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    passed,
    rule,
)
from custom_image.specification import ARCHITECTURE_MISMATCH, GB, MODEL_DIR, Number, Source

VOLUMES = Source(
    "Docker: volumes are not committed",
    "https://docs.docker.com/reference/cli/docker/container/commit/",
)

ARCHITECTURES = ("amd64", "arm64")


@rule(
    id="image.size",
    title="The image is small enough to become a model",
    why="The platform refuses to import a larger one, after all of it was uploaded.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE,
    limit_field="image_size",
    remediation="Remove what the model does not need; the evidence names the largest layers.",
    good="FROM python:3.11-slim and the packages that the model imports",
    bad="FROM nvidia/cuda:12-devel, with a data set in a layer below",
)
def size(context: Context) -> Finding:
    """Compare the uncompressed size; the registry shows the compressed one, which is smaller."""
    return _compare(context, context.edition.image_size)


@rule(
    id="image.notebook-size",
    title="The image is small enough to be made in a notebook instance",
    why="A notebook instance cannot save or build a larger one; an ECS can.",
    severity=Severity.NOTE,
    profiles=SERVING_PROFILES | {Profile.NOTEBOOK_SAVE},
    severities={Profile.NOTEBOOK_SAVE: Severity.ERROR},
    needs=Needs.IMAGE,
    limit_field="notebook_image_size",
    remediation="Make the image on an ECS, or make it smaller.",
    good="an image of 20 GB, saved in a notebook instance",
    bad="an image of 40 GB, which only an ECS can make",
)
def notebook_size(context: Context) -> Finding:
    """Compare the uncompressed size with what decides between a notebook and an ECS."""
    return _compare(context, context.edition.notebook_image_size)


def _compare(context: Context, limit: Number) -> Finding:
    size_gb = context.image.size_bytes / GB
    largest = sorted(context.image.history, key=lambda step: -step[1])[:3]
    evidence = [f"{layer_bytes / GB:7.3f} GB  {step[:160]}" for step, layer_bytes in largest]
    judge = failed if size_gb > limit.value else passed
    return judge(f"{size_gb:.3f} GB" if size_gb < 10 else f"{size_gb:.1f} GB", "\n".join(evidence))


@rule(
    id="image.platform",
    title="The image is made for a machine that the platform has",
    why="On another architecture the container ends with `exec format error`.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE,
    expected="linux on " + " or ".join(ARCHITECTURES),
    source=ARCHITECTURE_MISMATCH,
    remediation="Build on, or with --platform for, the architecture of the flavor: X86_64 or "
    "AARCH64.",
    good="docker build --platform linux/amd64 .",
    bad="docker build . on an Apple laptop, for an X86_64 flavor",
)
def platform(context: Context) -> Finding:
    """Compare operating system and architecture; which flavor it must fit only the user knows."""
    image = context.image
    is_known = image.os == "linux" and image.architecture in ARCHITECTURES
    return (passed if is_known else failed)(f"{image.os} on {image.architecture}")


@rule(
    id="image.volume",
    title="No VOLUME of the image lies over the model or the code",
    why="An image that is saved, and each new instance, finds a volume empty or as it was first.",
    severity=Severity.WARNING,
    needs=Needs.IMAGE,
    profiles=ALL_PROFILES,
    expected=f"no VOLUME at, above or below {MODEL_DIR}",
    source=VOLUMES,
    remediation="Remove the line; what is mounted is chosen where the service is deployed.",
    good="no VOLUME line",
    bad="VOLUME /home/ma-user/infer/model",
)
def volume(context: Context) -> Finding:
    """Read the steps of the build; of a path that a VOLUME names in a variable nothing is known."""
    found = []
    for step, _ in context.image.history:
        text = step.strip()
        for path in re.findall(r"/[^\s\]\[\",]*", text) if text.startswith("VOLUME") else ():
            places = (f"{MODEL_DIR}/", "/home/mind/model/")
            if any(
                p.startswith(f"{path.rstrip('/')}/") or f"{path}/".startswith(p) for p in places
            ):
                found.append(f"VOLUME {path}")
    return failed(found[0], "\n".join(found)) if found else passed("none")
