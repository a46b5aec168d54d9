"""``from model_service import log`` and ``import log``, as the platform's images have them."""

from __future__ import annotations

import logging

__all__ = ["getLogger"]

getLogger = logging.getLogger  # noqa: N816 - the platform's name
