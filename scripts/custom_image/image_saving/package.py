"""Putting a model package where the server of a preset image looks for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from custom_image.errors import UsageError
from custom_image.image_saving.instance import NotebookInstance
from custom_image.specification import MODEL_DIR

if TYPE_CHECKING:
    from custom_image.model_package import ModelPackage


@dataclass(frozen=True)
class InstalledPackage:
    """A model package in an instance.

    Attributes:
        folder: what ``/home/ma-user/infer/model/1`` is here.
        files: (name, bytes).
    """

    folder: Path
    files: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        lines = [f"  {name:<24} {size / 1000:>10,.1f} kB" for name, size in self.files]
        return "\n".join([f"{MODEL_DIR}/", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'><code>{escape(name)}</code></td>"
            f"<td>{size / 1000:,.1f} kB</td></tr>"
            for name, size in self.files
        )
        return f"<p><code>{MODEL_DIR}/</code></p><table>{rows}</table>"


def install_package(package: ModelPackage, instance: NotebookInstance) -> InstalledPackage:
    """Put the files of a package into ``infer/model/1``, in place of the package that was there.

    Raises:
        UsageError: something else is there, or it cannot be written.
    """
    target = instance.infer / "model" / Path(MODEL_DIR.value).name
    is_package = (target / "customize_service.py").is_file()
    if target.exists() and not is_package and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(
            f"{target} holds something that is no model package; it would be replaced.\n"
            "Move it away yourself, for example to /home/ma-user/work."
        )
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        shutil.copytree(package.folder, new, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from error
    files = sorted(path for path in target.iterdir() if path.is_file())
    return InstalledPackage(target, tuple((path.name, path.stat().st_size) for path in files))
