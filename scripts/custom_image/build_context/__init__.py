"""The build context: all that a builder gets, and nothing that it would have to fetch.

    Dockerfile          docker/<scenario>/Dockerfile
    requirements.txt    docker/requirements/<Python>/<engine>.txt, and torch where that is one
    wheelhouse/         the packages it locks, and pip to install them
    trim.py             leaves out of those packages what no service imports
    rootfs/             the image's own file system: docker/rootfs, model_service, the model package
    weights/            what is large in the model package, to get a layer of its own, or several:
                        weights/0/, weights/1/ ... where the Dockerfile copies those
    .dockerignore       names the same files below rootfs/, so that they travel once

``rootfs/home`` is complete, so the process engine starts it as it stands.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from custom_image.build_context import payload
from custom_image.build_context.archive import Stream, archive, mode_of
from custom_image.build_context.display import Line, SourceText, size, tree_html, tree_text
from custom_image.build_context.files import engine_of, is_weights, list_files
from custom_image.errors import PackageError, UsageError
from custom_image.settings import project_files
from custom_image.specification import MODEL_DIR
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import fill_wheelhouse, lock_files, torch_pin

if TYPE_CHECKING:
    from custom_image.adoption.wheels import PackageWheels
    from custom_image.model_package import ModelPackage

_MODEL: Final = f"rootfs{MODEL_DIR}"
_SERVICE: Final = "rootfs/home/ma-user/infer/model_service"
_LARGE_BYTES: Final = 100 * 10**6
_NOTES: Final = {
    ".dockerignore": "the weights once more, so that they travel once",
    "Dockerfile": "what is built, step by step",
    "requirements.txt": "Python packages, locked with hashes",
    "trim.py": "leaves out of them what no service imports",
    "wheelhouse": "those packages, and pip, as wheels",
    "weights": "apart, to be a layer of their own",
    "rootfs/home/run.sh": "the boot file: CMD names it",
    "rootfs/home/ma-user/infer/run.sh": "starts the serving runtime",
    _SERVICE: "the serving runtime",
    f"{_MODEL}/config.json": "what the image promises: apis, health",
    f"{_MODEL}/customize_service.py": "how the model is asked",
}


@dataclass(frozen=True)
class BuildContext:
    """A folder that a builder makes an image of.

    Attributes:
        digest: SHA-256 of its tar, which depends on names and contents only.
        base_image: what ``FROM`` names; empty for the one that is at hand.
        batch: whether the base must have what batch services need.
        python: the base's, which the wheels are for.
        arguments: further build arguments.
        is_own: whether Dockerfile and files are the author's: see ``dockerfile_context``.
        network: whether ``RUN`` steps have one.
        libraries: shared objects that the base must have, each with the package that needs it.
    """

    folder: Path
    scenario: str
    digest: str
    base_image: str = ""
    batch: bool = False
    python: TargetPython = field(default_factory=TargetPython)
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_own: bool = False
    network: bool = False
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def left_out(self) -> frozenset[str]:
        """Files of the folder that no builder gets."""
        return frozenset() if self.is_own else _ignored(self.folder)

    def read(self, name: str) -> SourceText:
        """Return a text file of the context, highlighted in Jupyter.

        Raises:
            UsageError: there is no such file.
        """
        path = self.folder / name
        if not path.is_file():
            raise UsageError(f"no {name} in {self.folder}; there are: {', '.join(self.names())}.")
        return SourceText(path.read_text(), name)

    def names(self) -> list[str]:
        """Return the files that the builder gets, wheels left out."""
        left_out = self.left_out
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [
            name
            for name in (path.relative_to(self.folder).as_posix() for path in files)
            if name not in left_out and not name.startswith("wheelhouse/")
        ]

    def tar(self) -> IO[bytes]:
        """Return the context as the builder reads it, byte for byte the same every time."""
        stream = Stream(archive(self.folder, self.left_out, own_modes=self.is_own))
        return io.BufferedReader(stream, buffer_size=2**20)

    def __str__(self) -> str:
        return tree_text(self._title(), self._lines())

    def _repr_html_(self) -> str:
        return tree_html(self._title(), self._lines())

    def _title(self) -> str:
        total = sum(line.size_bytes for line in self._lines() if line.depth == 0)
        return f"{self.folder}: {size(total)}, sha256:{self.digest[:12]}"

    def _lines(self) -> list[Line]:
        return _lines(self.folder, self.folder, self.left_out, {} if self.is_own else _NOTES)


def write_build_context(
    package: ModelPackage,
    scenario: str = "dockerfile_build",
    *,
    base_image: str = "",
    batch: bool = False,
    python: TargetPython | None = None,
    requirements: str = "",
    more: Path | None = None,
    wheels: PackageWheels | None = None,
    layer_bytes: int = payload.LAYER_BYTES,
    dockerfile: str | Path = "",
    folder: Path | None = None,
) -> BuildContext:
    """Write all that an image is built of into ``folder``, replacing the context that it held.

    ``folder`` is ``build/<scenario>/context`` unless told otherwise.

    ``base_image`` is what ``FROM`` names, empty for the one that is at hand when it is built;
    ``batch`` asks for a base with what batch services need; ``python`` is the base's, that of
    Debian 12 where it is not told; ``requirements`` says which lock of
    docker/requirements the image installs, empty for that of the engine the weights are of;
    ``more`` is a file of what the package imports beyond that, one requirement a line;
    ``wheels`` is all that the image installs, fetched already, in place of the three;
    ``layer_bytes`` is the most that one layer of weights may hold where there are several;
    ``dockerfile`` is one of your own for the same files, docker/<scenario>/Dockerfile where empty.

    Raises:
        UsageError: there is no such scenario, Dockerfile or lock, ``folder`` holds something else,
            or ``more`` something else than requirements.
        PackageError: the package misses a file, or has one that no image can hold.
        BuildFailed: a Python package cannot be fetched.
    """
    folder = folder or Path("build", scenario, "context")
    docker = project_files() / "docker"
    steps = Path(dockerfile) if dockerfile else docker / scenario / "Dockerfile"
    if dockerfile and not steps.is_file():
        raise UsageError(f"{dockerfile}: there is no such Dockerfile.")
    if not (docker / scenario / "Dockerfile").is_file():
        slugs = ", ".join(sorted(path.parent.name for path in docker.glob("*/Dockerfile")))
        raise UsageError(f"no scenario {scenario!r} with a Dockerfile; there are: {slugs}.")
    files = list_files(package.folder)
    for name in ("config.json", "customize_service.py"):
        if name not in files:
            raise PackageError(
                f"{package.folder} has no {name}, which every model package has.\n"
                "`custom-image package` writes one; ModelArts' specification tells what is in it."
            )

    python = wheels.python if wheels else python or TargetPython()
    if wheels:
        wheelhouse, lock = wheels.folder, wheels.lock
    else:
        engine = requirements or engine_of(files)
        wheelhouse, lock = _wheels_of_locks(engine, more, python)

    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    _copy(steps, new / "Dockerfile")
    _copy(docker / "requirements/trim.py", new / "trim.py")
    (new / "requirements.txt").write_text(lock)
    for wheel in sorted(wheelhouse.glob("*.whl")):
        _link(wheel, new / "wheelhouse" / wheel.name)
    write_rootfs(package.folder, new / "rootfs")
    weights = [name for name in files if is_weights(name)]
    (new / "weights").mkdir()
    if layers := payload.count_layers(steps.read_text()):
        places = {name: new / _MODEL / name for name in weights}
        payload.spread(places, new / "weights", layers, _link, layer_bytes)
    else:
        for name in weights:
            _link(new / _MODEL / name, new / "weights" / name)
    ignored = "".join(f"{_MODEL}/{name}\n" for name in weights)
    (new / ".dockerignore").write_text(ignored)
    replace_context(folder, new, "rootfs")

    digest = hashlib.sha256()
    for chunk in archive(folder, _ignored(folder)):
        digest.update(chunk)
    apis = json.loads((package.folder / "config.json").read_bytes()).get("apis", [])
    arguments = {
        "APIS": json.dumps(apis, separators=(",", ":"), ensure_ascii=False),
        "PYTHON": python.executable,
        "PYTHON_VERSION": python.minor,
    }
    return BuildContext(
        folder,
        scenario,
        digest.hexdigest(),
        base_image,
        batch,
        python,
        arguments,
        libraries=wheels.libraries if wheels else {},
    )


def _wheels_of_locks(engine: str, more: Path | None, python: TargetPython) -> tuple[Path, str]:
    """Return the folder of what docker/requirements locks, and the lock of all that came."""
    locks = lock_files(engine, python)
    torch = torch_pin(python) if engine == "torch" else ""
    wheels = fill_wheelhouse(locks, torch=torch, more=more, python=python)
    names = ["torch.txt"] * bool(torch) + ["more.txt"] * (more is not None)
    files = [locks[0], *(wheels / name for name in names)]
    return wheels, "".join(file.read_text() for file in files)


def write_rootfs(package_folder: Path, rootfs: Path) -> None:
    """Write what the image's file system gets besides its base and its Python packages.

    Raises:
        PackageError: the package has a file that no image can hold.
    """
    project = project_files()
    for source, target in (
        (project / "docker/rootfs/home", rootfs / "home"),
        (project / "model_package/model_service", rootfs / Path(_SERVICE).relative_to("rootfs")),
        (package_folder, rootfs / Path(_MODEL).relative_to("rootfs")),
    ):
        for name in list_files(source):
            _copy(source / name, target / name)


def _copy(source: Path, target: Path) -> None:
    status = source.stat()
    if status.st_size >= _LARGE_BYTES and status.st_mode & 0o777 == mode_of(source):
        _link(source, target)  # gigabytes of weights would be on this disk twice
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode_of(target))  # what the tar says, for who gives the folder to `docker build`


def _link(source: Path, target: Path) -> None:
    """Give a large file a second name, or a copy where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def replace_context(folder: Path, new: Path, mark: str) -> None:
    """Put ``new`` in the place of ``folder``, which must be empty or have what contexts have.

    Raises:
        UsageError: it is something else.
    """
    if folder.exists():
        if any(folder.iterdir()) and not (folder / mark).exists():
            shutil.rmtree(new)
            raise UsageError(
                f"{folder} is there and is no build context; it would be replaced.\n"
                "Name another folder, or remove it yourself."
            )
        shutil.rmtree(folder)
    new.rename(folder)


def _ignored(folder: Path) -> frozenset[str]:
    return frozenset((folder / ".dockerignore").read_text().splitlines())


def _lines(
    folder: Path,
    root: Path,
    left_out: frozenset[str],
    notes: Mapping[str, str],
    depth: int = 0,
) -> list[Line]:
    lines: list[Line] = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        name = path.relative_to(root).as_posix()
        note = notes.get(name, "")
        if path.is_file():
            if name not in left_out:
                lines.append(Line(path.name, depth, path.stat().st_size, note))
            continue
        inside = _lines(path, root, left_out, notes, depth + 1)
        files = [f for f in path.rglob("*") if f.is_file()]
        sizes = [f.stat().st_size for f in files if f.relative_to(root).as_posix() not in left_out]
        is_listed = name not in ("wheelhouse", _SERVICE)
        shown = f"{path.name}/" if is_listed else f"{path.name}/  {len(files)} files"
        lines.append(Line(shown, depth, sum(sizes), note))
        lines += inside if is_listed else []
    return lines
