"""Validation of requests before they are sent: what the platform would refuse."""

from custom_image.cloud.validation.batch import batch_input, batch_mapping, batch_service
from custom_image.cloud.validation.fields import (
    async_service,
    deploy_timeout,
    description,
    environment,
    model_docs,
    model_name,
    model_version,
    mount_paths,
    service_name,
    termination_grace,
    websocket,
)
from custom_image.cloud.validation.images import (
    image_digest,
    image_tag,
    login,
    private_image,
    region,
    save_image,
    single_manifest,
    source_copy,
)
from custom_image.cloud.validation.services import (
    service_config,
    service_form_v2,
    service_v1,
    service_v2,
)

__all__ = [
    "async_service",
    "batch_input",
    "batch_mapping",
    "batch_service",
    "deploy_timeout",
    "description",
    "environment",
    "image_digest",
    "image_tag",
    "login",
    "model_docs",
    "model_name",
    "model_version",
    "mount_paths",
    "private_image",
    "region",
    "save_image",
    "service_config",
    "service_form_v2",
    "service_name",
    "service_v1",
    "service_v2",
    "single_manifest",
    "source_copy",
    "termination_grace",
    "websocket",
]
