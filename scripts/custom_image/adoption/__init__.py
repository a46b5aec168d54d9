"""Adopting: a package that ran on a preset engine becomes one for a custom image.

    config_json     encoding → lenient → config (apis, schemas): read in whatever state it is
    service_code    what customize_service.py leads to, by ast, and what can be told of it
    dependencies    blocks and requirements.txt to lines of pip
    package         all of it to an adopted package below build/
    changes         the table of what was changed, guessed or left out

Adopting reads and never runs code, and asks no index; that is the build's part.
"""

from custom_image.adoption.changes import Change, Kind
from custom_image.adoption.package import AdoptedPackage, package_folder

__all__ = ["AdoptedPackage", "Change", "Kind", "package_folder"]
