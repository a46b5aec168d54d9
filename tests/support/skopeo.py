"""skopeo, a tool of others that writes archives: the installed one, or Debian's, unpacked only."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build" / "skopeo"
PACKAGES = ("skopeo", "libgpgme11")
# _apt may not enter a folder of root's home; as the caller it can: apt-get(8), APT::Sandbox.
DOWNLOAD = ("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *PACKAGES)


class NoSkopeo(Exception):
    """It is not installed, and could not be fetched; the message says why."""


def copy(source: str, target: str) -> None:
    """Copy an image from one of skopeo's transports to another.

    Raises:
        NoSkopeo: there is none here.
    """
    program = _program()
    libraries = os.pathsep.join(str(path) for path in FOLDER.glob("usr/lib/*-linux-gnu"))
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
    command = [program, "--insecure-policy", "--tmpdir", str(FOLDER.parent), "copy", source, target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _program() -> str:
    if installed := shutil.which("skopeo"):
        return installed
    program = FOLDER / "usr" / "bin" / "skopeo"
    if not program.exists():
        if not shutil.which("apt-get"):
            raise NoSkopeo("skopeo is not installed, and this is no Debian or Ubuntu")
        FOLDER.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(DOWNLOAD, cwd=FOLDER, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoSkopeo(f"apt-get could not download skopeo: {done.stderr.strip()[-200:]}")
        for package in FOLDER.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=FOLDER, check=True)
    return str(program)
