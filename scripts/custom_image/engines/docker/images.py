"""The images of a Docker engine: what they hold, and how they come and go."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import docker.errors
import requests.exceptions
from docker.models.containers import Container

from custom_image.engines import ImageFacts, ImageFile
from custom_image.engines.docker.connection import engine_host
from custom_image.engines.docker.container import LARGEST_FILE_BYTES, find_file, remove_container
from custom_image.engines.docker.owners import OWNER_LABEL, this_process
from custom_image.engines.image_facts import image_facts
from custom_image.errors import Unavailable, UsageError
from custom_image.specification import MIB

if TYPE_CHECKING:
    from docker import DockerClient

RUN_LABEL = "custom-image.run"


class DockerImages(ABC):
    """The images of a Docker engine; what one holds is read from a container that never starts."""

    run_id: str
    _tunnel: str

    @property
    @abstractmethod
    def _client(self) -> DockerClient:
        """The SDK's client, connected."""

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
        """Remove a tag, and the image where that was its last one. Idempotent."""
        try:
            self._client.images.remove(reference, force=True)
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError as error:
            # Another tag of the same image was removed at the same moment, and the image with it.
            if "unrecognized image ID" not in str(error.explanation):
                raise

    @property
    def has_containerd_store(self) -> bool:
        """Whether it stores images as containerd does, an index with attestations included.

        Source: https://docs.docker.com/engine/storage/containerd/
        """
        found = dict(self._client.info().get("DriverStatus") or [])
        return str(found.get("driver-type", "")).startswith("io.containerd.snapshotter")

    def _create(self, image: str, **settings: Any) -> Container:
        client = self._client
        with _image_known(image, self._tunnel):
            labels = {RUN_LABEL: self.run_id, OWNER_LABEL: this_process()}
            return client.containers.create(image, labels=labels, **settings)


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
