"""The build context of a Dockerfile of one's own: DIR as `docker build DIR` would send it.

It is copied below build/, so that from there on every builder treats it as the contexts that are
made here: sent to a server in parts, built by the engine or by ma-cli, known by its digest.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from custom_image.build_context import BuildContext, replace_context
from custom_image.build_context.archive import archive
from custom_image.errors import UsageError
from custom_image.scanners.secret_patterns import secrets_in_file
from custom_image.settings import find_workplace
from custom_image.specification import MIB

_LARGE_BYTES: Final = 100 * 10**6
_NAMED_SECRETS: Final = 5
_SCANNED_BYTES: Final = 10 * MIB


def write_dockerfile_context(
    source: Path,
    dockerfile: Path | None = None,
    *,
    scenario: str = "dockerfile_build",
    base_image: str = "",
    network: bool = False,
    with_secrets: bool = False,
    folder: Path | None = None,
) -> BuildContext:
    """Copy what a Dockerfile of one's own is built of, without what .dockerignore names.

    A link that stays within ``source`` becomes a copy of what it leads to. Modes are those that
    matter to a container: executable or not.

    Args:
        source: the context.
        dockerfile: ``source/Dockerfile`` by default; it may be anywhere.
        scenario: where the copy goes: ``build/<scenario>/own_context``, unless ``folder`` says.
        base_image: the value of the build argument ``BASE_IMAGE``, where the Dockerfile has it.
        network: whether ``RUN`` steps have one.
        with_secrets: send files although they hold secrets.
        folder: gets the copy, replacing the context that it held.

    Raises:
        UsageError: there is no Dockerfile, a file cannot be sent, or one holds a secret.
    """
    dockerfile = dockerfile or source / "Dockerfile"
    if not source.is_dir():
        raise UsageError(f"--context {source}: there is no such folder.")
    if not dockerfile.is_file():
        raise UsageError(
            f"{dockerfile}: there is no such Dockerfile.\n"
            "Name it: --dockerfile FILE. It need not stand in the context."
        )
    text = dockerfile.read_text(encoding="utf-8", errors="replace")
    takes_base = bool(re.search(r"(?im)^\s*ARG\s+BASE_IMAGE\b", text))
    if base_image and not takes_base:
        raise UsageError(
            f"{dockerfile} has no `ARG BASE_IMAGE`, so that --base-image would change nothing.\n"
            "Leave the option out, or write `ARG BASE_IMAGE` and `FROM ${BASE_IMAGE}`."
        )
    source, folder = source.resolve(), folder or Path("build", scenario, "own_context")
    if folder.resolve().is_relative_to(source):
        # The copy would hold itself.
        raise UsageError(
            f"--context {source} holds {find_workplace()}, where contexts are written."
        )
    ignored = _ignore_file(source, dockerfile)
    names = _names(source, ignored)
    if not with_secrets:
        _refuse_secrets(source, names, dockerfile)

    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name, path in names.items():
        _copy(path, new / name)
    (new / "Dockerfile").unlink(missing_ok=True)  # it may be a link to the large file of another
    shutil.copyfile(dockerfile, new / "Dockerfile")
    # The builder reads it once more: it keeps these two files out of the image where it names them.
    (new / ".dockerignore").unlink(missing_ok=True)
    (new / ".dockerignore").write_text(ignored, encoding="utf-8")
    replace_context(folder, new, ".dockerignore")
    digest = hashlib.sha256()
    for chunk in archive(folder, own_modes=True):
        digest.update(chunk)
    return BuildContext(
        *(folder, scenario, digest.hexdigest(), base_image), is_own=True, network=network
    )


def _ignore_file(source: Path, dockerfile: Path) -> str:
    """Return the patterns that hold: those beside the Dockerfile win.

    Source: https://docs.docker.com/build/concepts/context/#filename-and-location
    """
    for path in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), source / ".dockerignore"):
        if path.is_file():
            return path.read_text(encoding="utf-8-sig")
    return ""


def _names(source: Path, ignored: str) -> dict[str, Path]:
    """Return the files, and the empty folders, that are sent: where each is read from."""
    from docker.utils.build import PatternMatcher  # heavy: the Docker SDK

    patterns = [line.strip() for line in ignored.splitlines()]
    patterns = [line for line in patterns if line and not line.startswith("#")]
    found: dict[str, Path] = {}
    for name in sorted(PatternMatcher(patterns).walk(str(source))):
        path = source / name
        if path.is_symlink():
            found |= {
                f"{name}{rest}": target for rest, target in _behind(path, _target(path, source))
            }
        elif path.is_dir() or path.is_file():
            found[name] = path
        else:
            raise UsageError(
                f"{str(path)!a} is a device, a pipe or a socket, which no image can get.\n"
                "Name it in .dockerignore, or take it away."
            )
    return found


def _target(link: Path, source: Path) -> Path:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        raise UsageError(
            f"{str(link)!a} is a link that leads nowhere.\nName it in .dockerignore, or remove it."
        ) from None
    if not target.is_relative_to(source) or link.is_relative_to(target):
        where = "out of the context" if not target.is_relative_to(source) else "to a folder above"
        raise UsageError(
            f"{str(link)!a} is a link {where}, to {str(target)!a}.\n"
            "Put a copy in its place, or name it in .dockerignore."
        )
    return target


def _behind(link: Path, target: Path) -> Iterator[tuple[str, Path]]:
    yield "", target
    if target.is_dir():
        for path in sorted(target.rglob("*")):
            if path.is_symlink():
                raise UsageError(f"{str(link)!a} leads to a folder with links: {str(path)!a}.")
            yield f"/{path.relative_to(target).as_posix()}", path


def _refuse_secrets(source: Path, names: dict[str, Path], dockerfile: Path) -> None:
    files = {name: path for name, path in names.items() if path.is_file()}
    found = []
    for name, path in {**files, str(dockerfile): dockerfile}.items():
        with path.open("rb") as file:
            content = file.read(_SCANNED_BYTES)
        found += [
            f"{name}, line {line}: {what}"
            for what, line in secrets_in_file(f"/{name}".encode(errors="replace"), content)
        ]
    if found:
        more = f"; and {len(found) - _NAMED_SECRETS} more" if len(found) > _NAMED_SECRETS else ""
        raise UsageError(
            f"{source} holds what looks like secrets: {'; '.join(found[:_NAMED_SECRETS])}{more}.\n"
            "Nothing was sent. Take them out, or name the files in .dockerignore; where they are "
            "none, --with-secrets sends them."
        )


def _copy(path: Path, target: Path) -> None:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if status.st_size >= _LARGE_BYTES:
        try:
            os.link(path, target)  # gigabytes of weights would be on this disk twice
        except OSError:
            pass
        else:
            return
    shutil.copyfile(path, target)
    target.chmod(0o755 if status.st_mode & 0o100 else 0o644)
