"""The containers of notebook instances, ``/home/ma-user/work`` and ``/cache`` mounted apart.

Stopping an instance removes its container, because the platform keeps nothing of a stopped one but
``work``; starting makes a new one from the image. Every step may be done twice, so that a job which
a crash interrupted is simply begun again.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Final

from custom_image.engines.docker.host import MountPoint
from custom_image.errors import CustomImageError
from custom_image.specification import GROUP_ID, NOTEBOOK_MOUNTS, USER_HOME, USER_ID
from local_modelarts.errors import ApiError, no_image
from local_modelarts.notebooks.responses import DEDICATED
from local_modelarts.platform import Platform, endpoint
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.paths import credentials_text, write_secret
from local_modelarts.storage.resources import Image, Notebook
from local_modelarts.storage.store import State, WrongStatus

NOTEBOOK_LABEL: Final = "custom-image.notebook"
_WORK_DIR, _CACHE_DIR = NOTEBOOK_MOUNTS
_OWNER: Final = (USER_ID.value, GROUP_ID.value)
_RUNNING: Final = ("RUNNING", "SNAPSHOTTING")
_TRANSIENT: Final = ("CREATING", "STARTING", "STOPPING", "DELETING")


class Containers:
    """The containers of a platform's notebook instances."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._state = platform.state

    def clean(self) -> None:
        """Remove the containers of instances that a platform that was killed has just deleted."""
        known = {row.id for row in self._state.find(Notebook)}
        for container in self._platform.host.find(_label(self._platform)):
            # Not those of services, nor the registry's.
            if container.labels.get(NOTEBOOK_LABEL, "") not in {"", *known}:
                self._platform.host.remove(container.name)

    def resume(self) -> None:
        """Go on with what is half done and has no job: a kill, or an engine that was gone."""
        for row in self._state.find(Notebook, _TRANSIENT):
            self._platform.jobs.submit(self.advance, row.id)

    def advance(self, notebook_id: str) -> None:
        """Do what the transient status of an instance announces."""
        row = self._state.get(Notebook, notebook_id)
        step = {
            "CREATING": self._run,
            "STARTING": self._run,
            "STOPPING": self._halt,
            "DELETING": self._erase,
        }.get(row.status if row else "")
        if row and step:
            step(row)

    def look(self) -> None:
        """Stop the instances whose lease has ended; notice the ones that have died."""
        found = {c.name: c for c in self._platform.host.find(_label(self._platform))}
        for row in self._state.find(Notebook, ("RUNNING",)):
            container = found.get(container_name(row.id))
            with suppress(WrongStatus):  # somebody was faster: the next look will tell
                if row.lease_ends_at <= now_ms():
                    self._state.change(Notebook, row.id, ("RUNNING",), "STOPPING")
                    self._platform.jobs.submit(self.advance, row.id)
                elif container is None or not container.is_running:
                    code = "is gone" if container is None else f"exited {container.exit_code}"
                    reason = f"the container of the instance {code}"
                    self._state.change(Notebook, row.id, ("RUNNING",), "ERROR", fail_reason=reason)

    def stop_all(self) -> None:
        """Stop every running instance and wait; for the end of the platform."""
        for row in self._state.find(Notebook, ("RUNNING", "ERROR")):
            self._halt(self._state.change(Notebook, row.id, (row.status,), "STOPPING"))

    def url(self, row: Notebook) -> str:
        """Return where the JupyterLab of a running instance is, empty where it does not run."""
        if row.status not in _RUNNING:
            return ""
        name = container_name(row.id)
        found = {c.name: c.address for c in self._platform.host.find(_label(self._platform))}
        return f"http://{found[name]}:8888/lab" if found.get(name) else ""

    def _run(self, row: Notebook) -> None:
        platform = self._platform
        try:
            image = usable_image(self._state, row.image_id)
            if image.type == DEDICATED:
                login = platform.logins.temporary("local", platform.settings.login_s)
                platform.host.pull(image.swr_path, login.user, login.password)
            volume = volume_name(row.id)
            platform.host.ensure_volume(volume, self._labels(row.id))
            platform.host.start(
                container_name(row.id),
                image.swr_path,
                labels=self._labels(row.id),
                network=platform.identity.network,
                mounts=[
                    MountPoint(_WORK_DIR, volume),
                    MountPoint(_CACHE_DIR),
                    MountPoint(f"{USER_HOME.value}/.huaweicloud", self._write_keys(row), True),
                ],
                owner=_OWNER,
            )
        except (CustomImageError, ApiError) as error:
            failed = "CREATE_FAILED" if row.status == "CREATING" else "START_FAILED"
            self._state.change(
                Notebook, row.id, (row.status,), failed, fail_reason=str(error).strip()
            )
        else:
            ends_at = now_ms() + row.lease_ms
            self._state.change(Notebook, row.id, (row.status,), "RUNNING", lease_ends_at=ends_at)

    def _halt(self, row: Notebook) -> None:
        self._platform.host.remove(container_name(row.id))
        self._state.change(Notebook, row.id, ("STOPPING",), "STOPPED")

    def _erase(self, row: Notebook) -> None:
        self._platform.host.remove(container_name(row.id))
        self._platform.host.remove_volumes(f"{NOTEBOOK_LABEL}={row.id}")
        shutil.rmtree(self._platform.folder.instance(row.id), ignore_errors=True)
        self._state.remove(Notebook, row.id)

    def _write_keys(self, row: Notebook) -> str:
        """Write what is mounted at ``~/.huaweicloud``; return the directory.

        A mount, because what an instance is given as environment ends in every image saved from it.
        """
        platform = self._platform
        folder = platform.folder.instance(row.id)
        folder.mkdir(parents=True, exist_ok=True)
        mode = 0o600 if os.geteuid() == 0 else 0o644  # the parent is closed to all but its owner
        secrets = {
            "credentials": credentials_text(platform.identity),
            "token": f"{row.token}\n",  # what the API shows beside the instance's address
        }
        for name, text in secrets.items():
            write_secret(folder / name, text, mode)
            if os.geteuid() == 0:
                os.chown(folder / name, *_OWNER)
        write_secret(folder / "endpoint", f"{endpoint(platform, platform.gateway)}\n", 0o644)
        write_secret(folder / "instance_id", f"{row.id}\n", 0o644)
        return str(folder)

    def _labels(self, notebook_id: str) -> dict[str, str]:
        return self._platform.identity.labels | {NOTEBOOK_LABEL: notebook_id}


def container_name(notebook_id: str) -> str:
    """Return the name of an instance's container."""
    return f"local-modelarts-notebook-{notebook_id}"


def volume_name(notebook_id: str) -> str:
    """Return the name of the volume that an instance's ``work`` lives in."""
    return f"local-modelarts-work-{notebook_id}"


def usable_image(state: State, image_id: object) -> Image:
    """Return an image that an instance can be made from.

    Raises:
        ApiError: there is none, or it is not ACTIVE.
    """
    row = state.get(Image, str(image_id))
    if row is None or row.status != "ACTIVE":
        raise no_image(str(image_id))
    return row


def _label(platform: Platform) -> str:
    return "=".join(next(iter(platform.identity.labels.items())))
