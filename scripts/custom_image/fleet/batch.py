"""A batch of files for one image, in shards: each worker runs the image and asks its share.

Files and results lie in folders that every worker sees at the same path. The manifest has the
platform's form, and does not depend on the number of shards or on who asked what.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests

from custom_image.engines import Instance, StartOptions
from custom_image.engines.client import predict
from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import CustomImageError, Unavailable, UsageError
from custom_image.files import write_whole
from custom_image.fleet.outcomes import arrivals
from custom_image.fleet.unit import Outcome, Unit
from custom_image.model_config import Api, ModelConfig
from custom_image.probing.sample_requests import is_file
from custom_image.specification import HEALTH_URL, SYNCHRONOUS_LATENCY

MANIFEST: Final = ".manifest"
SUCCESSFUL: Final = "SUCCESSFUL"
FAILED: Final = "FAILED"
READY_S: Final = 300.0
_SHOWN: Final = 200


@dataclass(frozen=True)
class Batch:
    """What became of a batch.

    Attributes:
        manifest: with a line a file, in the order of the input.
        answered: how many files got an answer.
    """

    manifest: Path
    answered: int
    total: int

    def __str__(self) -> str:
        return f"{self.answered} of {self.total} files answered; the manifest is {self.manifest}"

    def to_json(self) -> str:
        """Return it as tools read it."""
        found = {"manifest": str(self.manifest), "answered": self.answered, "total": self.total}
        return json.dumps(found, indent=2) + "\n"


def list_files(source: Path) -> list[str]:
    """Return the files of a folder in the order of their names, or those of a manifest.

    Raises:
        UsageError: there are none, or a line of the manifest names none.
    """
    if source.is_dir():
        found = [str(path) for path in sorted(source.resolve().rglob("*")) if path.is_file()]
    elif source.suffix == MANIFEST and source.is_file():
        found = list(_sources(source))
    else:
        found = []
    if not found:
        raise UsageError(f"{source}: expected a folder of files, or a .manifest; found no file.")
    return found


def _sources(manifest: Path) -> Iterator[str]:
    for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            path = manifest.resolve().parent / json.loads(line)["source"]
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f'{manifest}, line {number}: expected {{"source": "FILE"}}, found {line[:80]!r}.'
            ) from error
        yield str(path)


def run_batch(
    image: str,
    files: Sequence[str],
    folder: Path,
    executor: Executor,
    *,
    shards: int,
    options: Sequence[str] = (),
    told: Callable[[int, Outcome], None] = lambda number, outcome: None,
) -> Batch:
    """Ask an image about every file, a shard on each worker, and write the manifest.

    Args:
        image: a reference; each worker fetches it with its own credentials.
        files: absolute paths, the same on every worker.
        folder: for results and manifest; on every worker too.
        executor: runs the shards.
        shards: how many.
        options: of `custom-image fleet shard`.
        told: called with the number and the outcome of each shard.

    Raises:
        Unavailable: the scheduler went away.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    task = hashlib.sha256("\0".join([image, *files]).encode()).hexdigest()[:12]
    results = folder / f"infer-result-{task}"
    results.mkdir(exist_ok=True)
    inputs = folder / f"input-{task}{MANIFEST}"
    inputs.write_text("".join(f"{json.dumps({'source': file})}\n" for file in files))
    lines: dict[int, dict[str, str]] = {}
    units = {}
    for number in range(shards):
        arguments = ("fleet", "shard", image, str(inputs), str(results), f"{number}/{shards}")
        units[number] = Unit((*arguments, *options), image=image)
    with closing(arrivals(units, executor, "Run it again.")) as arriving:
        for number, outcome in arriving:
            told(number, outcome)
            for index in _share(number, shards, len(files)):
                fault = {"result": FAILED, "error_message": outcome.error[:_SHOWN]}
                lines[index] = (outcome.output or {}).get(str(index), fault)
    manifest = folder / f"infer-result-{task}{MANIFEST}"
    manifest.write_text(
        "".join(
            f"{json.dumps({'source': file} | lines[index])}\n" for index, file in enumerate(files)
        )
    )
    answered = sum(line["result"] == SUCCESSFUL for line in lines.values())
    return Batch(manifest, answered, len(files))


def run_shard(
    image: str, inputs: Path, results: Path, share: str, config: ModelConfig
) -> dict[int, dict[str, str]]:
    """Start an image and ask it about one share of the files; return the lines by their number.

    Args:
        image: of the engine here.
        inputs: the manifest of all files.
        results: the folder that answers are written to.
        share: ``2/8``, the third of eight.
        config: config.json of the image.

    Raises:
        UsageError: there is no such share, or config.json declares no api to ask.
        ServiceNotReady: the image does not start to answer.
    """
    number, _, shards = share.partition("/")
    if not (number.isdecimal() and shards.isdecimal() and int(number) < int(shards)):
        raise UsageError(f"share {share!r}: expected a number and how many there are, such as 2/8.")
    api = next((api for api in config.apis if api.method != "get"), None)
    if api is None:
        raise UsageError(f"{image}: its config.json declares no api with the method post.")
    files = list(_sources(inputs))
    health = config.health.url if config.health and config.health.url else HEALTH_URL.value
    engine = DockerEngine.connect()
    try:
        with engine.start(image, StartOptions()) as instance:
            wait_until_ready(instance, health, READY_S)
            return {
                index: _asked(instance, api, Path(files[index]), results / f"{index}_result.txt")
                for index in _share(int(number), int(shards), len(files))
            }
    finally:
        engine.close()


def _share(number: int, shards: int, total: int) -> range:
    """Return which files a shard has: neighbours, whatever their number."""
    return range(number * total // shards, (number + 1) * total // shards)


def _asked(instance: Instance, api: Api, file: Path, result: Path) -> dict[str, str]:
    """Ask about one file and keep the answer; return its line of the manifest."""
    try:
        status, text = _ask(f"{instance.url}", api, file)
    except (CustomImageError, OSError) as error:
        return {"result": FAILED, "error_message": f"{error}".splitlines()[0][:_SHOWN]}
    if status != HTTPStatus.OK:
        return {"result": FAILED, "error_message": f"{status} {text[:_SHOWN]}"}
    write_whole(result, text)  # a lost worker leaves no half answer
    return {"result": SUCCESSFUL, "inference-loc": str(result)}


def _ask(url: str, api: Api, file: Path) -> tuple[int, str]:
    schema: dict[str, Any] = (api.request.data if api.request else None) or {}
    members: dict[str, Any] = schema.get("properties") or {}
    field = next((name for name, member in members.items() if is_file(member)), "")
    if field:
        answer = predict(url, file.read_bytes(), field=field, filename=file.name, url_path=api.url)
        return answer.status, answer.text
    try:
        found = requests.post(
            f"{url}{api.url}",
            data=file.read_bytes(),
            headers={"Content-Type": "application/json"},
            timeout=SYNCHRONOUS_LATENCY.value,
        )
    except requests.RequestException as error:
        raise Unavailable(f"POST {api.url} got no answer ({type(error).__name__}).") from error
    return found.status_code, found.text
