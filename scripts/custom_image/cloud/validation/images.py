"""Checks of an image's name, tag and region, and of a login to push it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from custom_image.cloud.validation.checks import refuse, region_of
from custom_image.image_reference import ImageReference
from custom_image.platform_api import ORGANIZATION, REPOSITORY, RESERVED, TAG
from custom_image.specification import ORGANIZATION_LENGTH, REPOSITORY_LENGTH, TAG_LENGTH


def save_image(name: str, namespace: str, tag: str) -> None:
    """Refuse the name under which an image is saved, pushed or registered."""
    for where, text, field, longest in (
        ("organization", namespace, ORGANIZATION, ORGANIZATION_LENGTH),
        ("image name", name, REPOSITORY, REPOSITORY_LENGTH),
        ("tag", tag, TAG, TAG_LENGTH),
    ):
        if len(text) > longest.value:
            refuse(where, f"at most {longest}", f"{len(text)} characters", "Shorten it.")
        if not field.allows(text) or text == RESERVED:
            expected = "letters and digits with single separators between them"
            refuse(where, expected, text, "Name the image as in my-org/mnist:1.0.0.")


def region(image: str, endpoint: str) -> None:
    """Refuse an image of another region than the platform's; nothing else tells a region."""
    here, there = region_of(endpoint), region_of(ImageReference.parse(image).registry)
    if here and there and here != there:
        remediation = f"Push the image to swr.{here}.myhuaweicloud.com."
        refuse("source_location", f"an image in {here}", there, remediation)


def private_image(image: str, *, is_public: bool) -> None:
    """Refuse an image that is shared with everybody, which no model can be made of."""
    if is_public:
        refuse(image, "a private image", "a public one", "Make it private in SWR, then publish.")


def image_tag(image: str, *, is_there: bool) -> None:
    """Refuse an image whose tag the registry does not hold."""
    if not is_there:
        refuse(image, "a tag that is in the registry", "none of this name", "Push it first.")


def image_digest(image: str, expected: str, found: str, remediation: str) -> None:
    """Refuse a tag that was moved: what it names is no longer what it named."""
    if expected != found:
        refuse(image, f"the image {expected[:19]}", f"{found[:19]}: its tag was moved", remediation)


def single_manifest(image: str, is_list: bool) -> None:
    """Refuse a tag that names several images, one for each architecture."""
    if is_list:
        remediation = "Build for one platform: docker build --platform linux/amd64."
        refuse(image, "one manifest", "a list of several", remediation)


def source_copy(image: str, users: Collection[str]) -> None:
    """Refuse to replace a tag that models were made of without a copy of it."""
    if users:
        remediation = "Push under another tag, or publish those models with a copy."
        expected = "a tag that no model depends on (source_copy is false)"
        refuse(image, expected, f"used by {', '.join(sorted(users))}", remediation)


def login(expires_at: datetime, now: datetime | None = None) -> None:
    """Refuse a login to the registry that has expired."""
    if expires_at <= (now or datetime.now(UTC)):
        remediation = "Ask for a new one; compare this machine's clock with the platform's."
        refuse(
            "login to the registry", "one that holds", f"expired at {expires_at:%H:%M}", remediation
        )
