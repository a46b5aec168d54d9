"""torch for a CPU: a build of its own, of the same version, which few indexes have.

The build that the common index has brings CUDA along, and is ten times as large.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.errors import BuildFailed
from custom_image.progress import say
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import torch_pin
from custom_image.wheelhouse.download import download

FAMILY: Final = ("torch", "torchvision", "torchaudio")
_INDEX: Final = "https://download.pytorch.org/whl/cpu"
# Where that index is out of reach, nobody waits long for it.
_PATIENCE: Final = ("--retries", "0", "--timeout", "8")


def pin_torch(
    wanted: dict[str, Requirement], python: TargetPython, folder: Path, log: ChangeLog
) -> None:
    """Pin torch, and what goes with it, to builds for a CPU where there are any.

    Args:
        wanted: by canonical name; what is pinned changes there.
        python: of the image.
        folder: gets the wheels of builds for a CPU.
        log: is told of a build that is not for a CPU.
    """
    family = [name for name in FAMILY if name in wanted]
    if not family:
        return
    wanted.setdefault("torch", Requirement("torch"))
    own = Requirement(torch_pin(python))
    (version,) = (part.version for part in own.specifier)
    if family == ["torch"] and Version(version).public in wanted["torch"].specifier:
        wanted["torch"] = own
        places: tuple[tuple[str, ...], ...] = ((), ("--index-url", _INDEX, *_PATIENCE))
    else:
        places = (("--index-url", _INDEX, *_PATIENCE),)
    requirements = [str(wanted[name]) for name in ("torch", *family[family[0] == "torch" :])]
    for place in places:
        try:
            alone = not place
            download([*place, *requirements], python, folder, with_dependencies=not alone)
        except BuildFailed:
            continue
        for wheel in sorted(folder.glob("*.whl")):
            name, found, *_ = parse_wheel_filename(wheel.name)
            if name in FAMILY:
                wanted[name] = Requirement(f"{name}=={found}")
            else:
                wheel.unlink()
        return
    if python.machine == "x86_64":
        if wanted["torch"] == own:
            wanted["torch"] = Requirement(f"torch=={Version(version).public}")
        why = "no index that pip asks has the build for a CPU; the one for CUDA is gigabytes larger"
        log.add(Kind.WARNING, str(wanted["torch"]), why)
        say(f"{wanted['torch']}: {why}")
