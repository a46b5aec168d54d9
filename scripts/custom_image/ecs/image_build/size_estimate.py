"""An estimate of an image's size, before anything of it is sent or built."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from custom_image.build_context.display import size
from custom_image.errors import PackageError
from custom_image.specification import GB, IMAGE_SIZE, NOTEBOOK_IMAGE_SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from custom_image.build_context import BuildContext

BASE_BYTES: Final = 130 * 10**6
"""A slim Python 3.11; the one that docker/base makes is smaller."""
# Of what wheels hold, trim.py leaves out some, and bytecode of all Python code is added. Measured
# on the two locks of docker/requirements: 0.79 (onnx) and 0.76 (torch) of the unpacked size.
_INSTALLED: Final = 0.79
_NAMED: Final = 5
_BAR: Final = 50


@dataclass(frozen=True)
class Limits:
    """The sizes that decide: what a notebook instance can build, and what a model may have."""

    notebook_bytes: int = NOTEBOOK_IMAGE_SIZE.value * GB
    image_bytes: int = IMAGE_SIZE.value * GB


@dataclass(frozen=True)
class Estimate:
    """The size of an image as its context foretells it.

    Attributes:
        parts: (name, bytes), the largest first: base, Python packages, each file of the weights,
            the rest.
    """

    parts: tuple[tuple[str, int], ...]
    limits: Limits = Limits()

    @property
    def total_bytes(self) -> int:
        """The uncompressed size of the image."""
        return sum(part for _, part in self.parts)

    @property
    def advice(self) -> str:
        """Which scenario this size asks for, in a sentence."""
        total, limits = self.total_bytes, self.limits
        if total > limits.image_bytes:
            return (
                f"{size(total)} is more than the platform takes ({size(limits.image_bytes)}); "
                f"the largest parts: {self._largest()}"
            )
        if total <= limits.notebook_bytes:
            return (
                f"{size(total)} is at most {size(limits.notebook_bytes)}: a notebook instance "
                "would do (scenario dockerfile_build); a server does as well"
            )
        return (
            f"{size(total)} is more than a notebook instance can build "
            f"({size(limits.notebook_bytes)}): a server it is"
        )

    def check(self) -> None:
        """Refuse what no deployment takes.

        Raises:
            PackageError: it is too large; with its largest parts.
        """
        if self.total_bytes > self.limits.image_bytes:
            raise PackageError(
                f"the image would have {size(self.total_bytes)}, and a model may have "
                f"{size(self.limits.image_bytes)}; nothing was sent.\n"
                f"The largest parts: {self._largest()}.\n"
                "Leave out what the service does not read, or load it at run time from OBS."
            )

    def _largest(self) -> str:
        return ", ".join(f"{name} {size(part)}" for name, part in self.parts[:_NAMED])

    def __str__(self) -> str:
        width = max(len(name) for name, _ in self.parts)
        rows = [f"  {name:<{width}}  {size(part):>9}" for name, part in self.parts]
        return "\n".join([self.advice, self._bar(), *rows])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td>{size(part)}</td></tr>"
            for name, part in self.parts
        )
        bar = f"<pre>{escape(self._bar())}</pre>"
        return f"<p>{escape(self.advice)}</p>{bar}<table>{rows}</table>"

    def _bar(self) -> str:
        """Return a line as long as the larger of size and limit, with both limits marked."""
        whole = max(self.limits.image_bytes, self.total_bytes)
        filled = max(1, round(_BAR * self.total_bytes / whole))
        cells = ["#" if n < filled else "." for n in range(_BAR)]
        for limit in (self.limits.notebook_bytes, self.limits.image_bytes):
            cells[min(_BAR - 1, round(_BAR * limit / whole))] = "|"
        marks = f"{size(self.limits.notebook_bytes)}, {size(self.limits.image_bytes)}"
        return f"  [{''.join(cells)}]  | at {marks}"


def estimate_size(
    context: BuildContext, *, base_bytes: int = BASE_BYTES, limits: Limits | None = None
) -> Estimate:
    """Return how large the image of a context will become, within some percent.

    Of a Dockerfile of one's own that is its base and what it is sent; what ``RUN`` steps download
    or make, and what the image leaves behind, cannot be foreseen.
    """
    folder = context.folder
    if context.is_own:
        files = {name: (folder / name).stat().st_size for name in context.names()}
        largest = sorted(files.items(), key=lambda part: part[1], reverse=True)[:_NAMED]
        rest = sum(files.values()) - sum(size_bytes for _, size_bytes in largest)
        parts = [("base image", base_bytes), *largest, ("other files of the context", rest)]
        parts.sort(key=lambda part: part[1], reverse=True)
        return Estimate(tuple(parts), limits or Limits())
    weights = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in (folder / "weights").rglob("*")
        if path.is_file()
    }
    unpacked = sum(
        _unpacked(wheel)
        for wheel in (folder / "wheelhouse").glob("*.whl")
        if not wheel.name.startswith("pip-")  # installs the others, and stays behind
    )
    code = sum(
        (folder / name).stat().st_size for name in context.names() if name.startswith("rootfs/")
    )
    parts = [
        ("base image", base_bytes),
        ("Python packages", int(unpacked * _INSTALLED)),
        *weights.items(),
        ("code and settings", code),
    ]
    parts.sort(key=lambda part: part[1], reverse=True)
    return Estimate(tuple(parts), limits or Limits())


def _unpacked(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(member.file_size for member in archive.infolist())
