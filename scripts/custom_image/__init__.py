"""Author, verify and rehearse ModelArts custom images.

The chain of nouns, each made by one function of this page:

    load_mnist       Digits             build            BuiltImage
    train_or_load    TrainedModel       start_service    Instance, which predict() asks
    package_model    ModelPackage       verify           Report
    package_folder   AdoptedPackage     ship             Deployment
    fetch_wheels     PackageWheels
    write_build_context  BuildContext

Each name is imported from its module on first use, so that ``import custom_image`` and
``custom-image --help`` stay instant: torch, the Docker SDK and matplotlib are heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custom_image.adoption.package import package_folder
    from custom_image.adoption.wheels import fetch_wheels
    from custom_image.build_context import write_build_context
    from custom_image.cloud import publish, push
    from custom_image.deployment import ship
    from custom_image.ecs import estimate_size, open_server
    from custom_image.engines import open_engine
    from custom_image.engines.client import predict
    from custom_image.image_saving import (
        audit_instance,
        install_package,
        open_instance,
        save_instance,
    )
    from custom_image.mnist import encode_jpeg, load_mnist
    from custom_image.model_package import package_model
    from custom_image.operations import build, start_service, verify
    from custom_image.plots import (
        plot_digits,
        plot_image_size,
        plot_sigterm_timeline,
        plot_training,
        plot_upgrade_timeline,
    )
    from custom_image.settings import enter_project
    from custom_image.training import train_or_load

__version__ = "0.2.0"

_MODULES = {
    "adoption.package": ("package_folder",),
    "adoption.wheels": ("fetch_wheels",),
    "build_context": ("write_build_context",),
    "cloud": ("publish", "push"),
    "deployment": ("ship",),
    "ecs": ("estimate_size", "open_server"),
    "engines": ("open_engine",),
    "engines.client": ("predict",),
    "image_saving": ("audit_instance", "install_package", "open_instance", "save_instance"),
    "mnist": ("encode_jpeg", "load_mnist"),
    "model_package": ("package_model",),
    "operations": ("build", "start_service", "verify"),
    "plots": (
        "plot_digits",
        "plot_image_size",
        "plot_sigterm_timeline",
        "plot_training",
        "plot_upgrade_timeline",
    ),
    "settings": ("enter_project",),
    "training": ("train_or_load",),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "__version__",
    "audit_instance",
    "build",
    "encode_jpeg",
    "enter_project",
    "estimate_size",
    "fetch_wheels",
    "install_package",
    "load_mnist",
    "open_engine",
    "open_instance",
    "open_server",
    "package_folder",
    "package_model",
    "plot_digits",
    "plot_image_size",
    "plot_sigterm_timeline",
    "plot_training",
    "plot_upgrade_timeline",
    "predict",
    "publish",
    "push",
    "save_instance",
    "ship",
    "start_service",
    "train_or_load",
    "verify",
    "write_build_context",
]


def __getattr__(name: str) -> Any:  # PEP 562
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        from custom_image.extras import explain

        raise explain(error) or error from error
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
