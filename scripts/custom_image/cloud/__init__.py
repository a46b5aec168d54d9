"""ModelArts and its registry SWR, by the official SDK: from a built image to an answering service.

    published = push(image, "my-org/mnist:1.0.0")   into the registry; again sends nothing
    model = publish(published, config)              a model (AI application) of it
    service = deploy(model)                         a real-time service, instances behind a gateway
    service.predict(jpeg)                           as any client would
    upgrade(service, better_model)                  a rolling update
    delete(service)

Each verb finds what is there already, waits with progress and a deadline, and leaves one bundle
below ``build/bundles`` where it fails. :mod:`custom_image.cloud.validation` refuses what the
platform would, before anything is sent; with ``open_cloud(dry_run=True)`` nothing is.
"""

from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.images import PublishedImage, push
from custom_image.cloud.lookup import find_image, find_model, find_service
from custom_image.cloud.model import Model
from custom_image.cloud.models import publish
from custom_image.cloud.saved_image import SavedImage
from custom_image.cloud.services.batch import BatchJob, batch
from custom_image.cloud.services.deploy import delete, deploy, upgrade
from custom_image.cloud.services.service import DeployOptions, Service

__all__ = [
    "BatchJob",
    "Cloud",
    "DeployOptions",
    "Model",
    "PublishedImage",
    "SavedImage",
    "Service",
    "batch",
    "delete",
    "deploy",
    "find_image",
    "find_model",
    "find_service",
    "open_cloud",
    "publish",
    "push",
    "upgrade",
]
