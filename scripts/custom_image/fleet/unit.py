"""The unit of work: one command of this tool, run where a worker is.

What crosses to a worker and back is the text of JSON objects: nothing that is executed when read.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from custom_image import __version__
from custom_image.engines.docker.connection import engine_host
from custom_image.errors import CustomImageError, UsageError
from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference

if TYPE_CHECKING:
    from custom_image.engines.docker.engine import DockerEngine

COMMANDS: Final = ("verify", "build", "fleet", "notebooks")
_SILENCE_S: Final = 300.0
"""How long a registry may send nothing while an image is pulled."""
_ERROR_LINES: Final = 3


@dataclass(frozen=True)
class Unit:
    """One command.

    Attributes:
        arguments: of ``custom-image``; the first is one of ``COMMANDS``.
        image: that has to be in the worker's engine; pulled with the worker's own credentials.
        known: the digest of the image that was judged or made before; the same is not again.
        makes: the image that the command makes in the worker's engine; empty for none.
        alone: whether the engine has to be free of other units: times are measured.
    """

    arguments: tuple[str, ...]
    image: str = ""
    known: str = ""
    makes: str = ""
    alone: bool = True

    def to_json(self) -> str:
        """Return what is sent to a worker."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what was sent.

        Raises:
            UsageError: it is no unit, or its command is none that a worker runs.
        """
        sent = json.loads(text)
        words = tuple(map(str, sent["arguments"]))
        unit = cls(words, sent["image"], sent["known"], sent["makes"], sent["alone"])
        if not unit.arguments or unit.arguments[0] not in COMMANDS:
            raise UsageError(
                f"a worker runs {', '.join(COMMANDS)}; found {' '.join(unit.arguments[:1])!r}."
            )
        for image in filter(None, (unit.image, unit.makes)):
            ImageReference.parse(image)  # nothing that a command could take for an option
        return unit


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        exit_code: of the command; None where it was not run.
        output: the JSON that it printed; None where it printed none.
        error: the last lines of its standard error, where it printed no JSON.
        digest: of the image, by which it is known again.
        host: the machine that ran it.
        version: of this tool there.
        seconds: that the command itself took.
        note: what is worth knowing besides.
    """

    exit_code: int | None = None
    output: Any = None
    error: str = ""
    digest: str = ""
    host: str = ""
    version: str = ""
    seconds: float = 0.0
    note: str = ""

    @property
    def is_unchanged(self) -> bool:
        """Whether the image is the one that was judged before, and was not judged again."""
        return self.exit_code is None and not self.error

    def to_json(self) -> str:
        """Return what is sent back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what a worker sent back."""
        return cls(**json.loads(text))


def run(text: str) -> str:
    """Run a unit on this machine: what an executor is given. Never raises for what went wrong."""
    here = Outcome(host=socket.gethostname(), version=__version__)
    try:
        unit = Unit.from_json(text)
        with _engine_to_itself() if unit.alone else nullcontext():
            digest, note = _fetch(unit.image) if unit.image else (_find(unit.makes), "")
            here = replace(here, digest=digest, note=note)
            if digest and digest == unit.known:
                return here.to_json()
            done = _run(unit.arguments, here)
            return replace(done, digest=_find(unit.makes) or digest).to_json()
    except (CustomImageError, OSError, ValueError, LookupError) as error:
        return replace(here, error=str(error) or type(error).__name__).to_json()


def _fetch(image: str) -> tuple[str, str]:
    """See that the engine here has an image; return its digest, and what there is to say."""
    engine, note = _engine(engine_host()), ""
    wanted = ImageReference.parse(image)
    # A tag of a registry may have moved; one without a registry is most often made here.
    if wanted.registry != DEFAULT_REGISTRY or not engine.has_image(image):
        try:
            engine.pull(image, _SILENCE_S)
        except CustomImageError as error:
            if not engine.has_image(image):
                raise
            note = f"the engine's own was judged: {str(error).splitlines()[0]}"
    return engine.inspect(image).id, note


def _find(image: str) -> str:
    """Return the digest of an image that the engine here may have; empty where it has none."""
    if not image:
        return ""
    engine = _engine(engine_host())
    return engine.inspect(image).id if engine.has_image(image) else ""


@cache
def _engine(host: str) -> DockerEngine:
    """Return the engine here, connected once for all units."""
    from custom_image.engines.docker.engine import DockerEngine

    return DockerEngine.connect()


def _run(arguments: tuple[str, ...], here: Outcome) -> Outcome:
    command = [sys.executable, "-P", "-m", "custom_image.cli.child", *arguments]
    began = time.monotonic()
    # Files, because a pipe has to be read while the command runs, and closing its input ends it.
    with (
        tempfile.TemporaryFile() as printed,
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=printed, stderr=said, close_fds=True
        ) as process,
    ):
        code = process.wait()
        output, error = _text(printed), _text(said)
    seconds = round(time.monotonic() - began, 3)
    found, trouble = None, ""
    try:
        found = json.loads(output if code >= 0 else "")  # a command that was killed said nothing
    except ValueError:
        lines = [line for line in (error or output).splitlines() if line.strip()]
        trouble = "\n".join(lines[-_ERROR_LINES:]) or f"exit code {code} without a word"
    return replace(here, exit_code=code, output=found, error=trouble, seconds=seconds)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


@contextmanager
def _engine_to_itself() -> Iterator[None]:
    """Wait until no other unit of this user measures on this machine's engine."""
    name = hashlib.sha256(engine_host().encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"custom-image-{os.getuid()}-{name}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
