"""The notebook instance that this process runs in, or what stands in for one.

Nothing about a preset image is assumed that can be asked: its Python, whose ``model_service`` it
brings, and where its server listens are looked up when they matter. See docker/preset/README.md.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Final

from custom_image.audit import Audit, audit_folder
from custom_image.build_context.display import SourceText
from custom_image.engines import Instance, StartOptions
from custom_image.engines.client import ask_health
from custom_image.engines.process.engine import ProcessEngine
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import Unavailable, UsageError
from custom_image.image_saving.port_discovery import LISTEN_TIMEOUT_S, find_port
from custom_image.image_saving.preset_python import PresetPython, ask_python
from custom_image.image_saving.targets import BOOT_COMMAND, InstanceTarget
from custom_image.settings import project_files
from custom_image.specification import HEALTH_URL, NOTEBOOK_MOUNTS, USER_HOME

STAND_IN_HOME: Final = Path("build/image_saving/home")
LOCK: Final = Path("docker/requirements/3.11/onnx.txt")
"""What the serving runtime imports; see docker/README.md."""
WORK_DIR: Final = Path(NOTEBOOK_MOUNTS[0])
# What the model package and the example of the platform's own pages ask of a preset's Python.
_PACKAGES: Final = ("numpy", "pillow", "onnxruntime", "torch", "tensorflow", "mindspore")


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
        return ask_python(executable, path)

    def start(
        self, options: StartOptions | None = None, *, listen_timeout_s: float = LISTEN_TIMEOUT_S
    ) -> Instance:
        """Start the preset's ``run.sh``, and find out where it listens.

        The stand-in and this project's server heed ``PORT``. The platform's own images do not:
        their server is found by its sockets: see :func:`.port_discovery.find_port`.

        Raises:
            ServiceNotReady: it ends, or listens nowhere within ``listen_timeout_s``; with its
                log.
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
        find_port(service, BOOT_COMMAND[1], listen_timeout_s)
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


def start_service(instance: NotebookInstance, *, timeout_s: float = 120.0) -> Instance:
    """Start the boot file of an instance, and return when the service says that it is well.

    The server of a preset image may have no health route (404): then its first answer has to do,
    and a prediction that comes too early is refused by it.

    Raises:
        ServiceNotReady: it ended, or was not well in time; with its log.
    """
    service = instance.start()
    try:
        if ask_health(service.url).status == HTTPStatus.NOT_FOUND:
            return service
    except Unavailable:
        pass  # it listens and does not answer yet
    try:
        wait_until_ready(service, HEALTH_URL.value, timeout_s)
    except BaseException:
        service.stop()
        raise
    return service


def audit_instance(
    instance: NotebookInstance,
    *,
    keep: Collection[Path] = (),
    lock: Path | None = None,
    fix: bool = False,
) -> Audit:
    """Look through what a save of this instance would carry along, and what it would lose.

    Args:
        instance: whose home directory is looked through.
        keep: see :func:`~custom_image.audit.audit_folder`.
        lock: the requirements of its Python; None for those of the serving runtime.
        fix: remove what is safe to remove.

    Raises:
        UsageError: its Python cannot be asked, or it has no home directory.
    """
    return audit_folder(
        instance.user_home,
        lost=[Path(mount) for mount in NOTEBOOK_MOUNTS[1:]] if instance.is_real else [],
        keep=keep,
        packages=instance.python.packages,
        added=instance.python.added if instance.is_real else (),
        lock=lock or project_files() / LOCK,
        python=instance.python.executable if instance.is_real else "python3",
        in_container=instance.is_real,
        fix=fix,
    )


def _is_instance() -> bool:
    """Tell whether this is a notebook instance: its disk is mounted at ``work``."""
    return os.path.ismount(WORK_DIR)


def _find_id() -> str:
    """Return the id of this instance where something in it knows it."""
    file = Path("~/.huaweicloud/instance_id").expanduser()
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""


def _write_stand_in(home: Path) -> None:
    """Write what docker/preset has in ``/home`` besides its Python; the model stays."""
    project, infer = project_files(), NotebookInstance(home).infer
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
