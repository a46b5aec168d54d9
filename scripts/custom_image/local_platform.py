"""Starting, finding and stopping the local ModelArts, which runs as a process of its own.

Nothing here imports it: what is known of a running one stands in ``platform.json`` of its folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from custom_image.errors import Unavailable, UsageError
from custom_image.extras import require
from custom_image.progress import say
from custom_image.settings import find_workplace, project_files

DEFAULT_FOLDER: Final = Path("build/platform")
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 120.0
_ANSWER_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class LocalPlatform:
    """A local ModelArts that runs.

    Attributes:
        endpoint: of the ModelArts API and of the SWR API, as seen from this machine.
        gateway_endpoint: the same, as seen from an instance.
        registry: host and port; the first part of an image's address.
        credentials_file: read by the official SDK where ``HUAWEICLOUD_SDK_CREDENTIALS_FILE`` names
            it. It holds a secret; nothing else here does.
        network: the Docker network of the instances.
        obs_folder: the folder that stands in for OBS: ``obs://bucket/key`` is a file below it.
    """

    pid: int
    endpoint: str
    gateway_endpoint: str
    registry: str
    project_id: str
    credentials_file: str
    network: str
    obs_folder: str = ""  # a platform that was started by an earlier release has none

    def to_json(self) -> str:
        """Return the form that tools read."""
        return json.dumps({"running": True, **asdict(self)}, indent=2)

    def __str__(self) -> str:
        return (
            f"local ModelArts, process {self.pid}\n"
            f"  endpoint     {self.endpoint}  (ModelArts and SWR)\n"
            f"  in instances {self.gateway_endpoint}\n"
            f"  registry     {self.registry}\n"
            f"  project      {self.project_id}\n"
            f"  credentials  export HUAWEICLOUD_SDK_CREDENTIALS_FILE={self.credentials_file}"
        )


def find(folder: Path = DEFAULT_FOLDER) -> LocalPlatform | None:
    """Return the platform that runs in a folder and answers, or None."""
    try:
        found = json.loads((folder / "platform.json").read_text())
        identity = json.loads((folder / "identity.json").read_text())
        with urllib.request.urlopen(
            f"{found['endpoint']}/local/status", timeout=_ANSWER_TIMEOUT_S
        ) as answer:
            is_ours = json.load(answer) == {"platform": identity["id"]}
    except (OSError, ValueError):
        return None
    names = [field.name for field in fields(LocalPlatform)]
    known = {name: found[name] for name in names if name in found}
    return LocalPlatform(**known) if is_ours else None


def start(
    folder: Path = DEFAULT_FOLDER, presets: Sequence[str] = (), settings: Sequence[str] = ()
) -> LocalPlatform:
    """Start a platform, or return the one that runs there; what it ran before goes on.

    Args:
        folder: keeps its state; one platform a folder.
        presets: images of the engine that it offers as the platform's own.
        settings: ``name=value`` in place of a limit of the platform; see its README.

    Raises:
        UsageError: a setting or a preset image cannot be used, or the extra is not installed.
        Unavailable: it cannot run here, or does not answer; with the end of its log.
    """
    if running := find(folder):
        return running
    require("platform")
    _ensure_registry()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "platform.log"
    (folder / "platform.json").unlink(missing_ok=True)  # of one that was killed
    command = [sys.executable, "-m", "local_modelarts", "--folder", str(folder)]
    command += [word for preset in presets for word in ("--preset", preset)]
    command += [word for setting in settings for word in ("--set", setting)]
    with log.open("ab") as file:
        began = file.tell()
        pid = _spawn(command, file.fileno())
    deadline = time.monotonic() + _START_TIMEOUT_S
    while (running := find(folder)) is None:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended or time.monotonic() > deadline:
            tail = log.read_bytes()[began:].decode(errors="replace").strip().splitlines()[-3:]
            is_usage = os.waitstatus_to_exitcode(status) == UsageError.exit_code
            raise (UsageError if is_usage else Unavailable)(
                f"the local ModelArts did not start; its log is {log}:\n" + "\n".join(tail)
            )
        time.sleep(0.05)
    return running


def stop(folder: Path = DEFAULT_FOLDER, *, purge: bool = False) -> bool:
    """Stop the platform with its instances, as the platform itself stops them; tell if it ran.

    What one that was killed has left running is ended too. ``purge`` then removes what it keeps:
    images, volumes, network, state.

    Raises:
        Unavailable: it does not end, or its things cannot be removed.
    """
    running = find(folder)
    if running:
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while (folder / "platform.json").exists():
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the local ModelArts (process {running.pid}) does not end; "
                    f"its log is {folder / 'platform.log'}."
                )
            time.sleep(0.05)
    if (folder / "identity.json").exists() and (purge or not running):
        command = [sys.executable, "-m", "local_modelarts", "--folder", str(folder)]
        command.append("--purge" if purge else "--halt")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"what is in {folder} cannot be ended: {done.stderr.strip()}")
    return running is not None


def _spawn(command: list[str], output: int) -> int:
    """Start a process that outlives this one and its terminal; return its id."""
    return os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
    )


def _ensure_registry() -> None:
    if shutil.which("docker-registry") and not os.environ.get("REGISTRY_IMAGE"):
        return
    script = project_files() / "scripts/ensure_registry.sh"
    folder = find_workplace() / "build/registry"
    done = subprocess.run(["sh", str(script), str(folder)], capture_output=True)
    if done.returncode:
        raise Unavailable(done.stderr.decode(errors="replace").strip())
    if b"fetching" in done.stderr:
        say(done.stderr.decode(errors="replace").strip())
