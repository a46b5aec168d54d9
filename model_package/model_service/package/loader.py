"""Find the service class of a model package and make one of it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Callable

from model_service.model_service import SingleNodeService
from model_service.package.source import SERVICE_FILE, PackageCode

PRESET_MODULES = Path(__file__).parents[1] / "preset_modules"
"""What else the platform's images let code import: ``log``, ``metric``, ``error_code`` ..."""


class PackageFault(Exception):
    """The model package cannot be served; the message says what was expected and found."""


def load_service(
    folder: Path,
    model_name: str,
    code: PackageCode | None = None,
    weights: Path | None = None,
) -> SingleNodeService:
    """Import ``customize_service.py`` and construct its service.

    ``weights``: the folder of the weights, where they are not beside that file: a mount.

    Raises:
        PackageFault: the file, one service class in it, or the weights are missing.
        Exception: whatever the user's module or constructor raises.
    """
    code = code or PackageCode(folder)
    service_class = load_class(folder)
    weights = weights or folder
    if not weights.is_dir():
        raise PackageFault(
            f"expected a folder with weights at {weights} (WEIGHTS_PATH), found none"
        )
    try:
        model_path = base_of(service_class).locate(weights, code.text)
    except FileNotFoundError as error:
        raise PackageFault(str(error)) from error
    service = _construct(service_class, model_name, model_path)
    # A constructor need not call super().
    for name, value in (("model_name", model_name), ("model_path", model_path)):
        if not hasattr(service, name):
            setattr(service, name, value)
    return service


def load_class(folder: Path) -> type[SingleNodeService]:
    """Import ``customize_service.py`` and return its service class.

    Raises:
        PackageFault: the file, or one service class in it, is missing.
        Exception: whatever the user's module raises.
    """
    path = folder / SERVICE_FILE
    if not path.is_file():
        raise PackageFault(f"expected {SERVICE_FILE} in {folder}, found none")
    return find_service_class(_import_from(path))


def _import_from(path: Path) -> ModuleType:
    """Import a file so that it can ``import`` its neighbours, and ``from . import`` them.

    ``from model.x import y`` finds them too: on the platform their folder is called ``model``.
    """
    folder = path.parent
    # The server's arguments are none of the package's: some packages parse theirs on import.
    sys.argv = [str(path)]
    sys.path[:0] = [str(folder), str(folder.parent)]
    sys.path.append(str(PRESET_MODULES))
    package = ModuleType("model_package")
    package.__path__ = [str(folder)]
    package.__spec__ = ModuleSpec("model_package", None, is_package=True)
    sys.modules["model_package"] = package
    spec = importlib.util.spec_from_file_location(f"model_package.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PackageFault(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def find_service_class(module: ModuleType) -> type[SingleNodeService]:
    """Return the one class on a base of the platform that has no subclass.

    A class that the module itself defines comes before one that it imports from a neighbour.

    Raises:
        PackageFault: there is none, or more than one.
    """
    found = {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, SingleNodeService)
        and not _is_base_of_the_platform(value)
    }
    last = [c for c in found if not any(c is not other and issubclass(other, c) for other in found)]
    last = [c for c in last if c.__module__ == module.__name__] or last
    if len(last) != 1:
        names = ", ".join(sorted(c.__name__ for c in last)) or "none"
        raise PackageFault(
            f"expected one class in {SERVICE_FILE} that derives from PTServingBaseService, "
            f"TfServingBaseService, OnnxServingBaseService or SingleNodeService, found {names}"
        )
    return last[0]


def base_of(service_class: type[SingleNodeService]) -> type[SingleNodeService]:
    """Return the base that a class is on, whose methods no name of the package's hides."""
    return next(c for c in service_class.__mro__ if _is_base_of_the_platform(c))


def _is_base_of_the_platform(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("model_service", "mms")


def _construct(
    service_class: type[SingleNodeService], model_name: str, model_path: str
) -> SingleNodeService:
    """Give a constructor what it takes: both, the path alone, by other names, or nothing."""
    given = {"model_name": model_name, "model_path": model_path}
    make: Callable[..., SingleNodeService] = service_class
    try:
        parameters = list(inspect.signature(service_class).parameters.values())
    except (TypeError, ValueError):
        return make(model_name, model_path)
    kinds = inspect.Parameter
    in_order = [
        p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    by_name = {
        p.name: given[p.name]
        for p in parameters
        if p.kind is kinds.KEYWORD_ONLY and p.name in given
    }
    if len(in_order) >= 2 or any(p.kind is kinds.VAR_POSITIONAL for p in parameters):
        return make(model_name, model_path)
    if len(in_order) == 1:
        rest = {name: value for name, value in by_name.items() if name != in_order[0].name}
        return make(given.get(in_order[0].name, model_path), **rest)
    if any(p.kind is kinds.VAR_KEYWORD for p in parameters):
        return make(**given)
    return make(**by_name)
