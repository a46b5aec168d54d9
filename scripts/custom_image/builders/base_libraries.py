"""The shared objects that a base image has, and those that Python packages need beyond."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from custom_image.adoption.wheels.shared_objects import DEBIAN_PACKAGES
from custom_image.builders.base import OWN_REPOSITORY, can_make, ensure_base_image, slim_python
from custom_image.errors import UsageError
from custom_image.progress import say

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.engines.docker.engine import DockerEngine
    from custom_image.target_python import TargetPython

# Prints the names that the loader knows, and those beside the Python, which conda's finds.
_SCRIPT: Final = """
import os, subprocess, sys
folders = os.environ.get("LD_LIBRARY_PATH", "").split(":") + [sys.prefix + "/lib", "/usr/local/lib"]
for tool in ("/sbin/ldconfig", "/usr/sbin/ldconfig"):
    if os.path.exists(tool):
        for line in subprocess.check_output([tool, "-p"]).splitlines()[1:]:
            print(line.split()[0].decode())
        break
else:
    folders += ["/lib", "/lib64", "/usr/lib", "/usr/lib64"]
    folders += ["/usr/lib/" + os.uname().machine + "-linux-gnu"]
for folder in folders:
    if folder and os.path.isdir(folder):
        print("\\n".join(name for name in os.listdir(folder) if ".so" in name))
"""


def add_libraries(base: str, context: BuildContext, *, engine: DockerEngine) -> str:
    """Return a base image that has the shared objects which the packages of a context need.

    Args:
        base: one that the engine holds.
        context: says what they need, for which Python, and whether for batch services.
        engine: holds the base, and gets another one where that is made here.

    Raises:
        UsageError: the base was named by somebody, and lacks one; with its Debian package.
        Unavailable: no base that has it can be made here.
    """
    python = context.python
    packages = missing_packages(base, context.libraries, python=python, engine=engine)
    if not packages:
        return base
    return ensure_base_image(
        batch=context.batch, python=python.minor, packages=packages, engine=engine
    )


def missing_packages(
    base: str, needed: Mapping[str, str], *, python: TargetPython, engine: DockerEngine
) -> tuple[str, ...]:
    """Return the Debian packages that a base lacks and that are to be put into it; say why.

    Raises:
        UsageError: nothing can be put into it, since it is not made here.
    """
    if not needed:
        return ()
    there = engine.run(base, [python.executable, "-c", _SCRIPT], user="0").split()
    missing = {name: by for name, by in needed.items() if name not in there}
    if not missing:
        return ()
    packages = tuple(sorted({DEBIAN_PACKAGES[name] for name in missing}))
    reasons = ", ".join(
        f"{name} ({DEBIAN_PACKAGES[name]}), which {by} needs" for name, by in missing.items()
    )
    is_ours = base.startswith(f"{OWN_REPOSITORY}:") or base == slim_python(python.minor)
    if not is_ours or not can_make(python.minor):
        raise UsageError(
            f"base image {base} has no {reasons}.\n"
            f"Make a base that has it, FROM {base}:  RUN apt-get update && apt-get install "
            f"--yes --no-install-recommends {' '.join(packages)}\n"
            "Name that one with --base-image; or leave --base-image out, and one is made here."
        )
    say(f"{base} has no {reasons}; taking a base made here that has {' '.join(packages)}")
    return packages
