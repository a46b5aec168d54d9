"""The command line run in this process, and a package for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from custom_image import cli


@dataclass(frozen=True)
class Outcome:
    """What a user sees of a command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def custom_image(monkeypatch, capsys):
    """Run the command as its entry point does, in this process: a new Python takes its time."""

    def run(*arguments: str) -> Outcome:
        monkeypatch.chdir(Path.cwd())  # some commands enter the project; leave it again
        monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])
        # Under `python -m pytest` click takes the name of that module for the program's.
        monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        return Outcome(left.value.code, shown.out, shown.err)

    return run


@pytest.fixture
def package(tmp_path):
    """A model package whose config.json draws a remark, and breaks no rule."""
    folder = tmp_path / "model"
    folder.mkdir()
    text = '{"model_type": "Image", "model_algorithm": "mnist", "modle": "", "apis": []}'
    (folder / "config.json").write_text(text)
    return str(folder)
