"""A virtual environment a peer, each on top of one shared base, below build/benchmarks.

The base is what every handler needs (numpy, pillow, ONNX Runtime, in the versions this project is
locked to); a ``.pth`` file makes it visible to each peer's environment, which saves disk and lets
the size of a peer be told from the size of the handler.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import venv
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peer import ROOT_DIR, Peer
from custom_image.errors import Unavailable

BASE = ("numpy", "onnxruntime", "pillow")


class NotInstalled(Unavailable):
    """A peer cannot be installed here; the message is the reason."""


@dataclass(frozen=True)
class Environment:
    """An installed virtual environment.

    Attributes:
        installed_mb: what its packages take on disk beyond the shared base, bytecode included.
        versions: of every package it sees, the base's too.
    """

    folder: Path
    installed_mb: float
    versions: dict[str, str]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Return where the environment in ``folder`` keeps its packages."""
    return next((folder / "lib").glob("python3*/site-packages"))


def size_mb(folder: Path) -> float:
    """Return what the files below ``folder`` take, in 10**6 bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def install_base(folder: Path) -> Environment:
    """Create the environment that all others share, or return the one that is there."""
    pins = tuple(f"{name}=={importlib.metadata.version(name)}" for name in BASE)
    return _install(folder / "base", pins, shared=None)


def install_peer(peer: Peer, base: Environment, folder: Path) -> Environment:
    """Create the environment of ``peer``, or return the one that is there.

    Raises:
        NotInstalled: pip's last words.
    """
    dependencies = tuple(peer.filled(line) for line in peer.dependencies)
    return _install(folder / peer.family / "venv", dependencies, shared=base)


def _install(
    folder: Path, dependencies: tuple[str, ...], shared: Environment | None
) -> Environment:
    stamp = folder / "installed.json"
    locks = [Path(line).read_text() for line in dependencies if Path(line).is_file()]
    wanted = [sys.version, *dependencies, *locks, *([str(shared.folder)] if shared else [])]
    if stamp.exists():
        done = json.loads(stamp.read_text())
        if done.pop("wanted") == wanted:
            return Environment(folder, **done)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    empty_mb = size_mb(site_packages(folder))
    if shared:
        (site_packages(folder) / "shared_base.pth").write_text(f"{site_packages(shared.folder)}\n")
    if any(line.startswith("torch==") for line in dependencies):
        # It takes care that the CPU build is what comes.
        _run([str(ROOT_DIR / "scripts" / "install_torch.sh"), str(python)])
    arguments = [word for line in dependencies for word in line.split()]
    _run([str(python), "-m", "pip", "install", "--disable-pip-version-check", *arguments])
    environment = Environment(
        folder, round(size_mb(site_packages(folder)) - empty_mb, 1), _versions(python)
    )
    facts = asdict(environment)
    del facts["folder"]
    stamp.write_text(json.dumps({"wanted": wanted, **facts}, indent=1))
    return environment


def _versions(python: Path) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name.lower(): d.version for d in reversed(list(m.distributions()))}))"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    versions: dict[str, str] = json.loads(found.stdout)
    return dict(sorted(versions.items()))


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise NotInstalled(words[-1] if words else f"{command[0]} failed without a word")
