"""The load client: wrk, one thread, which posts one digit over N kept-alive connections."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import Workload
from custom_image.errors import Unavailable

SCRIPT = Path(__file__).parent / "upload.lua"


@dataclass(frozen=True)
class Load:
    """What one run of wrk came to.

    Attributes:
        requests_per_s: good answers only.
        failures: answers outside 2xx (wrk counts those above 399), broken connections, and answers
            that took longer than wrk's two seconds.
    """

    connections: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    failures: int
    not_2xx: int
    socket_errors: int
    late: int


def ensure_wrk() -> None:
    """Install wrk where it is missing and this is root on Debian or Ubuntu.

    Raises:
        Unavailable: it is missing, with what to do.
    """
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk"],
            env=environment,
            capture_output=True,
        )
    if not shutil.which("wrk"):
        raise Unavailable(
            "The load client wrk is not installed, and this is not root on Debian or Ubuntu.\n"
            "Install it (apt-get install wrk; brew install wrk) and run this again."
        )


def run_load(url: str, workload: Workload, *, connections: int, seconds: int) -> Load:
    """Load ``url`` for ``seconds`` and return what came back."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT), url],
        env=os.environ
        | {"WRK_BODY": str(workload.body_path), "WRK_CONTENT_TYPE": workload.content_type},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    return Load(
        connections=connections,
        requests_per_s=round((told["answers"] - told["not_2xx"]) / told["seconds"], 1),
        p50_ms=round(told["p50_ms"], 3),
        p99_ms=round(told["p99_ms"], 3),
        longest_ms=round(told["longest_ms"], 3),
        failures=told["not_2xx"] + told["socket_errors"] + told["late"],
        not_2xx=told["not_2xx"],
        socket_errors=told["socket_errors"],
        late=told["late"],
    )
