"""Servers that are judged as a process: an environment of their own, a model of random weights.

Each is a folder with requirements.txt, config.json and run.sh. Beside a copy of it lie `venv` and,
where it serves a language model, `model` or `model.gguf`: a Llama of a few hundred kB, made here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "foreign"
MAKERS = {"model": "random_llama.py", "model.gguf": "random_gguf.py"}
"""What makes a model, by the name that run.sh has for it."""
_IGNORED = shutil.ignore_patterns(
    *("requirements.txt", "after_install.py", "*.cmake", "__pycache__")
)


class NotInstallable(Exception):
    """pip cannot install what a server needs; the message is pip's own."""


def lay_out(folder: str) -> Path:
    """Return the folder of a server that can be started, with its environment beside it.

    Raises:
        NotInstallable: its packages are not to be had here.
    """
    home = BUILD / "processes" / folder
    python = _environment(home / "venv", HERE / folder / "requirements.txt")
    words = (HERE / folder / "run.sh").read_text().split()
    for name, maker in MAKERS.items():
        if f"../{name}" in words and not (home / name).exists():
            subprocess.run([python, str(HERE / maker), str(home / "new")], check=True)
            (home / "new").rename(home / name)
    shutil.rmtree(home / "service", ignore_errors=True)
    shutil.copytree(HERE / folder, home / "service", ignore=_IGNORED)
    return home / "service"


def _environment(place: Path, requirements: Path) -> str:
    python, done = place / "bin/python", place / "complete"
    wanted = requirements.read_text()
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--requirement"]
        settings = {**os.environ, "FOLDER": str(requirements.parent)}  # pip puts ${FOLDER} in
        ended = subprocess.run(
            [*command, str(requirements)], capture_output=True, text=True, env=settings
        )
        if ended.returncode:
            lines = ended.stderr.splitlines()
            words = [line for line in lines if re.match(r"\s*(ERROR|error)", line)]
            raise NotInstallable((words or lines or ["pip failed"])[-1])
        if (script := requirements.with_name("after_install.py")).exists():
            subprocess.run([python, str(script)], check=True)
        done.write_text(wanted)
    return str(python)


if __name__ == "__main__":
    sys.stdout.write(f"{lay_out(sys.argv[1])}\n")
