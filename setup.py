"""What pyproject.toml cannot say: files from beside the package travel in the wheel below it.

Without a clone, ``custom_image`` finds there what it reads in one: docker/, model_package/,
notebooks/ and the scripts that run elsewhere. As data: `model_service` as a package of its own
would hide the platform's, and `benchmarks` is of no use to who has no clone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PACKAGES = ("custom_image", "local_modelarts")
DATA = "custom_image/data/project"
FOLDERS = ("docker", "model_package", "notebooks")


class BuildWithProjectFiles(build_py):
    """Adds them; an editable install reads them where they are."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if not self.editable_mode:
            self.packages = [p for p in self.packages if p.partition(".")[0] in PACKAGES]

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what is no more there must not ship
        super().run()
        files = [path for folder in FOLDERS for path in Path(folder).rglob("*")]
        for path in sorted([*files, *Path("scripts").glob("*.sh")]):
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & {*path.parts}:
                target = Path(self.build_lib, DATA, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)


setup(cmdclass={"build_py": BuildWithProjectFiles})
