"""Names that the code uses and that later versions of their package, or of Python, have not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from packaging.utils import canonicalize_name

from custom_image.adoption.dependencies import Bound
from custom_image.adoption.known_packages import (
    DISTRIBUTIONS,
    REMOVED_FROM_PYTHON,
    REMOVED_METHODS,
    REMOVED_NAMES,
    YAML_LOADS_ALONE,
)
from custom_image.adoption.service_code.checks import STEPS, served_classes
from custom_image.adoption.service_code.modules import Code, Module


def removed_names(code: Code) -> Iterator[tuple[str, Bound]]:
    """Yield the module, and what still has it, of each name that later versions have not."""
    for module in code.modules:
        sure = _surely_run(module)
        for owner, name, bound, node in _removed(module):
            top = owner.partition(".")[0]
            distribution = DISTRIBUTIONS[top][0]
            yield (
                top,
                Bound(
                    f"{distribution}{bound}",
                    f"{module.place(node)}: {name}",
                    str(canonicalize_name(distribution)),
                    id(node) in sure,
                ),
            )


def _removed(module: Module) -> Iterator[tuple[str, str, str, ast.AST]]:
    imported = set()
    for name, node in _used_names(module.tree):
        imported.add(name)
        for (owner, attribute), bound in REMOVED_NAMES.items():
            whole = f"{owner}.{attribute}" if attribute else owner
            if name == whole or (not attribute and name.startswith(f"{owner}.")):
                yield owner, whole, bound, node
    for node in ast.walk(module.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        for (owner, method), bound in REMOVED_METHODS.items():
            is_path = ast.unparse(node.func.value).endswith("path")
            if node.func.attr == method and owner in imported and not is_path:
                yield owner, f"{method}() of {owner}", bound, node
        if ast.unparse(node.func) == "yaml.load" and len(node.args) == 1 and not node.keywords:
            yield "yaml", "yaml.load without a Loader", YAML_LOADS_ALONE, node


def _surely_run(module: Module) -> set[int]:
    """Return the nodes that run when the file is imported, and those of the service's methods."""
    inner = {
        id(part)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Try)
        for part in ast.walk(node)
    }
    served = served_classes(module)
    methods = {
        id(part)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name in served
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name in STEPS
        for part in ast.walk(method)
    }
    return {id(node) for node in ast.walk(module.tree)} - inner | methods


def removed_from_python(
    code: Code, python: tuple[int, int]
) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """Yield where, which name of the standard library, and since when it is gone."""
    for module in code.modules:
        guarded = {
            id(n) for t in ast.walk(module.tree) if isinstance(t, ast.Try) for n in ast.walk(t)
        }
        for name, node in _used_names(module.tree):
            if id(node) in guarded:
                continue
            for (owner, attribute), since in REMOVED_FROM_PYTHON.items():
                whole = f"{owner}.{attribute}" if attribute else owner
                if python >= since and (
                    name == whole or (not attribute and name.startswith(f"{owner}."))
                ):
                    yield module.place(node), whole, since


def _used_names(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield dotted names that the code uses, in the words of their own modules."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            first, _, rest = dotted.partition(".")
            if first in known and re.fullmatch(r"[\w.]+", dotted):
                yield f"{known[first]}.{rest}", node


def loads_any_pickle(module: Module) -> ast.AST | None:
    """Return the call of torch.load that takes any pickle, as it did before torch 2.6."""
    for name, node in _used_calls(module.tree):
        if name == "torch.load" and not any(k.arg == "weights_only" for k in node.keywords):
            return node
    return None


def _used_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node
