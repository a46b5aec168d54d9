"""A Docker engine on this machine, or on one that a tunnel leads to, through its own SDK.

Only this module and those beside it, ``docker_connection``, ``docker_container`` and
``docker_host``, import the SDK, and nothing connects before it is used: importing this works on a
machine without an engine.
"""

from __future__ import annotations

import atexit
import queue
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import docker.errors
import requests.exceptions
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount

from custom_image.engines import ImageFacts, ImageFile, StartOptions
from custom_image.engines.docker.connection import connect, engine_host
from custom_image.engines.docker.container import (
    LARGEST_FILE_BYTES,
    DockerContainer,
    find_file,
    remove_container,
)
from custom_image.engines.docker.offline import OfflineContainer, require_namespaces
from custom_image.engines.docker.owners import OWNER_LABEL, is_gone, this_process
from custom_image.engines.image_facts import image_facts
from custom_image.errors import ServiceNotReady, Unavailable, UsageError
from custom_image.specification import MIB

if TYPE_CHECKING:
    from docker import DockerClient

RUN_LABEL = "custom-image.run"
# What one container may take of this machine, whatever is in it. Wide enough for any service.
MOST_PROCESSES: Final = 2048
MEMORY_SHARE: Final = 0.5
LARGEST_LOG: Final = {"max-size": "1m", "max-file": "2"}
NO_PROC: Final = Path("/nonexistent")
_NO_SOURCE: Final = "bind source path does not exist"
_NO_DEVICE: Final = re.compile(
    r"could not select device driver|gathering device information|unresolvable CDI|nvidia"
)
_RUN_S: Final = 60
CPU_SHARES: Final = 512
"""Half the weight of a process of this machine, where both want the same CPU."""


