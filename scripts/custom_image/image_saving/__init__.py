"""Scenario image_saving: a model package goes into a running notebook instance, which is saved.

    instance = open_instance()            where this runs, and what the preset image brings
    install_package(package, instance)    into /home/ma-user/infer/model/1
    start_service(instance)               the preset's own run.sh
    audit_instance(instance)              what the save would carry along, and lose
    save_instance(instance, "org/mnist:1.0")

Where there is no notebook instance, a folder below ``build/`` stands in for its ``/home``.
"""

from custom_image.image_saving.instance import (
    STAND_IN_HOME,
    NotebookInstance,
    audit_instance,
    open_instance,
    start_service,
)
from custom_image.image_saving.package import InstalledPackage, install_package
from custom_image.image_saving.save import UnsavedImage, save_instance
from custom_image.image_saving.targets import InstanceTarget, SavedTarget

__all__ = [
    "STAND_IN_HOME",
    "InstalledPackage",
    "InstanceTarget",
    "NotebookInstance",
    "SavedTarget",
    "UnsavedImage",
    "audit_instance",
    "install_package",
    "open_instance",
    "save_instance",
    "start_service",
]
