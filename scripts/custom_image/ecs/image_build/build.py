"""Building on a server: BuildContext -> BuiltImage, as the other builders do, only elsewhere."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from custom_image.build_context.display import size
from custom_image.build_context.stages import external_images, final_base
from custom_image.builders import BuiltImage, Layer
from custom_image.builders.base_python import fit_python
from custom_image.builders.build_log import Step
from custom_image.ecs.image_build.base_image import provide_base_image, provide_image
from custom_image.ecs.image_build.logs import Log, read_log
from custom_image.ecs.image_build.size_estimate import Limits, estimate_size
from custom_image.ecs.job import CANCELLED, TIMED_OUT, Job, ObjectMissing
from custom_image.ecs.server.server import BuildServer
from custom_image.ecs.transfer.manifest import Manifest, context_key
from custom_image.ecs.transfer.send import Sent, send
from custom_image.errors import BuildFailed, UsageError
from custom_image.image_reference import ImageReference
from custom_image.images import Location
from custom_image.progress import say
from custom_image.specification import GB

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.engines import ImageFacts

LIMIT_S: Final = 6 * 3600
BUILDERS: Final = ("auto", "buildkit", "classic")
_WITH_FILES: Final = ("RUN", "COPY", "ADD")


@dataclass(frozen=True)
class ServerImage(BuiltImage):
    """An image that was built on a server, and is there.

    Attributes:
        server: as ssh takes it.
        job: the id of its build.
        sent: what it took to bring the context there; None where the build was attached to.
    """

    location: ClassVar[Location] = Location.SERVER
    server: str = ""
    job: str = ""
    sent: Sent | None = None

    @property
    def summary(self) -> str:
        """One line: name, size, place, and how long it took."""
        sent = (
            f", {size(self.sent.bytes)} of {size(self.sent.context_bytes)} sent"
            if self.sent
            else ""
        )
        return f"{super().summary}, on {self.server}{sent}"


def build(
    context: BuildContext,
    tag: str,
    *,
    on: BuildServer,
    builder: str = "auto",
    limit_s: int = LIMIT_S,
    limits: Limits | None = None,
) -> ServerImage:
    """Build the image of a context on a server, which needs no way out to any network.

    The build goes on when the connection breaks off, and when this Python ends: :func:`attach`.

    Args:
        context: written here; only what the server lacks of it is sent.
        tag: the name of the image there.
        on: the server.
        builder: ``buildkit``, ``classic``, or ``auto``: BuildKit where the server has it, because
            it writes less to the disk and looks at changed files only.
        limit_s: after it the build is ended.
        limits: of the image's size; the platform's own by default.

    Raises:
        UsageError: an argument cannot be used, or a file changed meanwhile.
        PackageError: the image would become too large.
        BuildFailed: a step failed, the disk there is full, or time is over; with the log.
        ConnectionLost: in the middle; the message says how to go on.
        Unavailable: the server cannot build it.
    """
    ImageReference.parse(tag)
    if builder not in BUILDERS:
        raise UsageError(f"builder is {builder!r}; expected one of: {', '.join(BUILDERS)}.")
    estimate = estimate_size(context, limits=limits)
    if not context.is_own:  # of that nobody knows what the image takes
        estimate.check()
    say(f"estimated size: {estimate.advice}")
    server = on.refresh()
    say(str(server))
    buildkit = server.has_buildkit_for(builder)
    wheels = [wheel.name for wheel in (context.folder / "wheelhouse").glob("*.whl")]
    server.check_wheels(wheels, context.folder)
    began = time.monotonic()
    base, values = _prepare(on, context)
    key = context_key(tag)
    cache = context.folder.parent / "hashes.json"
    manifest = Manifest.read(context.folder, cache, is_own=context.is_own)
    tree = manifest.tree(f"contexts/{key}/new")
    note = {"tag": tag, "base": base, "digest": context.digest, "buildkit": buildkit}
    options = [w for name, value in values.items() for w in ("--build-arg", f"{name}={value}")]

    def start() -> tuple[Sent, Job]:
        sent = send(on.connection, manifest, key, server.store_free_bytes)
        if server.docker_free_bytes < estimate.total_bytes + manifest.size_bytes:
            free = size(server.docker_free_bytes)
            say(f"the disk of {server.address} may be too small: {free} are free")
        job = Job.start(
            on.connection,
            "build.sh",
            key,
            [tag, int(buildkit), "default" if context.network else "none", *options],
            limit_s=limit_s,
            tree=tree,
            note=json.dumps(note),
        )
        return sent, job

    try:
        sent, job = start()
    except ObjectMissing:  # another build tidied up between the two steps
        sent, job = start()
    say(f"job {job.id}: sent {size(sent.bytes)} of {size(manifest.size_bytes)}")
    return _finish(job, on, sent, began)


def attach(on: BuildServer, job_id: str) -> ServerImage:
    """Go on with a build that was started before, from the first line of its log.

    Raises:
        As :func:`build`.
    """
    return _finish(Job.attach(on.connection, job_id), on, None, time.monotonic())


def _finish(job: Job, on: BuildServer, sent: Sent | None, began: float) -> ServerImage:
    """Follow a build to its end, and return what came of it."""
    note = job.note()
    tag, base = str(note["tag"]), str(note["base"])
    log = read_log(job, tag, buildkit=bool(note["buildkit"]))
    if job.code != 0:
        raise BuildFailed(_explain(job, on, log, tag), [line for line in job.log if line])
    facts = on.engine.inspect(tag)
    layers = _layers(log.last_stage, facts, base)
    seconds = time.monotonic() - began
    image = ServerImage(
        *(tag, facts, layers, seconds, str(note["digest"])), on.address, job.id, sent
    )
    say(image.summary)
    return image


def _prepare(on: BuildServer, context: BuildContext) -> tuple[str, dict[str, str]]:
    """Return what the last stage is made from, and the build arguments, once the server has it."""
    if context.is_own:
        arguments = {"BASE_IMAGE": context.base_image} if context.base_image else {}
        dockerfile = context.read("Dockerfile")
        for image in external_images(dockerfile, arguments):
            provide_image(image, on=on)
        return final_base(dockerfile, arguments), arguments
    base = provide_base_image(
        context.base_image, batch=context.batch, python=context.python.minor, on=on
    )
    return base, {"BASE_IMAGE": base, **fit_python(context, base, engine=on.engine)}


def _layers(steps: list[Step], facts: ImageFacts, base: str) -> tuple[Layer, ...]:
    """Put what the builder said of the last stage beside the sizes in the image's history.

    The classic builder tells of every instruction, BuildKit of those that make files.
    """
    steps = [step for step in steps if step.instruction.split()[0].upper() in _WITH_FILES]
    made = [
        (instruction.removesuffix(" # buildkit"), size_bytes)
        for instruction, size_bytes in facts.history
        if instruction.partition(" ")[0].upper() in _WITH_FILES or re.match(r"\|\d+ ", instruction)
    ]
    made = made[len(made) - len(steps) :]
    base_bytes = sum(size_bytes for _, size_bytes in facts.history)
    base_bytes -= sum(size_bytes for _, size_bytes in made)
    return (
        Layer(f"FROM {base}", base_bytes, reused=True),
        *(
            Layer(step.instruction, size_bytes, step.reused)
            for step, (_, size_bytes) in zip(steps, made, strict=True)
        ),
    )


def _explain(job: Job, on: BuildServer, log: Log, tag: str) -> str:
    """Say how a build ended that made no image."""
    where = f"{tag} could not be built on {on.address}"
    if job.code == CANCELLED:
        return f"{tag}: job {job.id} was cancelled."
    if job.code == TIMED_OUT:
        return f"{where}: it took longer than the time limit, and was ended."
    if job.code is None:
        return (
            f"{where}: job {job.id} vanished; the server was restarted, or the job killed.\n"
            "Build again: what was sent is there, and steps that the engine knows are reused."
        )
    if any("no space left on device" in line.lower() for line in job.log):
        free = on.refresh()
        return (
            f"{where}: its disk became full ({free.docker_free_bytes / GB:.1f} GB are free at "
            f"{free.docker_root} now that the build is tidied up).\n"
            "Make room (docker image prune, docker builder prune) or give it a larger disk."
        )
    return f"{where}: {log.failure}"
