"""The part of a Docker engine that a platform needs, and a verifier does not.

Containers that outlive the Python that started them, networks, volumes, saving a container as an
image, and moving images to and from a registry. Everything carries a name and labels, so that
who comes back after a crash finds it again.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import docker.errors
import requests.exceptions
from docker.types import Mount

from custom_image.engines.docker.connection import connect
from custom_image.engines.docker.container import remove_container, start_container
from custom_image.engines.process import procfs
from custom_image.errors import CustomImageError, Unavailable, UsageError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container


@dataclass(frozen=True)
class MountPoint:
    """A directory of a container that is none of its own, and so in no image saved from it.

    Attributes:
        source: the name of a volume, or an absolute path of this machine; empty for a volume
            that lives and dies with the container.
    """

    target: str
    source: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class FoundContainer:
    """A container as the engine lists it.

    Attributes:
        address: its IPv4 address in the first of its networks; empty where it does not run.
        exit_code: meaningless while it runs.
    """

    name: str
    labels: Mapping[str, str]
    is_running: bool
    exit_code: int
    address: str


class DockerHost:
    """A Docker engine as the host of long-lived things. Safe to share between threads."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    @classmethod
    def connect(cls) -> Self:
        """Return a host that has answered.

        Raises:
            Unavailable: none answers, it may not be used, or ``DOCKER_HOST`` is another machine.
        """
        return cls(connect())

    # --- networks and volumes ---------------------------------------------------------------------

    def ensure_network(self, name: str, labels: Mapping[str, str]) -> str:
        """Make a bridge network unless it is there; return the address of its gateway."""
        found = self._client.networks.list(names=[name])
        network = next((n for n in found if n.name == name), None)
        if network is None:
            network = self._client.networks.create(name, driver="bridge", labels=dict(labels))
            network.reload()
        ranges = network.attrs["IPAM"]["Config"]
        return str(ranges[0]["Gateway"]).partition("/")[0]

    def remove_network(self, name: str) -> None:
        """Remove a network. Idempotent."""
        with suppress(docker.errors.NotFound):
            self._client.networks.get(name).remove()

    def ensure_volume(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a volume unless it is there."""
        self._client.volumes.create(name, labels=dict(labels))

    def remove_volumes(self, label: str) -> None:
        """Remove every volume with a label ``name=value``. Idempotent."""
        for volume in self._client.volumes.list(filters={"label": label}):
            with suppress(docker.errors.NotFound):
                volume.remove(force=True)

    # --- containers -------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        image: str,
        *,
        labels: Mapping[str, str],
        network: str,
        mounts: Sequence[MountPoint],
        owner: tuple[int, int],
    ) -> None:
        """Start a container by this name, in place of one that is there already.

        ``owner`` (uid, gid) owns the volumes among ``mounts``, which start empty whatever the
        image holds at that place. No environment is given: what stands there would end in every
        image saved from the container.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: its first process could not be started.
        """
        self.remove(name)

        def own_the_volumes(container: Container) -> None:
            for mount in mounts:
                if not mount.source.startswith("/"):
                    parent, _, folder = mount.target.rpartition("/")
                    container.put_archive(parent or "/", _empty_folder(folder, owner))

        start_container(
            self._client,
            image,
            prepare=own_the_volumes,
            name=name,
            labels=dict(labels),
            network=network,
            mounts=[_mount(mount) for mount in mounts],
        )

    def find(self, label: str) -> list[FoundContainer]:
        """Return all containers with a label ``name=value``, running or not."""
        found = []
        listed = self._client.containers.list(
            all=True, filters={"label": label}, ignore_removed=True
        )
        for container in listed:
            state = container.attrs["State"]
            networks = container.attrs["NetworkSettings"]["Networks"].values()
            found.append(
                FoundContainer(
                    name=str(container.name),
                    labels=container.labels,
                    is_running=bool(state.get("Running")),
                    exit_code=int(state.get("ExitCode", 0)),
                    address=next((n["IPAddress"] for n in networks if n.get("IPAddress")), ""),
                )
            )
        return found

    def remove(self, name: str) -> None:
        """Kill and remove a container with its unnamed volumes: it is gone when this returns.

        Idempotent, and safe to call from several threads at once.
        """
        with suppress(docker.errors.NotFound):
            remove_container(self._client.containers.get(name))

    def size_bytes(self, name: str) -> int:
        """Return what a container takes: its image and what was written since."""
        found = self._client.api.containers(all=True, size=True, filters={"name": f"^/{name}$"})
        return int(found[0]["SizeRootFs"]) if found else 0

    def stuck_processes(self, name: str) -> list[int]:
        """Return the ids, inside a container, of its processes in uninterruptible sleep (``D``)."""
        container = self._client.containers.get(name)
        entries = [
            e for e in procfs.entries() if procfs.contains(e.host_pid, "cgroup", str(container.id))
        ]
        if entries:
            return [e.pid for e in entries if procfs.state(e.host_pid) == "D"]
        # The engine's processes cannot be seen from here (Docker Desktop): ask inside.
        _, output = container.exec_run(["sh", "-c", "cat /proc/[0-9]*/stat"])
        stats = bytes(output).decode(errors="replace").splitlines()  # type: ignore[arg-type]
        return [int(s.split()[0]) for s in stats if s.rpartition(")")[2].split()[:1] == ["D"]]

    # --- images -----------------------------------------------------------------------------------

    def layer_count(self, image: str) -> int:
        """Return how many layers an image has; 0 where the engine does not hold it."""
        with suppress(docker.errors.NotFound):
            return len(self._client.images.get(image).attrs["RootFS"]["Layers"])
        return 0

    def image_size_bytes(self, image: str) -> int:
        """Return what the layers of an image take, unpacked; 0 where the engine lacks it."""
        with suppress(docker.errors.NotFound):
            return int(self._client.images.get(image).attrs["Size"])
        return 0

    def image_of(self, name: str) -> str:
        """Return the id of the image that a container was made from."""
        return str(self._client.containers.get(name).attrs["Image"])

    def commit(self, name: str, reference: str, *, drop_labels: Sequence[str]) -> None:
        """Save a container as an image; its processes stand still meanwhile.

        Mounts are not part of it. ``drop_labels`` are emptied, because an image hands its labels
        down to every container made from it.

        Raises:
            Unavailable: the container is gone, or the engine cannot do it.
        """
        repository, _, tag = reference.rpartition(":")
        try:
            self._client.api.commit(
                name, repository, tag, conf={"Labels": dict.fromkeys(drop_labels, "")}
            )
        except docker.errors.APIError as error:
            raise Unavailable(f"container {name} cannot be saved: {error.explanation}") from error

    def tag(self, image: str, reference: str) -> None:
        """Give an image another name.

        Raises:
            UsageError: the engine has no such image.
            CustomImageError: the engine does not take the name.
        """
        repository, _, tag = reference.rpartition(":")
        try:
            self._client.api.tag(image, repository, tag)
        except docker.errors.NotFound as error:
            raise UsageError(f"image {image!r} is not in the Docker engine.") from error
        except docker.errors.APIError as error:
            raise CustomImageError(f"{image} cannot be named: {error.explanation}") from error

    def push(self, reference: str, user: str, password: str) -> Iterator[str]:
        """Push an image; yield the engine's words for each step, ending when all is there.

        Abandoning the iterator stops the push.

        Raises:
            Unavailable: the registry refuses, or is gone.
        """
        repository, _, tag = reference.rpartition(":")
        with _registry_answers(reference, "pushed"):
            lines = self._client.api.push(
                repository,
                tag,
                stream=True,
                decode=True,
                auth_config={"username": user, "password": password},
            )
            yield from _steps(lines, f"image {reference!r} cannot be pushed")

    def pull(self, reference: str, user: str, password: str) -> None:
        """Fetch an image, by tag or digest, or see that the one here is still the registry's.

        Raises:
            Unavailable: the registry refuses, or is gone.
        """
        repository, _, tag = reference.rpartition("@" if "@" in reference else ":")
        with _registry_answers(reference, "pulled"):
            lines = self._client.api.pull(
                repository,
                tag,
                stream=True,
                decode=True,
                auth_config={"username": user, "password": password},
            )
            for _ in _steps(lines, f"image {reference!r} cannot be pulled"):
                pass

    def remove_images(self, prefix: str) -> None:
        """Remove every name of an image, ``name@digest`` included, that begins with ``prefix``."""
        # The SDK's own list asks for each image again, and fails where one has gone meanwhile.
        for image in self._client.api.images():
            for reference in [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]:
                if reference.startswith(prefix):
                    self.remove_image(reference)

    def remove_image(self, reference: str) -> None:
        """Remove a name of an image, and the image where that was its last. Repeatable."""
        with suppress(docker.errors.NotFound):
            self._client.images.remove(reference, force=True)


def _mount(mount: MountPoint) -> Mount:
    kind: Literal["bind", "volume"] = "bind" if mount.source.startswith("/") else "volume"
    options: dict[str, Any] = {} if kind == "bind" else {"no_copy": True}
    return Mount(mount.target, mount.source or None, kind, read_only=mount.read_only, **options)


def _empty_folder(name: str, owner: tuple[int, int]) -> bytes:
    """Return a tar that sets the owner of a folder when it is unpacked over it."""
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    member.uid, member.gid = owner
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member)
    return buffer.getvalue()


def _steps(lines: Iterator[Mapping[str, Any]], failure: str) -> Iterator[str]:
    for line in lines:
        if "error" in line:
            raise Unavailable(f"{failure}: {line['error']}")
        yield str(line.get("status", ""))


@contextmanager
def _registry_answers(reference: str, verb: str) -> Iterator[None]:
    try:
        yield
    except docker.errors.APIError as error:
        raise Unavailable(f"image {reference!r} cannot be {verb}: {error.explanation}") from error
    except requests.exceptions.RequestException as error:
        raise Unavailable(f"image {reference!r} cannot be {verb}: {error}") from error
