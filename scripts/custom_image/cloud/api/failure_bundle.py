"""A bundle of everything needed to find out why a verb failed, below ``build/bundles``.

Events and logs of what failed, the settings that were sent, the image's labels, the last report of
the verifier, and every call with its answer; never a secret.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import requests

from custom_image.cloud.api.recorder import masked
from custom_image.errors import CustomImageError, Unavailable, UsageError
from custom_image.platform_api import LOGS
from custom_image.report import LAST_REPORT

if TYPE_CHECKING:
    from custom_image.cloud.api.client import Cloud
    from custom_image.local_platform import LocalPlatform

_ANSWER_TIMEOUT_S: Final = 10
BUNDLES: Final = Path("build/bundles")


class Bundle:
    """Collects while a verb goes on; writes itself where the block ends with an error.

    What was refused before anything was sent, a :class:`UsageError`, needs no bundle.
    """

    def __init__(self, cloud: Cloud, verb: str, name: str) -> None:
        self._cloud = cloud
        self._stem = f"{verb}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}"
        self._parts: dict[str, Callable[[], Any]] = {}

    def add(self, name: str, part: Any) -> None:
        """Add a file: text, something for JSON, or a function that returns either when needed."""
        self._parts[name] = part if callable(part) else lambda: part

    def logs_of(self, service_id: str) -> str:
        """Return what the instances of a service wrote; of the cloud, where that is to be found."""
        if self._cloud.platform is None:
            return "of a service of the cloud: the Logs tab of the console, or LTS"
        return service_logs(self._cloud.platform, service_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, CustomImageError) and not isinstance(error, UsageError):
            path = self.write(str(error))
            lines = str(error).splitlines()
            error.args = ("\n".join([*lines[:2], f"Events, logs and settings: {path}"]),)

    def write(self, error: str) -> Path:
        """Write the archive and return its path."""
        calls = list(self._cloud.wire.calls)  # before the parts below make calls of their own
        BUNDLES.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
        path = BUNDLES / f"{self._stem}-{stamp}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("error.txt", error + "\n")
            archive.writestr("calls.jsonl", "".join(f"{call.to_json()}\n" for call in calls))
            for name, part in self._parts.items():
                archive.writestr(name, _text(part))
            report = LAST_REPORT.read_text() if LAST_REPORT.is_file() else _NO_REPORT
            archive.writestr("report.json", report)
        return path


def service_logs(platform: LocalPlatform, service_id: str) -> str:
    """Return what the instances of a service of the local ModelArts wrote, the newest last.

    Raises:
        Unavailable: it does not answer.
    """
    url = f"{platform.endpoint}{LOGS.format(id=service_id)}"
    try:
        answer = requests.get(url, timeout=_ANSWER_TIMEOUT_S)
        answer.raise_for_status()
        return answer.text
    except requests.RequestException as error:
        raise Unavailable(f"GET {url}: {error}") from error


_NO_REPORT: Final = json.dumps({"report": f"none: no image was verified ({LAST_REPORT})"}) + "\n"


def _text(part: Callable[[], Any]) -> str:
    try:
        found = part()
    except CustomImageError as error:
        return f"could not be had: {error}\n"
    if isinstance(found, str):
        return found if found.endswith("\n") else f"{found}\n"
    return json.dumps(masked(found), indent=2, ensure_ascii=False, default=str) + "\n"
