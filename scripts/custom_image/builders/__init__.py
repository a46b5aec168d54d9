"""Builders: a build context becomes an image.

Each module is one place where that can be done. An image that is here is a :class:`BuiltImage`; the
one of ``ma_cli`` stands in a registry, and ``folder`` is for where there can be none.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, ClassVar

from custom_image.engines import ImageFacts
from custom_image.images import Image, Location
from custom_image.target_python import TargetPython

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.builders.folder import UnbuiltImage
    from custom_image.builders.ma_cli import RegisteredImage
    from custom_image.engines import Engine

_LONGEST_INSTRUCTION = 90
_MB = 10**6


@dataclass(frozen=True)
class Layer:
    """What one instruction of the Dockerfile added to the image.

    Attributes:
        instruction: as written; ``FROM`` stands for all layers of the base.
        reused: whether an earlier build had made it already.
    """

    instruction: str
    bytes: int
    reused: bool


@dataclass(frozen=True)
class BuiltImage(Image):
    """An image that was built from a context.

    Attributes:
        layers: lowest first; instructions that only set metadata are left out.
        seconds: from sending the context to the finished image.
        context_digest: SHA-256 of the context it was built of.
    """

    reference: str
    facts: ImageFacts
    layers: tuple[Layer, ...]
    seconds: float
    context_digest: str

    location: ClassVar[Location] = Location.ENGINE

    @property
    def size_bytes(self) -> int:
        """Its size in the engine, unpacked."""
        return self.facts.size_bytes

    @property
    def reused_bytes(self) -> int:
        """How much of the image no builder, and no registry, has to handle again."""
        return sum(layer.bytes for layer in self.layers if layer.reused)

    @property
    def summary(self) -> str:
        """One line: name, size, and how long it took."""
        return (
            f"{self.reference}: {self.facts.size_bytes / _MB:.0f} MB, {self.facts.id[:19]}, "
            f"built in {self.seconds:.1f} s, {self.reused_bytes / _MB:.0f} MB of it reused"
        )

    @property
    def document(self) -> dict[str, str | int | float]:
        """What tools read of it."""
        return super().document | {
            "id": self.facts.id,
            "context_digest": self.context_digest,
            "seconds": round(self.seconds, 3),
        }

    def __str__(self) -> str:
        rows = [f"  {mb:>8} MB  {how:<6}  {what}" for mb, how, what in self._rows()]
        return "\n".join([self.summary, *rows])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{mb}</td><td style='text-align:left'>{how}</td>"
            f"<td style='text-align:left'><code>{escape(what)}</code></td></tr>"
            for mb, how, what in self._rows()
        )
        head = "<tr><th>MB</th><th></th><th style='text-align:left'>instruction</th></tr>"
        return f"<p>{escape(self.summary)}</p><table>{head}{rows}</table>"

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            (
                f"{layer.bytes / _MB:.2f}",
                "reused" if layer.reused else "built",
                shorten(layer.instruction),
            )
            for layer in self.layers
        ]


def shorten(instruction: str) -> str:
    """Return an instruction on one line that fits beside its figures."""
    line = " ".join(instruction.split())
    return line if len(line) <= _LONGEST_INSTRUCTION else f"{line[: _LONGEST_INSTRUCTION - 4]} ..."


def find_base(
    reference: str = "", *, batch: bool = False, python: str = "", engine: Engine
) -> tuple[str, TargetPython]:
    """Return the name of the base image that there will be, and its Python, which it is asked.

    Where no engine can ask it, the Python is the one that ``python`` names.

    Raises:
        UsageError: it has no Python that wheels can be had for, or not that one.
        Unavailable: there is no base image, and none can be made here.
    """
    from custom_image.builders.base import ensure_base_image
    from custom_image.builders.base_python import find_python
    from custom_image.engines.docker.engine import DockerEngine

    if not isinstance(engine, DockerEngine):
        return reference, TargetPython(python) if python else TargetPython()
    base = ensure_base_image(reference, batch=batch, python=python, engine=engine)
    return base, find_python(base, python, engine=engine)


def build(
    context: BuildContext, tag: str, *, engine: Engine
) -> BuiltImage | RegisteredImage | UnbuiltImage:
    """Build the image of a context: by ``engine`` where that can, in a notebook instance by ma-cli.

    Where neither can, return what stands in for the image. Each of the three can be started by the
    same engine, and verified, by its ``reference``.

    Raises:
        UsageError: ``tag`` is no name of an image, or ma-cli is not told where it goes.
        BuildFailed: a step failed; with the log.
        Unavailable: there is no base image, and none can be made here.
    """
    from custom_image.builders import docker, folder, ma_cli  # heavy: the Docker SDK
    from custom_image.engines.docker.engine import DockerEngine

    if isinstance(engine, DockerEngine):
        return docker.build(context, tag, engine=engine)
    if ma_cli.is_there():
        return ma_cli.build(context, tag)
    return folder.build(context)
