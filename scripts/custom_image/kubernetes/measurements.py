"""Measurements of a verification's drills, as far as a manifest needs them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from custom_image.errors import UsageError
from custom_image.report import Verdict
from custom_image.specification import SIGTERM_DRAIN

_READ_ONLY: Final = "confinement.read-only"
_SERVES: Final = "sigterm.serves"


@dataclass(frozen=True)
class Measurements:
    """What was measured; None and False where it was not.

    Attributes:
        ready_s: from the start to the first good answer.
        peak_bytes: the most memory that was used.
        exited_s: from SIGTERM to the end, where the true times were waited.
        read_only: it works with a closed root file system.
        stops_early: after SIGTERM it lost requests that were still routed to it.
    """

    ready_s: float | None = None
    peak_bytes: int | None = None
    exited_s: float | None = None
    read_only: bool = False
    stops_early: bool = False

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a report that `custom-image verify --format json` wrote.

        Raises:
            UsageError: it cannot be read, or is none.
        """
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            verdicts = {check["id"]: check["verdict"] for check in report["checks"]}
            return cls.of(report["facts"], verdicts)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{path} is no report of a verification.\n"
                f"Write one: custom-image verify IMAGE --format json --output {path}"
            ) from error

    @classmethod
    def of(cls, facts: dict[str, Any], verdicts: dict[str, str]) -> Self:
        """Return what a report's facts and verdicts say."""
        sigterm = facts.get("sigterm") or {}
        waited = sigterm.get("drain_s", 0) >= SIGTERM_DRAIN.value
        peak_mb = (facts.get("memory") or {}).get("peak_mb")
        return cls(
            ready_s=facts.get("ready_s"),
            peak_bytes=None if peak_mb is None else round(peak_mb * 1e6),
            exited_s=sigterm.get("exited_s") if waited else None,
            read_only=verdicts.get(_READ_ONLY) == Verdict.PASSED,
            stops_early=verdicts.get(_SERVES) == Verdict.FAILED,
        )
