"""Saving the instance that this runs in, by the platform's API."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import ClassVar

from custom_image.cloud import Cloud, SavedImage
from custom_image.errors import UsageError
from custom_image.image_reference import ImageReference
from custom_image.image_saving.instance import NotebookInstance
from custom_image.images import Image, Location
from custom_image.report import Verdict

BY_HAND = "By hand: ModelArts console, Notebook, the instance's More, Save Image."


@dataclass(frozen=True)
class UnsavedImage(Image):
    """What stands in for a saved image where nothing could be saved.

    Attributes:
        reason: why, as a sentence.
    """

    location: ClassVar[Location] = Location.NONE
    reason: str
    reference: str = ""

    def __str__(self) -> str:
        return f"{Verdict.NOT_CHECKED}: nothing was saved. {self.reason}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


def save_instance(
    instance: NotebookInstance, name: str, *, organization: str = "", description: str = ""
) -> SavedImage | UnsavedImage:
    """Save an instance as ``organization/name``; where there is none, say so.

    Args:
        instance: the one to save.
        name: image and tag, ``mnist:1.0.0``.
        organization: of SWR; empty for the first that the keys may use.
        description: shown in image management.

    Raises:
        UsageError: a name is not allowed, or there is no organization.
        CloudRefused: the platform refuses; in its words.
        Unavailable: the API does not answer.
    """
    ImageReference.parse(name)
    if not instance.is_real:
        return UnsavedImage(
            "This is no notebook instance; see notebooks/README.md for how to get one."
        )
    if not instance.id:
        return UnsavedImage(f"The id of this instance is not known: set notebook_id. {BY_HAND}")
    try:
        cloud = Cloud.connect()
    except UsageError as error:
        return UnsavedImage(f"{error} {BY_HAND}")
    if not organization:
        organizations = cloud.organizations()
        if not organizations:
            raise UsageError(
                "These keys may use no organization of SWR, which an image is saved in.\n"
                "Create one in the console of SWR, and name it: organization."
            )
        organization = organizations[0]
    return cloud.save_notebook(instance.id, f"{organization}/{name}", description=description)
