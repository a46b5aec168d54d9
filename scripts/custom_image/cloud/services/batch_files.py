"""Files of a batch: checked before they are sent, and laid where the platform finds them.

The local platform has a folder that stands in for OBS, into which files of this machine are copied.
The cloud reads OBS alone: there the files have to be before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from custom_image.cloud import validation
from custom_image.cloud.validation.checks import refuse

if TYPE_CHECKING:
    from custom_image.cloud.api.client import Cloud

BUCKET: Final = "custom-image"
MANIFEST: Final = ".manifest"
_OBS: Final = "obs://"
_LONGEST_SHOWN: Final = 200


@dataclass(frozen=True)
class BatchResult:
    """What became of one file.

    Attributes:
        text: the model's answer, or why there is none.
    """

    source: str
    ok: bool
    text: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.source.rpartition("/")[2]

    @property
    def json(self) -> Any:
        """The answer as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.text)


def check_files(source: Path, mapping: str) -> str:
    """Refuse local files that the platform would; return what tells this input from others.

    Raises:
        UsageError: there are none, or one is too large or of another kind.
    """
    files = list(_files(source))
    if not files:
        refuse(str(source), "a folder of files, or a .manifest", "nothing", "Name another.")
    digest = hashlib.sha256(mapping.encode())
    for file in files:
        if file.suffix != MANIFEST:
            validation.batch_input(file.name, file.stat().st_size, mapping)
        digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:12]


def lay_out(cloud: Cloud, source: Path, name: str) -> tuple[str, str]:
    """Copy files to where the local platform finds them; return where it reads and writes.

    Raises:
        UsageError: it is the cloud, which reads OBS alone.
    """
    if cloud.platform is None or not cloud.platform.obs_folder:
        remediation = "Copy the files to OBS first, for example with obsutil, and name that folder."
        refuse("source", "an address such as obs://bucket/folder/", str(source), remediation)
    base = f"{_OBS}{BUCKET}/{name}"
    read = f"{base}/input/" if source.is_dir() else f"{base}/input/{source.name}"
    if not cloud.wire.dry_run:
        job = Path(cloud.platform.obs_folder) / BUCKET / name
        (job / "output").mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, job / "input", dirs_exist_ok=True)
        else:
            _copy_manifest(source, job / "input", f"{base}/input")
    return read, f"{base}/output/"


def _copy_manifest(source: Path, inputs: Path, address: str) -> None:
    """Copy a manifest, and those of its files that are paths of this machine."""
    inputs.mkdir(exist_ok=True)
    lines = []
    for line in source.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line) if line.strip() else {}
        local = source.parent / str(entry.get("source", ""))
        if local.is_file():  # a path of this machine: copied, and named as the platform names it
            shutil.copyfile(local, inputs / local.name)
            entry["source"] = f"{address}/{local.name}"
        lines.append(json.dumps(entry))
    text = "".join(f"{line}\n" for line in lines)
    (inputs / source.name).write_text(text, encoding="utf-8")


def read_results(cloud: Cloud, destination: str) -> tuple[BatchResult, ...]:
    """Return what became of each file, in the order of the manifests; nothing for the cloud."""
    if cloud.platform is None or not cloud.platform.obs_folder:
        return ()
    root = Path(cloud.platform.obs_folder)
    manifests = (root / destination.removeprefix(_OBS)).glob(f"infer-result-*{MANIFEST}")
    results = []
    for manifest in sorted(manifests, key=lambda path: (len(path.name), path.name)):
        for line in manifest.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            ok = entry.get("result") == "SUCCESSFUL"
            text = str(entry.get("error_message", ""))[:_LONGEST_SHOWN]
            if ok:
                answer = root / str(entry["inference-loc"]).removeprefix(_OBS)
                text = answer.read_text(encoding="utf-8")
            results.append(BatchResult(str(entry["source"]), ok, text))
    return tuple(results)


def _files(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield from sorted(path for path in source.rglob("*") if path.is_file())
    elif source.suffix == MANIFEST and source.is_file():
        yield source
