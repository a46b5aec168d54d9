"""What a registry asks for when it answers 401: a password, or a token of the place that it names.

Source: https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Challenge:
    """Where a token is to be had.

    Attributes:
        realm: the URL; empty where the registry named none.
        service: what the token is for.
    """

    realm: str
    service: str

    def query(self, scope: str) -> dict[str, str]:
        """Return the parameters that ask for a token of a scope, ``repository:org/name:pull``."""
        return {"service": self.service, "scope": scope}


def read_challenge(header: str) -> Challenge | None:
    """Read a ``WWW-Authenticate`` header; None where it asks for user and password."""
    if not header.lower().startswith("bearer"):
        return None
    asked = dict(_PARAMETER.findall(header))
    return Challenge(asked.get("realm", ""), asked.get("service", ""))


def token_of(answer: Mapping[str, Any]) -> str:
    """Return the token in the answer to a challenge; empty where there is none."""
    return str(answer.get("token") or answer.get("access_token") or "")
