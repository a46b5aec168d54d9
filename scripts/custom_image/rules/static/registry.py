"""Rules of the registry, SWR: names, tags and layers of what is pushed."""

from __future__ import annotations

from custom_image.errors import UsageError
from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference
from custom_image.platform_api import ORGANIZATION, REPOSITORY, RESERVED, TAG, Field
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import (
    GB,
    IMAGE_PATH_LENGTHS,
    ORGANIZATION_LENGTH,
    ORGANIZATIONS,
    REGISTER_IMAGE,
    REPOSITORY_LENGTH,
    SAVE_IMAGE,
    TAG_LENGTH,
    Source,
)

INDEX_REFUSED = Source(
    "SWR refuses the manifest of a multi-platform image",
    "https://github.com/AliyunContainerService/image-syncer/issues/161",
)
PUSHED = frozenset({Profile.REGISTRY})
GOOD_NAME = "swr.eu-west-101.myhuaweicloud.com/my-org/mnist:1.0.0"


@rule(
    id="registry.path",
    title="The image has the path under which the platform can register it",
    why="The platform finds an image by host, organization, name and tag; a shorter name is local.",
    severity=Severity.ERROR,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    expected="host/organization/name:tag, "
    + " to ".join(str(length) for length in IMAGE_PATH_LENGTHS)
    + " characters",
    source=REGISTER_IMAGE,
    remediation=f"docker tag IMAGE {GOOD_NAME}",
    good=f"{GOOD_NAME}",
    bad="mnist:1.0.0",
)
def path(context: Context) -> Finding:
    """Take the name apart; whether the registry is the platform's only a push can show."""
    text = context.image.reference
    shortest, longest = IMAGE_PATH_LENGTHS
    reference = _reference(context)
    if reference is None:
        return not_checked("the target has no name of an image")
    if reference.registry == DEFAULT_REGISTRY or not reference.namespace:
        return failed(f"{text} names no registry and organization")
    if not reference.tag:
        return failed(f"{text} has no tag")
    if not shortest <= len(text) <= longest:
        return failed(f"{text[:80]} has {len(text)} characters")
    return passed(text)


@rule(
    id="registry.organization",
    title="The organization has a name that the registry accepts",
    why="It cannot be created otherwise, and the push is refused.",
    severity=Severity.ERROR,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    requires=("registry.path",),
    expected=f"{ORGANIZATION_LENGTH}: lower case, starts with a letter, single separators",
    source=ORGANIZATIONS,
    remediation="Choose a name such as my-org: lower-case letters and digits, between them . _ "
    "__ or -.",
    good="my-org",
    bad="1st-org, or library, which is reserved",
)
def organization(context: Context) -> Finding:
    """Match the first part behind the host."""
    reference = _reference(context)
    if reference is None:
        return not_checked("the target has no name of an image")
    name = reference.repository.partition("/")[0]
    return _judge(name, ORGANIZATION, reserved=RESERVED)


@rule(
    id="registry.repository",
    title="The image has a name that the registry accepts",
    why="The push is refused after the login, or the console cannot list the image.",
    severity=Severity.ERROR,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    requires=("registry.path",),
    expected=f"{REPOSITORY_LENGTH}: lower case, single separators",
    source=ORGANIZATIONS,
    remediation="Choose a name of lower-case letters and digits, between them . _ __ - or /.",
    good="mnist-cpu",
    bad="mnist--cpu",
)
def repository(context: Context) -> Finding:
    """Match what stands behind the organization."""
    reference = _reference(context)
    if reference is None:
        return not_checked("the target has no name of an image")
    _, _, name = reference.repository.partition("/")
    return _judge(name, REPOSITORY)


@rule(
    id="registry.tag",
    title="The tag is one that the platform accepts, and names one version",
    why="`latest` is moved by each push: nobody can tell what a deployed model was made of.",
    severity=Severity.WARNING,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    requires=("registry.path",),
    expected=f"a version, {TAG_LENGTH}",
    source=SAVE_IMAGE,
    remediation="Tag it with a version: 1.0.0, a date, or a commit.",
    good="1.0.0",
    bad="latest",
)
def tag(context: Context) -> Finding:
    """Match the tag, and refuse the one that is no version."""
    reference = _reference(context)
    if reference is None:
        return not_checked("the target has no name of an image")
    return _judge(reference.tag, TAG, reserved="latest")


@rule(
    id="registry.layer-size",
    title="Each layer is small enough to be pushed",
    why="The registry refuses a larger one after all of it was sent.",
    severity=Severity.ERROR,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    limit_field="layer_size",
    remediation="Divide the step into several, for example one COPY a file of weights.",
    good="COPY weights/part-1 weights/ and COPY weights/part-2 weights/",
    bad="COPY weights/ weights/ of 14 GB",
)
def layer_size(context: Context) -> Finding:
    """Compare the largest step, uncompressed: what is sent is smaller, by how much is not known."""
    step, largest_bytes = max(context.image.history, key=lambda s: s[1], default=("no layer", 0))
    is_small = largest_bytes <= context.edition.layer_size.value * GB
    return (passed if is_small else failed)(f"{largest_bytes / GB:.3f} GB", step[:200])


@rule(
    id="registry.layers",
    title="The image has few enough layers for one push",
    why="The registry takes this many at a time; a client that sends more at once is refused.",
    severity=Severity.WARNING,
    profiles=PUSHED,
    needs=Needs.IMAGE,
    limit_field="pushed_layers",
    remediation="Join steps of the Dockerfile, or keep max-concurrent-uploads of the engine at "
    "its 5.",
    good='"max-concurrent-uploads": 5, the engine\'s default',
    bad="an image of 60 layers and 60 uploads at once",
)
def layers(context: Context) -> Finding:
    """Count the layers."""
    found = len(context.image.layers)
    return (passed if found <= context.edition.pushed_layers.value else failed)(f"{found} layers")


@rule(
    id="registry.manifest",
    title="A push sends one image, in layers that the registry takes",
    why="SWR parses no index: it takes the layers, then refuses the manifest, at the last step.",
    severity=Severity.ERROR,
    profiles=PUSHED,
    needs=Needs.IMAGE | Needs.CONTENTS,
    expected="one manifest, a configuration of an image, layers plain or gzip",
    source=INDEX_REFUSED,
    remediation="docker buildx build --provenance=false --sbom=false --output "
    "type=docker,compression=gzip, or push it with custom-image push.",
    good="docker buildx build --provenance=false",
    bad="docker buildx build: an index with the image and its attestation",
)
def manifest(context: Context) -> Finding:
    """Read the index of the archive, where it has one."""
    image = context.contents.image
    if image is None:
        return not_checked("nothing here tells what a push would send")
    if image.shape:
        return failed(image.shape[0], "\n".join(image.shape))
    return passed("one image, layers plain or gzip")


def _reference(context: Context) -> ImageReference | None:
    try:
        return ImageReference.parse(context.image.reference)
    except UsageError:
        return None


def _judge(name: str, field: Field, reserved: str = "") -> Finding:
    if name == reserved:
        return failed(name)
    if len(name) > field.longest:
        return failed(f"{len(name)} characters", name)
    return (passed if field.allows(name) else failed)(name or "none")
