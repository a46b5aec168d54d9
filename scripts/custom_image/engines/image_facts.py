"""The facts in an engine's answers to ``image inspect`` and ``image history``.

Source: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from custom_image.engines import ImageFacts

_PORT_DIGITS: Final = 5
# `|1 NAME=value /bin/sh -c ...` where build arguments were set.
_SHELL_STEP = re.compile(r"(?:\|\d+ .*? )?/bin/sh -c (.*)", re.DOTALL)


def image_facts(
    reference: str, attributes: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> ImageFacts:
    """Return the facts in the engine's answers to `image inspect` and `image history`."""
    config = attributes.get("Config") or {}
    entry_point, command = config.get("Entrypoint") or [], config.get("Cmd") or []
    steps = tuple((instruction(h["CreatedBy"]), int(h["Size"])) for h in reversed(history))
    environment = (variable.partition("=") for variable in config.get("Env") or [])
    return ImageFacts(
        reference=reference,
        id=attributes["Id"],
        # With the containerd image store `Size` is what the compressed layers take.
        size_bytes=max(int(attributes["Size"]), sum(size for _, size in steps)),
        layers=tuple((attributes.get("RootFS") or {}).get("Layers") or ()),
        command=(*entry_point, *command),
        shell_form=any(part[:2] == ["/bin/sh", "-c"] for part in (entry_point, command)),
        user=config.get("User", ""),
        working_dir=config.get("WorkingDir", ""),
        environment={name: value for name, _, value in environment},
        exposed_ports=tuple(
            int(number)
            for number, _, protocol in (p.partition("/") for p in config.get("ExposedPorts") or {})
            if protocol != "udp" and number.isdecimal() and len(number) <= _PORT_DIGITS
        ),
        architecture=attributes["Architecture"],
        os=attributes["Os"],
        labels=config.get("Labels") or {},
        history=steps,
        recorded=tuple(h["CreatedBy"] for h in reversed(history)),
    )


def instruction(created_by: str) -> str:
    """Return a Dockerfile instruction from the way the classic builder records it."""
    _, is_metadata, instruction = created_by.partition("#(nop)")
    if is_metadata:
        return instruction.strip()
    match = _SHELL_STEP.fullmatch(created_by)
    return f"RUN {match[1].strip()}" if match else created_by
