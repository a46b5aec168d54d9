"""config.json: what a model package says about itself.

The platform never reads the file inside a container image: its ``apis`` and ``health`` are typed
into the console or sent with ``CreateModel``. It is still the one place where this project keeps
them, and the runtime serves the routes that it declares.

Two kinds of fault are kept apart. What the platform refuses raises :class:`PackageError`; what it
merely ignores or dislikes is kept as :attr:`ModelConfig.remarks`.
"""

from custom_image.model_config.models import Api, Body, Health, Metrics, ModelConfig
from custom_image.model_config.parser import parse_model_config, read_model_config
from custom_image.model_config.remarks import Remark

__all__ = [
    "Api",
    "Body",
    "Health",
    "Metrics",
    "ModelConfig",
    "Remark",
    "parse_model_config",
    "read_model_config",
]
