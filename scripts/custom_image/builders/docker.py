"""Building with the classic builder of a Docker engine, without a network."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from custom_image.build_context.stages import final_base
from custom_image.builders import BuiltImage, Layer, shorten
from custom_image.builders.base import ensure_base_image
from custom_image.builders.base_libraries import add_libraries
from custom_image.builders.base_python import fit_python
from custom_image.builders.build_log import BuildLog, Step
from custom_image.errors import BuildFailed
from custom_image.image_reference import ImageReference
from custom_image.progress import progress_bar, say

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext
    from custom_image.engines import ImageFacts
    from custom_image.engines.docker.engine import DockerEngine

_WITH_FILES = ("RUN", "COPY", "ADD")


def build(context: BuildContext, tag: str, *, engine: DockerEngine) -> BuiltImage:
    """Build the image of a context and tag it, once its base image is there.

    Raises:
        UsageError: ``tag`` is no name of an image.
        UsageError: or the base has another Python than the wheels are for.
        BuildFailed: a step failed; with the log.
        Unavailable: there is no base image, and none can be made here.
    """
    ImageReference.parse(tag)
    base, arguments = _prepare(context, engine)
    began = time.monotonic()
    log = BuildLog()
    with context.tar() as tar, progress_bar(None, f"building {tag}", "step") as bar:
        for message in engine.build(tar, tag, arguments, network=context.network):
            log.read(message)
            bar.total = log.total
            bar.update(len(log.steps) - bar.n)
            if log.steps:
                bar.set_postfix_str(shorten(log.steps[-1].instruction), refresh=False)
    if log.error:
        raise BuildFailed(f"{tag} could not be built: {log.failure}", log.lines)
    facts = engine.inspect(tag)
    seconds = time.monotonic() - began
    layers = image_layers(log.last_stage, facts, base)
    image = BuiltImage(tag, facts, layers, seconds, context.digest)
    say(image.summary)
    return image


def _prepare(context: BuildContext, engine: DockerEngine) -> tuple[str, dict[str, str]]:
    """Return what the last stage is made from, and the build arguments."""
    if context.is_own:
        arguments = {"BASE_IMAGE": context.base_image} if context.base_image else {}
        return final_base(context.read("Dockerfile"), arguments), arguments
    base = ensure_base_image(
        context.base_image, batch=context.batch, python=context.python.minor, engine=engine
    )
    base = add_libraries(base, context, engine=engine)
    return base, {"BASE_IMAGE": base, **fit_python(context, base, engine=engine)}


def image_layers(steps: list[Step], facts: ImageFacts, base: str) -> tuple[Layer, ...]:
    """Put what the builder said of the last stage beside the sizes in the image's history."""
    base_steps = len(facts.history) - len(steps)
    base_bytes = sum(size for _, size in facts.history[:base_steps])
    made = zip(steps, facts.history[base_steps:], strict=True)
    return (
        Layer(f"FROM {base}", base_bytes, reused=True),
        *(
            Layer(step.instruction, size, step.reused)
            for step, (_, size) in made
            if step.instruction.split()[0].upper() in _WITH_FILES
        ),
    )
