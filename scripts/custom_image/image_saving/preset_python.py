"""The Python of a preset image, which is asked what it is."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Final

from custom_image.engines.process import procfs
from custom_image.errors import UsageError

# The date of a package's metadata tells whether the image brought it or somebody here installed it.
ASK_PYTHON: Final = """
import json, os, platform, sys
def date(path):
    try:
        return os.stat(str(path)).st_ctime
    except (OSError, TypeError):
        return 0
try:
    from importlib.metadata import distributions
    found = {(d.metadata["Name"] or "").lower(): (d.version, date(getattr(d, "_path", None)))
             for d in distributions()}
except ImportError:  # Python 3.7, which old presets have
    try:
        from pkg_resources import working_set
        found = {d.project_name.lower(): (d.version, date(d.egg_info)) for d in working_set}
    except ImportError:
        found = None
print(json.dumps([platform.python_version(), sys.executable, found]))
"""


@dataclass(frozen=True)
class PresetPython:
    """The Python that ``run.sh`` of a preset image starts: not the one of this notebook.

    Attributes:
        packages: version by name in lower case; None where it cannot tell.
        added: the names of those that were installed since this instance was started.
    """

    version: str
    executable: str
    packages: dict[str, str] | None
    added: frozenset[str] = frozenset()


def ask_python(executable: str, path: str) -> PresetPython:
    """Return what a Python says about itself, run with this PATH.

    Raises:
        UsageError: it cannot be run.
    """
    environment = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [executable, "-c", ASK_PYTHON], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise UsageError(f"{executable} cannot be asked: {done.stderr.strip()[-300:]}")
    version, executable, found = json.loads(done.stdout)
    if found is None:
        return PresetPython(version, executable, None)
    began = procfs.started_at(1)
    return PresetPython(
        version,
        executable,
        {name: version for name, (version, _) in found.items()},
        frozenset(name for name, (_, date) in found.items() if began and date > began),
    )
