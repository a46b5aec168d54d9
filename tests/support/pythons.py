"""Every Python to be had here, each with what serves a model: wheels in a folder below build/."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SITES = REPOSITORY / "build" / "sites"
VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
SERVERS = ("uvicorn", "uvloop", "httptools", "gunicorn", "gevent", "packaging")
_SAY = "import json, sys; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"


def find_pythons() -> dict[str, Path]:
    """Return version -> interpreter, of those on PATH and of pyenv's."""
    places = [
        Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if "shims" not in folder
    ]
    places += sorted(Path.home().glob(".pyenv/versions/3.*/bin"))
    found: dict[str, Path] = {}
    for version in VERSIONS:
        for place in places:
            python = place / f"python{version}"
            if version not in found and python.exists() and _is(python, version):
                found[version] = python
    return found


def _is(python: Path, version: str) -> bool:
    """Tell whether an interpreter starts, is of the version, and has pip."""
    command = [python, "-c", f"import pip; {_SAY}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and json.loads(done.stdout)[0] == [
        int(n) for n in version.split(".")
    ]


def install(requirements: list[str], python: Path | None = None) -> Path:
    """Return a folder with what is required, as wheels for a Python; kept for the next run."""
    python = python or Path(sys.executable)
    named = [line.rsplit("/", 1)[-1] for line in requirements]
    site = SITES / hashlib.sha256("\n".join([str(python), *named]).encode()).hexdigest()[:12]
    site.mkdir(parents=True, exist_ok=True)
    if requirements and not (site / "installed").exists():
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        options = ["--only-binary", ":all:", "--upgrade", "--target", site]
        subprocess.run([*command, *options, *requirements], check=True, timeout=240)
        (site / "installed").touch()
    return site
