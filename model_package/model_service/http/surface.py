"""The HTTP surface of a model package: what its config.json declares.

Read leniently, because users copy the platform's samples with their slips (``procotol``,
``applicaton/json``): judging config.json is the verifier's work, serving it is this package's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEALTH_URL = "/health"
MULTIPART = "multipart/form-data"
APPLICATION_JSON = "application/json"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Api:
    """One entry of ``apis[]``.

    Attributes:
        content_type: ``multipart/form-data``, ``application/json``, or empty where none is declared
            and either is accepted.
        schema: JSON schema of the request body; empty where none is declared.
        properties: the declared parts or members.
        required: parts or members that every request must hold.
        file_parts: parts of the type ``file``.
    """

    url: str = "/"
    method: str = "POST"
    content_type: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(init=False, repr=False)
    required: tuple[str, ...] = field(init=False, repr=False)
    file_parts: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        properties, required = _mapping(self.schema.get("properties")), self.schema.get("required")
        files = (name for name, s in properties.items() if _mapping(s).get("type") == "file")
        derived = {
            "properties": properties,
            "required": tuple(map(str, required)) if isinstance(required, list) else (),
            "file_parts": tuple(files),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Surface:
    """What is served where.

    Attributes:
        problem: why config.json could not be read; empty where it could, or where there is none.
    """

    apis: tuple[Api, ...] = (Api(),)
    health_url: str = HEALTH_URL
    problem: str = ""


def read_surface(model_path: Path) -> Surface:
    """Read ``config.json``; without one, ``POST /`` takes either kind of body.

    The platform reads no config.json from a container image (apis are typed into its form), so a
    missing one is no fault. A broken one is: :attr:`Surface.problem` says what is wrong.
    """
    path = model_path / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return Surface()
    except (OSError, ValueError) as error:
        return Surface(problem=f"{path} cannot be read: {error}")
    if not isinstance(config, dict):
        return Surface(problem=f"{path}: expected a JSON object, found a {type(config).__name__}")
    apis = config.get("apis")
    entries = [_mapping(entry) for entry in apis] if isinstance(apis, list) else []
    health = _mapping(config.get("health"))
    return Surface(
        apis=tuple(_read_api(entry) for entry in entries) or (Api(),),
        health_url=str(health.get("url") or HEALTH_URL),
    )


def _read_api(entry: Mapping[str, Any]) -> Api:
    request = _mapping(entry.get("request"))
    declared = str(request.get("Content-type") or request.get("Content-Type") or "").lower()
    data = request.get("data")
    if isinstance(data, str):  # the platform's table calls it a string, its samples give an object
        try:
            data = json.loads(data)
        except ValueError:
            data = {}
    if "multipart" in declared:
        content_type = MULTIPART
    else:
        content_type = APPLICATION_JSON if "json" in declared else ""
    return Api(
        url=str(entry.get("url") or "/"),
        method=str(entry.get("method") or "POST").upper(),
        content_type=content_type,
        schema=_mapping(data),
    )
