"""Find the service class of a model package and make one of it."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from model_service.model_service import SingleNodeService

SERVICE_FILE = "customize_service.py"


class PackageFault(Exception):
    """The model package cannot be served; the message says what was expected and found."""


def load_service(folder: Path, model_name: str) -> SingleNodeService:
    """Import ``customize_service.py`` and construct its service.

    Raises:
        PackageFault: the file, or one service class in it, is missing.
        Exception: whatever the user's module or constructor raises.
    """
    path = folder / SERVICE_FILE
    if not path.is_file():
        raise PackageFault(f"expected {SERVICE_FILE} in {folder}, found none")
    service_class = find_service_class(_import_from(path))
    return service_class(model_name, service_class.locate(folder))


def _import_from(path: Path) -> ModuleType:
    """Import a file so that it can ``import`` its neighbours, and ``from . import`` them."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    package = ModuleType("model_package")
    package.__path__ = [folder]
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
    """Return the one class of the module that derives from a base of ``model_service``.

    Of a class and its subclass the subclass is meant.

    Raises:
        PackageFault: there is none, or more than one.
    """
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, SingleNodeService)
        and value.__module__ == module.__name__
    ]
    last = [
        c for c in classes if not any(c is not other and issubclass(other, c) for other in classes)
    ]
    if len(last) != 1:
        found = ", ".join(c.__name__ for c in last) or "none"
        raise PackageFault(
            f"expected one class in {SERVICE_FILE} that derives from PTServingBaseService, "
            f"TfServingBaseService, OnnxServingBaseService or SingleNodeService, found {found}"
        )
    return last[0]
