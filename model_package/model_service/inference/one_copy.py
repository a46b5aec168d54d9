"""Packages that can run with their model in a process of its own, and what their workers get.

The three steps of a request then run in different processes: ``_preprocess`` and ``_postprocess``
in a worker, ``_inference`` in the model process. What one step leaves on ``self`` for another would
be lost, or mixed up with that of other requests.
"""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_service.inference.link import dump, load
from model_service.model_service import SingleNodeService
from model_service.package.source import SERVICE_FILE, PackageCode

log = logging.getLogger("model_service")

ATTRIBUTE_BYTES = 16 * 2**20
"""A larger attribute is taken for a part of the model, and stays in its process."""

_STEPS = ("_preprocess", "_inference", "_postprocess")


def read_batch_size(folder: Path) -> int:
    """Return the ``batch_size`` that the service's class asks for; 0 where it asks for none."""
    for service in _classes(folder):
        for node in service.body:
            names = [t.id for t in getattr(node, "targets", []) if isinstance(t, ast.Name)]
            if isinstance(node, ast.Assign) and "batch_size" in names:
                value = ast.literal_eval(node.value) if _is_literal(node.value) else 0
                return value if isinstance(value, int) else 0
    return 0


def why_not(folder: Path) -> str:
    """Return why the steps of a package cannot run in different processes; empty if they can."""
    for service in _classes(folder):
        methods = {n.name: n for n in service.body if isinstance(n, ast.FunctionDef)}
        if "inference" in methods:
            return "its `inference` is whole, not three steps"
        for step in _STEPS:
            for node, name in _kept_state(step, methods):
                return f"`{step}` keeps `{name}` ({SERVICE_FILE}, line {node.lineno})"
    if PackageCode(folder).writes_files:
        return "it writes files, which another step may want to read"
    return ""


def _classes(folder: Path) -> list[ast.ClassDef]:
    try:
        tree = ast.parse((folder / SERVICE_FILE).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []  # whoever imports it meets that, and says so in health
    return [node for node in tree.body if isinstance(node, ast.ClassDef) and node.bases]


def _is_literal(node: ast.AST) -> bool:
    try:
        ast.literal_eval(node)
    except ValueError:
        return False
    return True


def _kept_state(step: str, methods: dict[str, ast.FunctionDef]) -> Iterator[tuple[Any, str]]:
    """Yield what a step, and the methods that it calls, set on ``self`` or on the module."""
    seen, waiting = set(), [step]
    while waiting:
        method = methods.get(waiting.pop())
        if method is None or method.name in seen or not method.args.args:
            continue
        seen.add(method.name)
        own = method.args.args[0].arg
        for node in ast.walk(method):
            if isinstance(node, ast.Global):
                yield node, node.names[0]
            elif isinstance(node, ast.Attribute) and _root(node) == own:
                if isinstance(node.ctx, (ast.Store, ast.Del)):
                    yield node, f"{own}.{node.attr}"
                waiting.append(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
                held = node.value
                if isinstance(held, ast.Attribute) and _root(held) == own:
                    yield node, f"{own}.{held.attr}"


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def pack_attributes(service: SingleNodeService) -> dict[str, list[bytes]]:
    """Return what of a loaded service its workers get: labels, sizes, tokenizers; no models."""
    packed = {}
    for name, value in vars(service).items():
        if hasattr(value, "state_dict"):
            continue
        try:
            pieces = [bytes(piece) for piece in dump(value)]
        except Exception:
            log.debug("%s stays in the model process", name, exc_info=True)
            continue
        if sum(map(len, pieces)) <= ATTRIBUTE_BYTES:
            packed[name] = pieces
    return packed


def make_stand_in(
    service_class: type[SingleNodeService], packed: dict[str, list[bytes]], infer: Any
) -> SingleNodeService:
    """Return a service without a model: ``infer`` is its ``_inference``, no constructor ran."""

    def missing(_self: object, name: str) -> Any:
        raise AttributeError(
            f"`{name}` is in the model process: with MODEL_PROCESSES only `_inference` can use it"
        )

    stand_in = type(service_class.__name__, (service_class,), {"__getattr__": missing})
    service: SingleNodeService = service_class.__new__(stand_in)
    for name, pieces in packed.items():
        try:
            vars(service)[name] = load(pieces)
        except Exception:
            log.debug("%s stays in the model process", name, exc_info=True)
    vars(service)["_inference"] = infer
    return service
