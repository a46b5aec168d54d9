"""MNIST from public mirrors: asked together, read in turn, resumed, and trusted by hash only."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests
import urllib3

from custom_image.errors import DatasetError
from custom_image.mnist.files import IdxFile
from custom_image.progress import progress_bar

MIRRORS: Final = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://raw.githubusercontent.com/fgnt/mnist/master/",
)
_LARGEST_BYTES: Final = 60_000_000
_CHUNK_BYTES: Final = 65_536
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a mirror, and how often to come back to it.

    Attributes:
        connect_s: until it answers at all; a closed network then costs no more than this.
        stall_s: between two pieces of a file.
        back_off_s: before the second attempt; doubled before each further one.
        attempts: at one file from one mirror.
    """

    connect_s: float = 4.0
    stall_s: float = 15.0
    back_off_s: float = 0.5
    attempts: int = 4


PATIENCE: Final = Patience()


class _TryAgainError(Exception):
    """The mirror failed in a way that may pass."""


class _GiveUpError(Exception):
    """The mirror will not give this file."""


def download(
    files: Sequence[IdxFile],
    folder: Path,
    mirrors: Sequence[str] = MIRRORS,
    patience: Patience = PATIENCE,
) -> str:
    """Fetch ``{mirror}/{name}.gz`` of each file into ``folder``; return the mirrors that gave them.

    A file appears under its own name only once it is whole and its hash is right. What an
    interrupted download left behind is continued by the next one.

    Raises:
        DatasetError: no mirror answers, or none has the right content.
    """
    answering = responsive(mirrors, patience)
    if not answering:
        raise DatasetError("no mirror of MNIST answers.")
    folder.mkdir(parents=True, exist_ok=True)
    used = {_fetch(file, folder, answering, patience): None for file in files}
    return ", ".join(used)


def responsive(mirrors: Sequence[str], patience: Patience) -> list[str]:
    """Return the mirrors that answer within ``patience.connect_s``, whatever they answer.

    All are asked at once, by threads that nobody waits for longer: resolving a name has no
    time-out of its own, and takes long exactly where there is no network.
    """
    answered: set[str] = set()
    waiting = threading.Semaphore(0)

    def ask(mirror: str) -> None:
        try:
            requests.head(mirror, timeout=patience.connect_s).close()
            answered.add(mirror)
        except requests.RequestException as error:
            _log.debug("%s does not answer: %s", mirror, error)
        waiting.release()

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    deadline = time.monotonic() + patience.connect_s
    for _ in mirrors:
        if not waiting.acquire(timeout=max(0.0, deadline - time.monotonic())):
            break
    return [mirror for mirror in mirrors if mirror in answered]


def _fetch(file: IdxFile, folder: Path, mirrors: Sequence[str], patience: Patience) -> str:
    target = folder / f"{file.name}.gz"
    part = folder / f"{file.name}.gz.part"
    reasons = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.back_off_s * 2 ** (attempt - 1))
            try:
                resumed = _continue(url, part, patience)
                _check(part, file, resumed=resumed)
            except _TryAgainError as error:
                reason = str(error)
            except _GiveUpError as error:
                reason = str(error)
                break
            else:
                part.replace(target)
                return mirror
        reasons.append(f"{mirror} {reason}")
        _log.info("%s: %s", url, reason)
    raise DatasetError(f"{target.name} could not be had: {'; '.join(reasons)}.")


def _continue(url: str, part: Path, patience: Patience) -> bool:
    """Append what is missing to ``part``, or start anew; tell whether it had a beginning."""
    done = part.stat().st_size if part.exists() else 0
    # The files are compressed: a mirror that unpacks them on the way would spoil the resuming.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    timeout = (patience.connect_s, patience.stall_s)
    try:
        with requests.get(url, headers=headers, timeout=timeout, stream=True) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return True  # nothing is missing; the hash tells whether that is so
            if response.status_code >= 500 or response.status_code == 429:
                raise _TryAgainError(f"answered {response.status_code}")
            if not response.ok:
                raise _GiveUpError(f"answered {response.status_code}")
            resumed = bool(response.status_code == requests.codes.partial_content)
            done = done if resumed else 0
            length = response.headers.get("Content-Length", "")
            total = done + int(length) if length.isdigit() else None
            with (
                part.open("ab" if resumed else "wb") as file,
                progress_bar(total, part.stem, "B", initial=done) as bar,
            ):
                for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                    file.write(chunk)
                    done += len(chunk)
                    bar.update(len(chunk))
                    if done > _LARGEST_BYTES:
                        break
    except requests.ConnectionError as error:
        if error.args and isinstance(error.args[0], urllib3.exceptions.ProtocolError):
            raise _TryAgainError("hung up") from error
        raise _GiveUpError("refused the connection") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TryAgainError(f"broke off ({type(error).__name__})") from error
    if total is not None and done < total:
        raise _TryAgainError(f"broke off after {done:,} of {total:,} bytes")
    return resumed


def _check(part: Path, file: IdxFile, *, resumed: bool) -> None:
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    if digest == file.gz_sha256:
        return
    part.unlink()
    message = f"gave another file (SHA-256 {digest[:12]}...)"
    # The beginning may have come from elsewhere: this mirror is to blame only for a whole file.
    raise _TryAgainError(message) if resumed else _GiveUpError(message)
