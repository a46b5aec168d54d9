"""An image into SWR: a temporary login, the organization, the push, the digest."""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.api.credentials import status_of
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.upload.source import find_source
from custom_image.errors import CloudRefused
from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference
from custom_image.platform_api import MODELS
from custom_image.progress import say
from custom_image.specification import GB

if TYPE_CHECKING:
    from custom_image.builders import BuiltImage

ORGANIZATION_PREFIX: Final = "custom-image-"
_REGION: Final = "local"


@dataclass(frozen=True)
class PublishedImage:
    """An image in the registry, where a model can be made of it.

    Attributes:
        reference: host, organization, name and tag: ``source_location`` of a model.
        digest: of the manifest, ``sha256:...``: the tag may be moved, this not.
        size_bytes: as the registry stores it, compressed.
        was_there: whether nothing had to be sent.
        labels: of the image.
        conversions: how it differs from what the engine has: what was left out, layers that were
            packed anew.
    """

    reference: str
    digest: str
    size_bytes: int
    was_there: bool
    seconds: float
    labels: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    conversions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of its name: what people call it."""
        return ImageReference.parse(self.reference).name

    def __str__(self) -> str:
        how = "was there already" if self.was_there else f"pushed in {self.seconds:.1f} s"
        lines = [self.reference, self.digest, f"{self.size_bytes / GB:.3f} GB, {how}"]
        return "\n  ".join([*lines, *self.conversions])

    def _repr_html_(self) -> str:
        first, *rest = str(self).splitlines()
        return f"<p><b>{escape(first)}</b><br>{'<br>'.join(escape(line) for line in rest)}</p>"


@dataclass(frozen=True)
class Login:
    """A temporary login to the registry, which no text form shows."""

    registry: str
    user: str = field(repr=False)
    password: str = field(repr=False)
    expires_at: datetime


def push(image: BuiltImage | str, name: str = "", *, cloud: Cloud | None = None) -> PublishedImage:
    """Push an image of the Docker engine; where the registry has it already, send nothing.

    Args:
        image: what was built, or the name of any image of the engine.
        name: ``organization/image:tag``; empty for the image's own name in an organization that is
            called after the project. The organization is created where there is none.
        cloud: where to; None for :func:`~custom_image.cloud.open_cloud`.

    Raises:
        UsageError: the name, or another image's place, is not allowed; nothing was sent.
        CloudRefused: the registry refuses; with a bundle.
        Unavailable: engine, registry or API do not answer.
    """
    cloud = cloud or open_cloud()
    source = image if isinstance(image, str) else image.reference
    target = choose_target(source, name, cloud)
    began = time.monotonic()
    with Bundle(cloud, "push", target.name) as bundle:
        found_here = None if cloud.wire.dry_run else find_source(source)
        if found_here and not isinstance(image, str):
            expected, remediation = image.facts.id, "Build it again, or push it by its name."
            validation.image_digest(source, expected, found_here.facts.id, remediation)
        bundle.add("image.json", found_here and vars(found_here.facts))
        login = log_in(cloud)
        reference = f"{login.registry}/{target.repository}:{target.tag}"
        validation.region(reference, cloud.endpoint)
        cloud.create_organization(target.namespace)
        found = registered(cloud, reference)
        if cloud.wire.dry_run:
            cloud.wire.hold(f"docker tag {source} {reference}\ndocker push {reference}")
            return PublishedImage(reference, f"sha256:{'0' * 64}", 0, False, 0.0)
        assert found_here is not None  # but for a dry run
        was_there = found is not None and found.image_id == found_here.id
        if found is not None and not was_there:
            validation.source_copy(reference, _users_without_copy(cloud, reference))
        if was_there:
            say(f"{reference} is there already; nothing is sent")
        else:
            found_here.push(reference, user=login.user, password=login.password)
            found = registered(cloud, reference)
        validation.image_tag(reference, is_there=found is not None)
        assert found is not None  # or the line above has raised
        validation.single_manifest(reference, found.is_list)
        seconds = time.monotonic() - began
        labels = tuple(sorted(found_here.facts.labels.items()))
        return PublishedImage(
            reference,
            found.digest,
            found.size_bytes,
            was_there,
            seconds,
            labels,
            found_here.conversions,
        )


@dataclass(frozen=True)
class RegisteredImage:
    """What the registry says of a tag.

    Attributes:
        image_id: the digest of the image's configuration: what an engine calls the image's id.
    """

    digest: str
    image_id: str
    size_bytes: int
    is_public: bool
    is_list: bool


def registered(cloud: Cloud, reference: str) -> RegisteredImage | None:
    """Ask the registry for a tag; None where it has none of this name.

    Raises:
        CloudRefused: the API refuses to say.
        Unavailable: it does not answer.
    """
    from huaweicloudsdkswr.v2 import ShowRepositoryRequest, ShowRepoTagRequest

    parsed = ImageReference.parse(reference)
    namespace, _, rest = parsed.repository.partition("/")
    repository = rest.replace("/", "$")  # so the API writes a name with slashes in a path
    swr, what = cloud.swr, f"show {parsed.repository}:{parsed.tag} in SWR"
    tag_request = ShowRepoTagRequest(namespace=namespace, repository=repository, tag=parsed.tag)
    repo_request = ShowRepositoryRequest(namespace=namespace, repository=repository)
    try:
        tag = cloud.ask(lambda: swr.show_repo_tag(tag_request), what=what)
        repo = cloud.ask(lambda: swr.show_repository(repo_request), what=what)
    except CloudRefused as error:
        if status_of(error) == 404:
            return None
        raise
    if tag is None:  # a dry run
        return None
    manifest: dict[str, Any] = json.loads(tag.manifest or "{}")
    image_id = str(manifest.get("config", {}).get("digest", ""))
    is_public = bool(repo and repo.is_public)
    size_bytes, is_list = int(tag.size or 0), tag.tag_type == 1
    return RegisteredImage(str(tag.digest), image_id, size_bytes, is_public, is_list)


def log_in(cloud: Cloud) -> Login:
    """Ask SWR for a temporary login.

    Raises:
        UsageError: it has expired, which only a wrong clock explains.
        CloudRefused: the API refuses.
        Unavailable: it does not answer.
    """
    from huaweicloudsdkswr.v2 import CreateSecretRequest

    # The project's name, which is the region's where nobody made projects of their own.
    request = CreateSecretRequest(projectname=cloud.region or _REGION)
    answer = cloud.ask(lambda: cloud.swr.create_secret(request), what="log in to SWR")
    if answer is None:  # a dry run
        host = f"swr.{cloud.region}.myhuaweicloud.com" if cloud.region else "REGISTRY"
        registry = cloud.platform.registry if cloud.platform else host
        return Login(registry, "", "", datetime.max)
    for registry, login in (answer.auths or {}).items():
        try:
            user, _, password = base64.b64decode(login.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            break
        expires_at = datetime.fromisoformat(answer.x_swr_expireat)
        validation.login(expires_at)
        return Login(str(registry), user, password, expires_at)
    raise CloudRefused(
        "SWR answered the request for a login, but not with one.\n"
        "Expected auths of the form {registry: {auth: base64}}."
    )


def choose_target(source: str, name: str, cloud: Cloud) -> ImageReference:
    """Return where an image goes: ``name``, or its own in an organization called after the project.

    Raises:
        UsageError: the platform would refuse the name.
    """
    own = ImageReference.parse(source)
    organization = f"{ORGANIZATION_PREFIX}{cloud.project_id[:8].lower().replace('_', '-')}"
    target = ImageReference.parse(name or f"{organization}/{own.name}:{own.tag}")
    if target.registry != DEFAULT_REGISTRY:
        target = ImageReference(DEFAULT_REGISTRY, target.repository, target.tag)
    organization, _, rest = target.repository.partition("/")
    validation.save_image(rest, organization, target.tag)
    return target


def _users_without_copy(cloud: Cloud, reference: str) -> list[str]:
    """Return the models that would change with the tag: those that did not copy their image."""
    found = cloud.call("GET", MODELS, query={"limit": 1000}, what="list the models")
    users = []
    for listed in found.get("models") or []:
        shown = cloud.call("GET", f"{MODELS}/{listed['model_id']}", what="show a model")
        if shown.get("source_location") == reference and str(shown.get("source_copy")) == "false":
            users.append(f"{shown['model_name']} {shown['model_version']}")
    return users
