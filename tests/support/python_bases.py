"""Base images with other Pythons, made of the interpreters that people have side by side (pyenv).

Fixtures only: Debian's base with one interpreter copied in, where conda, a virtual environment or
an installation of one's own would put it.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from custom_image.builders.base import ensure_base_image
from custom_image.engines.docker.engine import DockerEngine

_VERSIONS = Path("~/.pyenv/versions").expanduser()
_LEFT_OUT = {"test", "tests", "site-packages", "__pycache__", "idlelib", "tkinter", "ensurepip"}
# How a base of each layout is made of an interpreter copied to $HOME_OF_PYTHON.
LAYOUTS = {
    # An environment of conda that only `conda activate` would put into PATH.
    "conda": ("/opt/conda/envs/serving", "RUN mkdir $PREFIX/conda-meta"),
    # A virtual environment, first in PATH.
    "venv": (
        "/opt/python",
        "RUN $PREFIX/bin/python3 -m venv --without-pip /opt/venv\nENV PATH=/opt/venv/bin:$PATH",
    ),
    # Behind the distribution's own.
    "last": ("/usr/local/lib/python", "ENV PATH=$PATH:/usr/local/lib/python/bin"),
}


def interpreter(minor: str) -> Path:
    """Return the folder of an interpreter of this version; skips where there is none."""
    found = sorted(_VERSIONS.glob(f"{minor}.*"))
    if not found:
        pytest.skip(f"no Python {minor} in {_VERSIONS}")
    return found[-1]


def make_base(minor: str, layout: str, engine: DockerEngine) -> str:
    """Return the name of a base image of Debian 12 with one more Python, made once."""
    folder, (prefix, steps) = interpreter(minor), LAYOUTS[layout]
    base = ensure_base_image("registry.invalid/nobody/has:this", engine=engine)
    dockerfile = (
        f"FROM {base}\nUSER 0\nENV PREFIX={prefix}\nCOPY python $PREFIX\n"
        f"RUN echo $PREFIX/lib >/etc/ld.so.conf.d/python.conf && ldconfig\n{steps}\n"
    )
    key = hashlib.sha256(f"{folder.name}{dockerfile}".encode()).hexdigest()[:12]
    reference = f"custom-image/tests:python-{minor}-{layout}-{key}"
    if not engine.has_image(reference):
        for message in engine.build(_context(folder, minor, dockerfile), reference, {}):
            assert "error" not in message, message
    return reference


def _context(folder: Path, minor: str, dockerfile: str) -> io.BytesIO:
    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = member.name.split("/")
        member.uid = member.gid = 0
        left_out = _LEFT_OUT & set(parts) or any(part.startswith("config-") for part in parts)
        return None if left_out else member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        archive.addfile(member, io.BytesIO(dockerfile.encode()))
        for name in (f"bin/python{minor}", "bin/python3", "bin/python"):
            archive.add(folder / name, f"python/{name}")
        for path in sorted((folder / "lib").glob("libpython*.so*")):
            archive.add(path, f"python/lib/{path.name}")
        archive.add(folder / f"lib/python{minor}", f"python/lib/python{minor}", filter=kept)
    buffer.seek(0)
    return buffer
