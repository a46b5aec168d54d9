"""The audit of the instance that this runs in."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from custom_image.audit import Audit, audit_folder
from custom_image.image_saving.instance import NotebookInstance
from custom_image.settings import find_project
from custom_image.specification import NOTEBOOK_MOUNTS

LOCK: Final = Path("docker/requirements/3.11/onnx.txt")
"""What the serving runtime imports; see docker/README.md."""


def audit_instance(
    instance: NotebookInstance,
    *,
    keep: Collection[Path] = (),
    lock: Path | None = None,
    fix: bool = False,
) -> Audit:
    """Look through what a save of this instance would carry along, and what it would lose.

    Args:
        instance: whose home directory is looked through.
        keep: see :func:`~custom_image.audit.audit_folder`.
        lock: the requirements of its Python; None for those of the serving runtime.
        fix: remove what is safe to remove.

    Raises:
        UsageError: its Python cannot be asked, or it has no home directory.
    """
    return audit_folder(
        instance.user_home,
        lost=[Path(mount) for mount in NOTEBOOK_MOUNTS[1:]] if instance.is_real else [],
        keep=keep,
        packages=instance.python.packages,
        added=instance.python.added if instance.is_real else (),
        lock=lock or find_project() / LOCK,
        python=instance.python.executable if instance.is_real else "python3",
        in_container=instance.is_real,
        fix=fix,
    )
