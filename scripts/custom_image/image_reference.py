"""Names of images, ``registry/namespace/name:tag@digest``, taken apart and put together.

Source: https://github.com/distribution/reference/blob/main/reference.go
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from custom_image.errors import UsageError

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE: Final = re.compile(
    rf"(?:(?P<registry>{_HOST})/)?(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LONGEST_NAME: Final = 255


@dataclass(frozen=True)
class ImageReference:
    """The name of an image.

    Attributes:
        registry: host and port; ``docker.io`` where the name has none.
        repository: with its namespace, for example ``library/python``.
        tag: ``latest`` where the name has neither tag nor digest; empty beside a lone digest.
        digest: ``sha256:...``; empty where the name has none.
    """

    registry: str
    repository: str
    tag: str
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read a name as Docker does.

        Raises:
            UsageError: it is no name of an image; the message says which part is wrong.
        """
        match = _REFERENCE.fullmatch(text)
        if match is None or len(text.partition("@")[0]) > _LONGEST_NAME:
            raise UsageError(
                f"{text!r} is no image reference: {_fault(text)}.\n"
                "Expected [registry[:port]/]namespace/name[:tag], for example "
                "my-org/mnist:1.0.0."
            )
        registry, repository = match["registry"] or "", match["repository"]
        # The first part is a host only where it could be no namespace: Docker's own rule.
        if registry and not re.search(r"[.:]|^localhost$|[A-Z]", registry):
            registry, repository = "", f"{registry}/{repository}"
        if not registry:
            registry = DEFAULT_REGISTRY
        if registry == DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        digest = match["digest"] or ""
        return cls(registry, repository, match["tag"] or ("" if digest else DEFAULT_TAG), digest)

    @property
    def name(self) -> str:
        """The last part of the repository, as people call the image."""
        return self.repository.rpartition("/")[2]

    @property
    def namespace(self) -> str:
        """What stands before the name: the organization in SWR; empty where there is none."""
        return self.repository.rpartition("/")[0]

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def _fault(text: str) -> str:
    """Say what most likely keeps ``text`` from being a reference."""
    path, _, tag = text.rpartition(":") if ":" in text.rpartition("/")[2] else (text, "", "")
    if not text:
        return "it is empty"
    if "://" in text:
        return f"{text.partition('://')[0]}:// does not belong to it"
    if text != text.strip() or " " in text:
        return "it holds a blank"
    if len(text.partition("@")[0]) > _LONGEST_NAME:
        return f"it has {len(text)} characters, at most {_LONGEST_NAME} are allowed"
    if path != path.lower():
        return f"only the tag may have capitals; write {path.lower()}"
    if _REFERENCE.fullmatch(path):
        return f"the tag {tag!r} must be 1 to 128 letters, digits, '_', '.' or '-'"
    return "each part must start and end with a letter or digit"
