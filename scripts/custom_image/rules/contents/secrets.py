"""Secrets that travel with an image: in files of any layer, in variables, in its history."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from custom_image.image_archive import Contents, Entry
from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    passed,
    rule,
)
from custom_image.scanners.secret_patterns import (
    assignments,
    is_secret,
    is_secret_name,
    secret_in_text,
    secrets_in_file,
)
from custom_image.specification import MIB, Source

BUILD_SECRETS: Final = Source(
    "Docker: build secrets", "https://docs.docker.com/build/building/secrets/"
)
MOST_SEARCHED_BYTES: Final = 8 * MIB
MOST_FOUND: Final = 200
SNIFFED_BYTES: Final = 4096
# Never text: not even their first bytes are worth looking at.
BINARY: Final = re.compile(
    rb"\.(?:so|pyc|whl|jar|gz|xz|bz2|zst|zip|png|jpe?g|gif|webp|ico|woff2?|ttf|mo|a|o|bin"
    rb"|onnx|safetensors|npy|npz|pt|pth|pkl|h5|pb|db|sqlite3?)(?:\.[0-9.]+)?$"
)


@dataclass(frozen=True)
class FoundSecret:
    """A secret in a file; what it says is kept nowhere."""

    path: bytes
    layer: int
    line: int
    what: str


class SecretReader:
    """Looks for secrets in text files, up to 8 MiB of each."""

    def __init__(self) -> None:
        self.found: list[FoundSecret] = []
        self.searched = 0

    def open(self, entry: Entry, layer: int) -> _Text | None:
        """Take text, and files whose name says that they hold a secret."""
        if not entry.size or (BINARY.search(entry.path) and not is_secret_name(entry.path)):
            return None
        return _Text(self, entry, layer)


class _Text:
    def __init__(self, reader: SecretReader, entry: Entry, layer: int) -> None:
        self._reader = reader
        self._entry = entry
        self._layer = layer
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bool:
        """Take a part of a file; a NUL at its beginning says that it is no text."""
        if not self._parts and b"\0" in chunk[:SNIFFED_BYTES]:
            return False
        self._parts.append(chunk[: MOST_SEARCHED_BYTES - self._size])
        self._size += len(self._parts[-1])
        return self._size < MOST_SEARCHED_BYTES

    def close(self) -> None:
        """Search what was taken."""
        content, path = b"".join(self._parts), self._entry.path
        self._reader.searched += bool(content)
        for what, line in secrets_in_file(path, content):
            if len(self._reader.found) < MOST_FOUND:
                self._reader.found.append(FoundSecret(path, self._layer, line, what))


@rule(
    id="secrets.files",
    title="No file of any layer holds a secret",
    why="Who may pull the image may read every layer of it, also what a later layer deletes.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.CONTENTS,
    expected="no key, token, password or shell history",
    source=BUILD_SECRETS,
    remediation="Leave the file out of the build context (.dockerignore), or mount it for one "
    "step with "
    "RUN --mount=type=secret; deleting it in a later step keeps it. Then renew the secret.",
    good="RUN --mount=type=secret,id=pip pip install -r requirements.txt",
    bad="COPY pip.conf /etc/pip.conf, with a password in its index URL",
)
def files(context: Context) -> Finding:
    """Judge what the search of all text files found; evidence names places, never the secret.

    Private keys below site-packages and the like are passed over: published packages bring them.
    """
    contents = context.contents
    reader = contents.reader(SecretReader)
    if not reader.found:
        return passed(f"none in {reader.searched:,} text files")
    lines = [f"{_place(contents, found)}: {found.what}" for found in reader.found]
    count = len(lines)
    return failed(f"{count} {'secrets' if count > 1 else 'secret'}: {lines[0]}", "\n".join(lines))


def _place(contents: Contents, found: FoundSecret) -> str:
    shown = f"{contents.position(found.layer)}, /{found.path.decode(errors='replace')}"
    if not contents.overlay.holds(found.path, found.layer):
        shown += " (deleted or replaced by a later layer, and still in the image)"
    return f"{shown}, line {found.line}"


@rule(
    id="secrets.environment",
    title="No variable of the image holds a secret",
    why="ENV is shown to everybody who may pull the image, and to every process in it.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE,
    expected="no key, token or password in ENV",
    source=BUILD_SECRETS,
    remediation="Remove it from the Dockerfile and renew the secret; give it to the service "
    "when it is "
    "deployed, as an environment variable of the model.",
    good="the variable is set when the service is deployed",
    bad="ENV API_TOKEN=7d1f0c...",
)
def environment(context: Context) -> Finding:
    """Judge variables by name and by value; only names are shown."""
    variables = context.image.environment
    found = [name for name, value in variables.items() if is_secret(name, value)]
    if found:
        return failed(", ".join(found), "\n".join(f"ENV {name}=(not shown)" for name in found))
    return passed(f"none in {len(variables)} variables")


@rule(
    id="secrets.history",
    title="No step of the build recorded a secret",
    why="The history of an image holds every command and the values of its build arguments.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE,
    expected="no key, token or password in `docker history`",
    source=BUILD_SECRETS,
    remediation="Use RUN --mount=type=secret instead of ARG, or build from wheels fetched "
    "beforehand. "
    "Then renew the secret.",
    good="RUN --mount=type=secret,id=token ...",
    bad="ARG GIT_TOKEN, and docker build --build-arg GIT_TOKEN=...",
)
def history(context: Context) -> Finding:
    """Judge every recorded step; what ENV still sets is another rule's."""
    image, found = context.image, []
    for number, step in enumerate(image.recorded, 1):
        names = []
        for name, value in assignments(step):
            if is_secret(name, value) and name not in image.environment:
                names.append(name)
                step = step.replace(value, "")
        for name in image.environment:
            step = step.replace(image.environment[name] or "\0", "")
        if what := ", ".join(dict.fromkeys(names)) or secret_in_text(step):
            found.append(f"step {number}: {what}")
    if found:
        return failed(found[0], "\n".join(found))
    return passed(f"none in {len(image.recorded)} steps")
