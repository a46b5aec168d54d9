"""The notebook instance that this process runs in, or what stands in for one.

Nothing about a preset image is assumed that can be asked: its Python, whose ``model_service`` it
brings, and where its server listens are looked up when they matter. See docker/preset/README.md.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Final

from custom_image.build_context.rendering import SourceText
from custom_image.engines import ImageFacts, Instance, StartOptions
from custom_image.engines.process import procfs
from custom_image.engines.process.engine import ProcessEngine
from custom_image.errors import UsageError
from custom_image.image_saving.port_discovery import find_port
from custom_image.rules import Needs
from custom_image.settings import find_project
from custom_image.specification import NOTEBOOK_MOUNTS, USER_HOME
from custom_image.verification.targets import ImageTarget, ProcessTarget

STAND_IN_HOME: Final = Path("build/image_saving/home")
BOOT_COMMAND: Final = ("sh", f"{USER_HOME.value}/infer/run.sh")
WORK_DIR: Final = Path(NOTEBOOK_MOUNTS[0])
# What the model package and the example of the platform's own pages ask of a preset's Python.
_PACKAGES: Final = ("numpy", "pillow", "onnxruntime", "torch", "tensorflow", "mindspore")
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


@dataclass(frozen=True)
class NotebookInstance:
    """Where a model package is put and tried before it is saved.

    Attributes:
        home: mirrors ``/home``: that itself in an instance, else a folder below build/.
        id: the platform's name for the instance; empty where it is not known.
        is_real: whether this process runs in a notebook instance, of the cloud or a local one.
    """

    home: Path
    id: str = ""
    is_real: bool = False

    @property
    def user_home(self) -> Path:
        """What ``/home/ma-user`` is here."""
        return self.home / Path(USER_HOME.value).name

    @property
    def infer(self) -> Path:
        """What ``/home/ma-user/infer`` is here: where the preset's server and the model are."""
        return self.user_home / "infer"

    @property
    def name(self) -> str:
        """One line: what this is."""
        if not self.is_real:
            return f"no notebook instance: {self.home} stands in for its /home"
        return f"notebook instance {self.id or '(its id is not known here)'}"

    @cached_property
    def python(self) -> PresetPython:
        """The Python that ``run.sh`` finds.

        Raises:
            UsageError: it finds none.
        """
        path = _preset_path() if self.is_real else _own_path()
        executable = shutil.which("python3", path=path)
        if executable is None:
            raise UsageError(f"run.sh would find no python3 in PATH={path}.")
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

    def start(self, options: StartOptions | None = None) -> Instance:
        """Start the preset's ``run.sh``, and find out where it listens.

        The stand-in and this project's server heed ``PORT``. The platform's own images do not:
        their server is found by its sockets: see :func:`.listening.find_port`.

        Raises:
            ServiceNotReady: it ends, or listens nowhere within a minute; with its log.
        """
        options = options or StartOptions(environment={"WORKERS": "1"})
        environment = dict(options.environment)
        if self.is_real:
            # The kernel's own environment must not leak into the preset's Python.
            environment |= {"PATH": _preset_path(), "PYTHONPATH": ""}
        service = ProcessEngine().start(
            str(self.home),
            replace(
                options,
                environment=environment,
                command=options.command or BOOT_COMMAND,
            ),
        )
        find_port(service, BOOT_COMMAND[1])
        return service

    def read(self, name: str) -> SourceText:
        """Return a text file below ``infer``, highlighted in Jupyter.

        Raises:
            UsageError: there is no such file.
        """
        path = self.infer / name
        if not path.is_file():
            raise UsageError(f"{path} is not there.")
        return SourceText(path.read_text(encoding="utf-8", errors="replace"), name)

    def target(self) -> InstanceTarget:
        """Return this instance as something that can be verified: `verify(instance.target())`."""
        return InstanceTarget(self)

    def __str__(self) -> str:
        return "\n".join([self.name, *(f"  {name:<16} {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td {left}>{escape(name)}</td><td {left}>{escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<p>{escape(self.name)}</p><table>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        python = self.python
        where = python.executable if self.is_real else "of this environment, as a stand-in"
        found = python.packages or {}
        known = [f"{name} {found[name]}" for name in _PACKAGES if name in found]
        classes = sorted(path.name for path in self.infer.glob("model_service/*_model_service.py"))
        lost = [mount for mount in NOTEBOOK_MOUNTS if os.path.ismount(mount)]
        is_there = (self.infer / "run.sh").is_file()
        return [
            ("boot file", f"{BOOT_COMMAND[1]}{'' if is_there else ': not there'}"),
            ("its Python", f"{python.version}, {where}"),
            ("its packages", ", ".join(known) or "none known that a model here asks for"),
            ("model_service", ", ".join(classes) or "not beside the boot file"),
            ("a save loses", ", ".join(lost if self.is_real else NOTEBOOK_MOUNTS)),
        ]


class InstanceTarget(ProcessTarget):
    """An instance, or its stand-in, under verification: as its boot file would start it."""

    kind = "an instance"

    def __init__(self, instance: NotebookInstance) -> None:
        super().__init__(instance.home, ProcessEngine(), instance.name)
        self._instance = instance
        # Reading all files would read `work` too, which is in no image. The audit does that part.
        self.offers = ProcessTarget.offers & ~Needs.CONTENTS

    def mentions(self, variables: set[str]) -> bool:
        """Look for the names in the server and its boot file alone."""
        infer = self._instance.infer
        files = [infer / "run.sh", *infer.glob("model_service/*.py")]
        text = "".join(file.read_text(errors="replace") for file in files if file.is_file())
        return all(variable in text for variable in variables)

    def start(self, options: StartOptions) -> Instance:
        """Start the boot file of the instance."""
        return self._instance.start(options)


class SavedTarget(ImageTarget):
    """A saved image under verification: started as the model's start command says.

    Its own command is that of a notebook instance, JupyterLab.
    """

    def image(self) -> ImageFacts:
        """Return the metadata, with the start command of the model in place of the image's."""
        return replace(super().image(), command=BOOT_COMMAND, shell_form=False)

    def start(self, options: StartOptions) -> Instance:
        """Start the boot file."""
        return super().start(replace(options, command=options.command or BOOT_COMMAND))


def open_instance(notebook_id: str = "") -> NotebookInstance:
    """Return the notebook instance that this process runs in, or a stand-in below build/.

    Args:
        notebook_id: of ModelArts; empty where the instance itself knows it.

    Raises:
        UsageError: this is an instance whose image has no ``infer``: not one for inference.
    """
    if not _is_instance():
        _write_stand_in(STAND_IN_HOME)
        return NotebookInstance(STAND_IN_HOME)
    instance = NotebookInstance(Path("/home"), notebook_id or _find_id(), is_real=True)
    if not (instance.infer / "run.sh").is_file():
        raise UsageError(
            f"{instance.infer}/run.sh is not there: the image of this instance is none for "
            "inference.\nCreate the instance from an inference image, or use dockerfile_build."
        )
    return instance


def _is_instance() -> bool:
    """Tell whether this is a notebook instance: its disk is mounted at ``work``."""
    return os.path.ismount(WORK_DIR)


def _find_id() -> str:
    """Return the id of this instance where something in it knows it."""
    file = Path("~/.huaweicloud/instance_id").expanduser()
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _write_stand_in(home: Path) -> None:
    """Write what docker/preset has in ``/home`` besides its Python; the model stays."""
    project, infer = find_project(), NotebookInstance(home).infer
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for source, target in (
        (project / "docker/rootfs/home/ma-user/infer", infer),
        (project / "model_package/model_service", infer / "model_service"),
    ):
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    (home / WORK_DIR.relative_to("/home")).mkdir(parents=True, exist_ok=True)


def _own_path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _preset_path() -> str:
    """Return the PATH of the instance without what lies below ``work``, where this Python lives.

    That of the first process is the image's own; a terminal or a kernel may have put others before.
    """
    try:
        variables = Path("/proc/1/environ").read_bytes().decode(errors="replace").split("\0")
        found = next((v[len("PATH=") :] for v in variables if v.startswith("PATH=")), "")
    except OSError:  # of another user
        found = ""
    path = found or os.environ.get("PATH", os.defpath)
    parts = [part for part in path.split(os.pathsep) if not Path(part).is_relative_to(WORK_DIR)]
    return os.pathsep.join(parts)
