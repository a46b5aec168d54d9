"""The kept logs of instances that are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

from local_modelarts.platform import Platform
from local_modelarts.storage.resources import Instance


def log_file(platform: Platform, instance: Instance) -> Path:
    """Return where the log of an instance is kept that is gone."""
    folder = platform.folder.root / "services" / str(instance.service_id)
    return folder / f"{instance.name}.log"


def forget_logs(platform: Platform, service_id: str) -> None:
    """Remove the kept logs of a service. Idempotent."""
    shutil.rmtree(platform.folder.root / "services" / service_id, ignore_errors=True)
