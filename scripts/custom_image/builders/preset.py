"""The image that stands in for a preset notebook image of ModelArts, made of docker/preset."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.build_context import BuildContext
from custom_image.builders.base import ensure_base_image
from custom_image.builders.docker import build
from custom_image.settings import project_files
from custom_image.target_python import DEFAULT
from custom_image.wheelhouse import fill_wheelhouse, torch_pin

if TYPE_CHECKING:
    from custom_image.engines.docker.engine import DockerEngine

REPOSITORY: Final = "custom-image/preset"
FOLDER: Final = "docker/preset"
"""Its recipe; as the name of a preset image this stands for the image that is made of it."""
TORCH: Final = "docker/preset[torch]"
_REQUIREMENTS: Final = f"docker/requirements/{DEFAULT}"
_LOCKS: Final = (f"{_REQUIREMENTS}/preset.txt", f"{_REQUIREMENTS}/installer.txt")
_TORCH_LOCK: Final = f"{_REQUIREMENTS}/torch.txt"
# Where a file or a folder of the project goes in the context.
_PARTS: Final = {
    "docker/preset/Dockerfile": "Dockerfile",
    "docker/preset/start.sh": "start.sh",
    "docker/preset/ma_cli.py": "ma_cli.py",
    _LOCKS[0]: "requirements.txt",
    "docker/rootfs/home/ma-user/infer": "rootfs/home/ma-user/infer",
    "model_package/model_service": "rootfs/home/ma-user/infer/model_service",
}


def ensure_preset_image(engine: DockerEngine, *, torch: bool = False) -> str:
    """Return the name of the stand-in, made where the engine does not hold it.

    It is named after its recipe, so that a changed one is made anew.

    Args:
        engine: makes and holds it.
        torch: install torch besides ONNX Runtime.

    Raises:
        BuildFailed: a Python package cannot be fetched, or a step failed.
        Unavailable: there is no base image, and none can be made here.
    """
    base = ensure_base_image(engine=engine)
    pin = torch_pin() if torch else ""
    digest = _digest(base, pin)
    reference = f"{REPOSITORY}:{'torch-' if torch else ''}{digest[:12]}"
    if not engine.has_image(reference):
        folder = Path("build/preset/context")
        _write(folder, pin)
        build(BuildContext(folder, "preset", digest, base), reference, engine=engine)
    return reference


def _digest(base: str, torch: str) -> str:
    project = project_files()
    recipe = hashlib.sha256(f"{base}{torch}".encode())
    for source in (*_PARTS, *([_TORCH_LOCK] if torch else [])):
        for path in _files(project / source):
            recipe.update(f"{path.relative_to(project)}\0".encode() + path.read_bytes())
    return recipe.hexdigest()


def _write(folder: Path, torch: str) -> None:
    project = project_files()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for source, target in _PARTS.items():
        for path in _files(project / source):
            place = folder / target / path.relative_to(project / source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    locks = [project / lock for lock in (*_LOCKS, *([_TORCH_LOCK] if torch else []))]
    wheels = fill_wheelhouse(locks, torch=torch)
    if torch:
        with (folder / "requirements.txt").open("a") as file:
            file.writelines(p.read_text() for p in (project / _TORCH_LOCK, wheels / "torch.txt"))
    shutil.copytree(wheels, folder / "wheelhouse")
    (folder / ".dockerignore").write_text("", encoding="utf-8")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
