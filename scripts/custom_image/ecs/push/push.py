"""Pushing from the server: the image never travels through the author's machine."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Final

from custom_image.cloud.images import PublishedImage
from custom_image.ecs.job import CANCELLED, TIMED_OUT, Job, new_id
from custom_image.ecs.push.plan import forecast
from custom_image.ecs.push.registry import Registry
from custom_image.ecs.transfer.send import STORE
from custom_image.errors import Unavailable
from custom_image.image_reference import ImageReference
from custom_image.progress import progress_bar, say
from custom_image.specification import GB, LAYER_SIZE, PUSHED_LAYERS

if TYPE_CHECKING:
    from custom_image.cloud.images import Login
    from custom_image.ecs.server.server import BuildServer

LIMIT_S: Final = 6 * 3600
TRIES: Final = 5
PAUSE_S: Final = 5
_DIGEST: Final = re.compile(r"\S+: digest: (sha256:[0-9a-f]{64}) size: \d+")
_LAYER: Final = re.compile(r"[0-9a-f]{12}: (Pushed|Layer already exists|Mounted from .*)")


def push(
    image: str,
    reference: str,
    *,
    on: BuildServer,
    login: Login | None = None,
    layer_bytes: int = LAYER_SIZE.value * GB,
    most_layers: int = PUSHED_LAYERS.value,
    limit_s: int = LIMIT_S,
    tries: int = TRIES,
    pause_s: int = PAUSE_S,
) -> PublishedImage:
    """Push an image that a server holds, by the server's own line; go on with :func:`attach_push`.

    Args:
        image: its name on the server.
        reference: registry, organization, name and tag that it gets.
        on: the server.
        login: a temporary one; None for the server's own. It travels on standard input, and is
            on the server, readable by its user alone, while the push lasts.
        layer_bytes: the registry's limit of a layer.
        most_layers: the registry's limit of a push.
        limit_s: after it the push is ended.
        tries: how often it is begun where the registry fails, each time after a longer pause.
        pause_s: the first pause.

    Raises:
        PackageError: a layer is too large, or there are too many.
        ConnectionLost: the push goes on; the message says how to come back to it.
        Unavailable: the registry refuses, or fails again and again.
    """
    target = ImageReference.parse(reference)
    connection = on.connection
    facts = on.engine.inspect(image)
    try:
        with Registry(connection, target.registry, login) as registry:
            foreseen = forecast(facts, reference, registry.known_layers(target))
        say(str(foreseen))
    except Unavailable as error:
        foreseen = forecast(facts, reference)
        say(f"what the registry lacks cannot be foreseen: {error}")
    foreseen.check(layer_bytes, most_layers)
    job_id = new_id()
    if login:
        auth = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        config = json.dumps({"auths": {target.registry: {"auth": auth}}})
        done = connection.script("login.sh", STORE, job_id, input=config.encode())
        if done.code:
            raise Unavailable(f"{connection.address} cannot keep the login: {done.error.strip()}")
    note = {"reference": reference, "labels": dict(facts.labels), "layers": len(facts.layers)}
    job = Job.start(
        connection,
        "push.sh",
        f"push-{job_id}",
        [image, reference, tries, pause_s],
        limit_s=limit_s,
        job_id=job_id,
        note=json.dumps(note),
    )
    say(f"job {job.id}: pushing {reference} from {on.address}")
    return _finish(job, login)


def attach_push(on: BuildServer, job_id: str, login: Login | None = None) -> PublishedImage:
    """Go on with a push that was started before.

    Raises:
        As :func:`push`.
    """
    return _finish(Job.attach(on.connection, job_id), login)


def _finish(job: Job, login: Login | None) -> PublishedImage:
    note = job.note()
    reference, layers = str(note["reference"]), int(note["layers"])
    began = time.monotonic()
    digest, done = "", {}
    with progress_bar(layers, f"pushing {reference}", "layer") as bar:
        for line in job.follow():
            if found := _LAYER.fullmatch(line):
                done[line[:12]] = found[1]
                bar.update(len(done) - bar.n)
            elif found := _DIGEST.fullmatch(line):
                digest = found[1]
            elif line.startswith("Failed; try"):
                say(line)
    if job.code != 0 or not digest:
        raise Unavailable(_explain(job, reference))
    target = ImageReference.parse(reference)
    try:
        with Registry(job.connection, target.registry, login) as registry:
            size_bytes = registry.size_bytes(target)
    except Unavailable:
        size_bytes = 0
    return PublishedImage(
        reference=reference,
        digest=digest,
        size_bytes=size_bytes,
        was_there="Pushed" not in done.values(),
        seconds=time.monotonic() - began,
        labels=tuple(sorted(note["labels"].items())),
    )


def _explain(job: Job, reference: str) -> str:
    if job.code == CANCELLED:
        return f"{reference}: job {job.id} was cancelled."
    said = [line for line in job.log if line.strip()]
    last = said[-1].strip() if said else "nothing"
    if job.code == TIMED_OUT:
        last = "it took longer than the time limit"
    if job.code is None:
        last = "the server was restarted, or the job killed"
    return (
        f"{reference} could not be pushed from {job.connection.address}: {last}\n"
        "Layers that are there already are not sent again: push once more when that is fixed."
    )
