"""``import log``: the platform's loggers, under the name that its images bring."""

from model_service.log import getLogger

__all__ = ["getLogger"]
