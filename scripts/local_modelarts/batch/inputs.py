"""Input files of a batch: those of a folder, or those that a manifest names.

The list is made once and kept, so that a batch that goes on after a kill numbers and names its
results as before, whatever has come into the folder meanwhile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from custom_image.files import write_whole
from local_modelarts.errors import no_path, parameter
from local_modelarts.storage.obs import Obs, objects

MANIFEST_FILE: Final = "ManifestFile"
_SUFFIX: Final = ".manifest"
# A result is named after its file, and a file's name may be 255 bytes long at most.
_LONGEST_NAME: Final = 230


@dataclass(frozen=True)
class Input:
    """One file to be read.

    Attributes:
        source: its address, as the manifest writes it.
        result: the name of the file that its result goes to.
        fault: why it cannot be read, where the manifest's line says so already.
    """

    source: str
    result: str
    fault: str = ""


def check_source(obs: Obs, config: Mapping[str, Any]) -> None:
    """Refuse a batch whose input is not there.

    Raises:
        ApiError: ``src_path`` is not there, or is no manifest where ``src_type`` says it is.
    """
    address = str(config.get("src_path") or "")
    src_type = config.get("src_type") or ""
    if src_type not in ("", MANIFEST_FILE):
        raise parameter(f"src_type is {src_type!r}, expected {MANIFEST_FILE} or nothing")
    if not src_type:
        obs.folder(address)
        return
    if not address.partition("?")[0].endswith(_SUFFIX):
        raise parameter(f"src_path is {address[:200]!r}, expected a file that ends in {_SUFFIX}")
    obs.file(address)


def keep_inputs(obs: Obs, config: Mapping[str, Any], kept: Path) -> list[Input]:
    """Return the inputs of a batch, as they were when it was first asked for them.

    Raises:
        ApiError: ``src_path`` is no longer there.
    """
    if not kept.exists():
        found = list(_from_manifest(obs, config) if config.get("src_type") else _from(obs, config))
        write_whole(kept, json.dumps([asdict(each) for each in found]).encode())
    return [Input(**each) for each in json.loads(kept.read_bytes())]


def _from(obs: Obs, config: Mapping[str, Any]) -> Iterator[Input]:
    for path in objects(obs.folder(config["src_path"])):
        yield Input(obs.address(path), _result_name(path.name, set()))


def _from_manifest(obs: Obs, config: Mapping[str, Any]) -> Iterator[Input]:
    try:
        text = obs.file(config["src_path"]).read_text("utf-8", errors="replace")
    except OSError as error:
        raise no_path(config["src_path"]) from error
    taken: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            source = json.loads(line)["source"]
        except (ValueError, TypeError, KeyError):
            source = None
        if not isinstance(source, str):
            fault = f'Line {number} of the manifest is no JSON object with a "source".'
            yield Input(line[:200], "", fault)
            continue
        name = source.partition("?")[0].rpartition("/")[2]
        if not name:
            yield Input(source, "", "The source is a folder, expected a file.")
            continue
        result = _result_name(name, taken)
        taken.add(result)
        yield Input(source, result)


def _result_name(name: str, taken: set[str]) -> str:
    """Return ``1.jpg_result.txt``, with a number where files of two folders share a name."""
    name = name if len(os.fsencode(name)) <= _LONGEST_NAME else name[: _LONGEST_NAME // 4]
    result, number = f"{name}_result.txt", 1
    while result in taken:
        result, number = f"{name}_{number}_result.txt", number + 1
    return result
