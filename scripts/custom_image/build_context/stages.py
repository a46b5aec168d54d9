"""Inputs of the stages of a Dockerfile."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_INSTRUCTION: Final = re.compile(
    r"(?im)^\s*(?:ARG\s+(?P<name>\w+)(?:=(?P<value>\S*))?"
    r"|FROM\s+(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<stage>\S+))?"
    r"|COPY\s+(?:--\S+\s+)*?--from=(?P<copied>\S+))"
)
_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?::-([^}]*))?\})")


def final_base(dockerfile: str, arguments: Mapping[str, str]) -> str:
    """Return what the last ``FROM`` names, build arguments filled in; empty where there is none."""
    stages, _ = _read(dockerfile, arguments)
    return stages[-1][0] if stages else ""


def external_images(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """Return the images that must be there before a build, those of ``COPY --from`` among them."""
    stages, copied = _read(dockerfile, arguments)
    names = {name.lower() for _, name in stages if name}
    wanted = [image for image, _ in stages] + [image for image in copied if not image.isdigit()]
    return list(
        dict.fromkeys(image for image in wanted if image.lower() not in {"", "scratch", *names})
    )


def _read(dockerfile: str, arguments: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    values: dict[str, str] = {}
    stages: list[tuple[str, str]] = []
    copied: list[str] = []
    for found in _INSTRUCTION.finditer(dockerfile):
        if found["name"] and not stages:  # later ones are of a stage alone
            values[found["name"]] = arguments.get(
                found["name"], (found["value"] or "").strip("\"'")
            )
        elif found["image"]:
            stages.append((_fill(found["image"], values), found["stage"] or ""))
        elif found["copied"]:
            copied.append(_fill(found["copied"], values))
    return stages, copied


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda m: values.get(m[1] or m[2], "") or m[3] or "", text)
