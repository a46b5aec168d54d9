"""Keeping what the user handed to the service out of what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from custom_image.engines.options import HIDDEN
from custom_image.scanners.secret_patterns import is_secret

SHORTEST_SECRET: Final = 4
SHORTEST_VALUE: Final = 8
"""A shorter value is hidden where its name says that it is a secret; ``1`` or ``8080`` is none."""


class Mask:
    """Replaces the values of environment variables, wherever a service repeats them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        values = {
            value
            for name, value in environment.items()
            if len(value) >= SHORTEST_VALUE
            or (len(value) >= SHORTEST_SECRET and is_secret(name, value))
        }
        self._values = sorted(values, key=len, reverse=True)  # one may be a part of another

    def text(self, text: str) -> str:
        """Return a text without them."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return text

    def data(self, data: Any) -> Any:
        """Return data as a report keeps it without them."""
        if not self._values:
            return data
        if isinstance(data, str):
            return self.text(data)
        if isinstance(data, dict):
            return {self.text(str(name)): self.data(value) for name, value in data.items()}
        return [self.data(value) for value in data] if isinstance(data, list | tuple) else data