class DockerEngine:
    """A Docker engine on this machine.

    Every container it starts carries the label ``custom-image.run=<run_id>``, answers on a free
    port of 127.0.0.1 only, and is gone when its ``with`` block or this Python ends. Where this
    Python is killed, the next one to use the engine removes it, by the owner that its label names.
    """

    name = "docker"

    def __init__(
        self, run_id: str = "", *, tunnel: str = "", lead: Callable[[int], int] | None = None
    ) -> None:
        """Prepare an engine; nothing connects yet.

        Args:
            run_id: what its containers are labelled with.
            tunnel: a socket of this machine that leads to an engine of another, ``unix:///...``.
            lead: returns the port of this machine that leads to one of the other's loopback.
        """
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self._tunnel = tunnel
        self._lead = lead
        self._connected: DockerClient | None = None

    @classmethod
    def connect(
        cls, run_id: str = "", *, tunnel: str = "", lead: Callable[[int], int] | None = None
    ) -> DockerEngine:
        """Return an engine that has answered; arguments as of the class itself.

        Raises:
            Unavailable: none answers, it may not be used, or ``DOCKER_HOST`` is another machine.
        """
        engine = cls(run_id, tunnel=tunnel, lead=lead)
        _ = engine._client
        return engine

    def start(self, target: str, options: StartOptions | None = None) -> DockerContainer:
        """Start an image and return the container, which need not be ready yet.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: the engine could not start its first process.
            Unavailable: this engine cannot honour one of the options.
        """
        options = options or StartOptions()
        if options.is_offline:
            require_namespaces("" if self._lead is None else "another machine")
        try:
            container = self._create(target, **_creation(options, self._machine_bytes))
        except docker.errors.APIError as error:
            if _NO_SOURCE not in str(error.explanation):
                raise
            raise Unavailable(
                "the machine of the Docker engine lacks a file that is to be mounted; "
                "mounts name files of that machine"
            ) from error
        try:
            container.start()
            if options.is_offline:
                return OfflineContainer(container, options.port)
            if self._lead:  # another machine: no /proc here shows its processes
                return DockerContainer(container, options.port, NO_PROC, self._lead)
            return DockerContainer(container, options.port)
        except docker.errors.APIError as error:
            remove_container(container)
            if (options.gpus or options.devices) and _NO_DEVICE.search(str(error.explanation)):
                raise Unavailable(
                    f"the engine's machine lacks a device that was named: {error.explanation}"
                ) from error
            raise ServiceNotReady(
                f"image {target!r} could not be started: {error.explanation}", ""
            ) from error
        except BaseException:  # an interrupt too must leave nothing behind
            remove_container(container)
            raise

    def run(self, reference: str, command: Sequence[str], *, user: str = "") -> str:
        """Run a command in an image, without a network; return what it wrote to its output.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: the command could not be started, failed, or took longer than a minute.
        """
        container = self._create(
            reference,
            entrypoint=command[0],
            command=list(command[1:]),
            user=user,
            network_mode="none",
            working_dir="/",
        )
        try:
            container.start()
            code = container.wait(timeout=_RUN_S)["StatusCode"]
            output, error = (
                container.logs(stdout=of, stderr=not of).decode(errors="replace").strip()
                for of in (True, False)
            )
        except docker.errors.APIError as failure:
            raise ServiceNotReady(str(failure.explanation), "") from failure
        except requests.exceptions.RequestException as failure:
            raise ServiceNotReady(f"no end within {_RUN_S} s", "") from failure
        finally:
            remove_container(container)
        if code:
            raise ServiceNotReady(f"{command[0]} ended with {code}: {error or output}", error)
        return output

    def has_image(self, reference: str) -> bool:
        """Tell whether the engine holds this image, without asking any registry."""
        try:
            self._client.images.get(reference)
        except docker.errors.NotFound:
            return False
        return True

    def inspect(self, reference: str) -> ImageFacts:
        """Return what the metadata of an image says.

        Raises:
            UsageError: the engine has no such image.
        """
        with _image_known(reference, self._tunnel):
            image = self._client.images.get(reference)
            history = image.history()
        return image_facts(reference, image.attrs, history)

    def read_files(self, reference: str, paths: Sequence[str]) -> dict[str, bytes | None]:
        """Return files of an image by absolute path, None where there is none; nothing is started.

        Raises:
            UsageError: the engine has no such image.
            CustomImageError: one of them is too large to be read into memory.
        """
        found = self.find_files(reference, paths)
        return {path: file.content if file else None for path, file in found.items()}

    def find_files(
        self, reference: str, paths: Sequence[str], limit_bytes: int = LARGEST_FILE_BYTES
    ) -> dict[str, ImageFile | None]:
        """Return files of an image with mode and owner; see :meth:`read_files`."""
        container = self._create(reference, command=["never-started"])
        try:
            return {path: find_file(container, path, limit_bytes) for path in paths}
        finally:
            remove_container(container)

    def save(self, reference: str) -> Iterator[bytes]:
        """Yield what ``docker save`` writes, in parts of a MiB; nothing is kept.

        Raises:
            UsageError: the engine has no such image.
            Unavailable: the engine broke off.
        """
        try:
            with _image_known(reference, self._tunnel):
                yield from self._client.api.get_image(reference, chunk_size=MIB)
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            raise Unavailable(f"image {reference!r}: saving broke off: {error}") from error

    def read_file(self, reference: str, path: str) -> bytes | None:
        """Return one file of an image; see :meth:`read_files`."""
        return self.read_files(reference, [path])[path]

    def pull(self, reference: str, silence_s: float) -> None:
        """Fetch an image from its registry, giving up after ``silence_s`` without a sign of it.

        Raises:
            Unavailable: the registry does not answer, or refuses.
        """
        # In a thread, because the SDK lets no caller limit how long a pull may stay silent.
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._pull, args=(reference, said), daemon=True).start()
        try:
            while (failure := said.get(timeout=silence_s)) is not None:
                if failure:
                    raise Unavailable(f"image {reference!r} cannot be pulled: {failure}")
        except queue.Empty:
            raise Unavailable(
                f"image {reference!r} cannot be pulled: no answer for {silence_s:g} s."
            ) from None

    def _pull(self, reference: str, said: queue.SimpleQueue[str | None]) -> None:
        """Report every line of a pull: empty for progress, why it failed, None at its end."""
        try:
            for line in self._client.api.pull(reference, stream=True, decode=True):
                said.put(str(line.get("error", "")))
            said.put(None)
        except docker.errors.APIError as error:
            said.put(str(error.explanation))
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            said.put(str(error))

    def import_root(self, tar_path: Path, reference: str, changes: Sequence[str]) -> None:
        """Make an image of one layer from the tar of a root file system.

        ``changes`` are Dockerfile instructions such as ``CMD`` and ``LABEL``.
        """
        repository, _, tag = reference.rpartition(":")
        self._client.api.import_image(
            str(tar_path), repository=repository, tag=tag, changes=list(changes)
        )

    def build(
        self,
        context: IO[bytes],
        reference: str,
        arguments: Mapping[str, str],
        *,
        network: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Build an image from a context's tar; yield the builder's messages.

        ``RUN`` steps have no network, unless ``network`` gives them that of the engine's machine,
        with the proxies of this user.
        """
        # The SDK speaks to the classic builder only: https://github.com/docker/docker-py/issues/3178
        try:
            yield from self._client.api.build(
                fileobj=context,
                custom_context=True,
                tag=reference,
                buildargs=dict(arguments),
                network_mode=None if network else "none",
                rm=True,
                forcerm=True,
                decode=True,
                # The author's proxies would become build arguments, and so part of the history.
                use_config_proxy=network,
            )
        except docker.errors.APIError as error:  # refused before the first step
            yield {"error": str(error.explanation)}

    def remove_image(self, reference: str) -> None:
        """Remove a tag, and the image where that was its last one. Harmless when repeated."""
        try:
            self._client.images.remove(reference, force=True)
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError as error:
            # Another tag of the same image was removed at the same moment, and the image with it.
            if "unrecognized image ID" not in str(error.explanation):
                raise

    def remove_run(self, run_id: str = "") -> int:
        """Remove every container of a run, this one by default, and return how many there were."""
        return self._remove(f"{RUN_LABEL}={run_id or self.run_id}")

    def remove_every_run(self) -> int:
        """Remove the containers of all runs, also of ones that are still going on."""
        return self._remove(RUN_LABEL)

    def _remove(self, label: str) -> int:
        containers = self._client.containers.list(all=True, filters={"label": label})
        for container in containers:
            remove_container(container)
        return len(containers)

    def close(self) -> None:
        """Remove what it started and disconnect; also done when this Python ends."""
        if self._connected is None:
            return
        atexit.unregister(self.close)
        # An engine that is gone by now has nothing left to remove.
        with suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            self.remove_run()
        self._connected.close()
        self._connected = None

    def _create(self, image: str, **settings: Any) -> Container:
        client = self._client
        with _image_known(image, self._tunnel):
            labels = {RUN_LABEL: self.run_id, OWNER_LABEL: this_process()}
            return client.containers.create(image, labels=labels, **settings)

    @property
    def has_containerd_store(self) -> bool:
        """Whether it stores images as containerd does, an index with attestations included.

        Source: https://docs.docker.com/engine/storage/containerd/
        """
        found = dict(self._client.info().get("DriverStatus") or [])
        return str(found.get("driver-type", "")).startswith("io.containerd.snapshotter")

    @cached_property
    def _machine_bytes(self) -> int:
        return int(self._client.info()["MemTotal"])

    @staticmethod
    def _remove_abandoned(client: DockerClient) -> None:
        """Remove the containers of runs that were killed before they could do so themselves."""
        # Not the SDK's list of objects: it asks for each, and fails for one that is just removed.
        with suppress(docker.errors.APIError):  # whatever was left is no reason not to start
            for found in client.api.containers(all=True, filters={"label": OWNER_LABEL}):
                if is_gone((found.get("Labels") or {}).get(OWNER_LABEL, "")):
                    client.api.remove_container(found["Id"], force=True, v=True)

    @property
    def _client(self) -> DockerClient:
        if self._connected is None:
            self._connected = connect(self._tunnel)
            atexit.register(self.close)
            self._remove_abandoned(self._connected)
        return self._connected


def _creation(options: StartOptions, machine_bytes: int) -> dict[str, Any]:
    memory_bytes = options.memory_bytes or int(machine_bytes * MEMORY_SHARE)
    settings: dict[str, Any] = {
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "pids_limit": MOST_PROCESSES,
        "log_config": LogConfig(type="json-file", config=LARGEST_LOG),
        "cpu_shares": CPU_SHARES,
        "environment": dict(options.environment),
        "ports": {f"{options.port}/tcp": ("127.0.0.1", None)},
        "read_only": options.read_only,
    }
    if options.command:
        settings |= {"entrypoint": options.command[0], "command": list(options.command[1:])}
    if options.user:
        settings["user"] = options.user
    if options.read_only:
        settings["tmpfs"] = {"/tmp": ""}
    if options.tmp_bytes:
        settings["tmpfs"] = {"/tmp": f"size={options.tmp_bytes}"}
    if options.cpus:
        settings["nano_cpus"] = int(options.cpus * 1e9)
    if options.is_offline:
        # Names are asked of its own loopback, where somebody writes them down.
        settings |= {"network_mode": "none", "dns": ["127.0.0.1"], "ports": {}}
    return settings | _resources(options)


def _resources(options: StartOptions) -> dict[str, Any]:
    """Return what it gets of the machine only because it was named."""
    settings: dict[str, Any] = {
        "shm_size": options.shm_bytes,
        "cpuset_cpus": options.cpuset,
        "security_opt": [f"seccomp={options.seccomp}"] if options.seccomp else [],
        # `mounts`, because `volumes` would create a source that is not there.
        "mounts": [
            Mount(volume.target, volume.source, "bind", read_only=not volume.is_writable)
            for volume in options.volumes
        ],
        "devices": list(options.devices),
    }
    if options.gpus:
        which: dict[str, Any] = {"device_ids": [i for i in options.gpus.split(",") if i]}
        if options.gpus == "all" or options.gpus.isdigit():
            which = {"count": -1 if options.gpus == "all" else int(options.gpus)}
        settings["device_requests"] = [DeviceRequest(capabilities=[["gpu"]], **which)]
    return {name: value for name, value in settings.items() if value}


@contextmanager
def _image_known(reference: str, tunnel: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.NotFound as error:
        raise UsageError(
            f"image {reference!r} is not in the Docker engine at {tunnel or engine_host()}.\n"
            f"Build one with `custom-image build dockerfile_build`, or fetch it with "
            f"`docker pull {reference}`; `docker images` lists what is there."
        ) from error
    except docker.errors.APIError as error:
        if "invalid reference" not in str(error.explanation):
            raise
        raise UsageError(f"{reference!a} names no image: {error.explanation}.") from error
