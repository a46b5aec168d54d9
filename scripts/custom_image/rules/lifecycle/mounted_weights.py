"""Weights beside the image: what a service does when they are not as it expects them.

What is mounted stays as it is: faults are laid over it, in an instance of their own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from custom_image.engines import Instance, StartOptions, Volume
from custom_image.probing.http import Answer, ask
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Service,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import GROUP_ID, MIB, USER_ID, Source

WEIGHTS: Final = Source(
    "Inference 2.0: storage of weights",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0090.html",
)
MOUNTED: Final = frozenset({Profile.V2})
AFTER: Final = ("health.ready", "api.answers", "http.latency")
EXPECTED: Final = "not ready, a line in the log that names the file, no end of the process"
REMEDIATION: Final = (
    "Check the files at the start (sizes, SHA-256 of a list), log which one is wrong, and answer "
    "503 until they are right; a process that ends is started over and over."
)
LARGEST_PART_BYTES: Final = 64 * MIB
PATIENCE_S: Final = 15.0
MOST_FILES: Final = 10_000


@rule(
    id="weights.missing",
    title="Without its weights the service says so, and waits",
    why="A file system that is mounted late is empty at first; an answer without weights is none.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=EXPECTED,
    source=WEIGHTS,
    remediation=REMEDIATION,
    good="/health: 503, and `no weights at /weights/model.safetensors`",
    bad="exit 1 with a traceback, over and over",
)
def missing(context: Context) -> Finding:
    """Mount an empty folder in place of each."""
    if reason := _why_not(context):
        return not_checked(reason)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        volumes = tuple(
            replace(v, source=folder) for v in _volumes(context) if Path(v.source).is_dir()
        )
        if not volumes:
            return not_checked("a single file is mounted, and no folder")
        return _judge(context, volumes, [volume.target for volume in volumes])


@rule(
    id="weights.truncated",
    title="A file of weights that is cut off is noticed",
    why="A copy that broke off is as common as none; half a file loads, or kills the process.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=EXPECTED,
    source=WEIGHTS,
    remediation=REMEDIATION,
    good="/health: 503, and `model.safetensors: 500 of 4000 bytes`",
    bad="a bus error in the first prediction",
)
def truncated(context: Context) -> Finding:
    """Mount the first half of the largest file over it."""
    if reason := _why_not(context):
        return not_checked(reason)
    largest = _files(context)[:1]
    if not largest:
        return not_checked("what is mounted holds no file")
    file, target = largest[0]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        part = Path(folder) / "part"
        with file.open("rb") as source:
            part.write_bytes(source.read(min(file.stat().st_size // 2, LARGEST_PART_BYTES)))
        part.chmod(0o644)
        return _judge(context, (Volume(str(part), target),), [target])


@rule(
    id="weights.swapped",
    title="Two files of weights that are swapped are noticed",
    why="Shards look alike: swapped ones load, and the answers are wrong with a good status.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=EXPECTED,
    source=WEIGHTS,
    remediation=REMEDIATION,
    good="a list of SHA-256 beside the shards, checked before they are loaded",
    bad="shards that are loaded by their number alone",
)
def swapped(context: Context) -> Finding:
    """Mount each of the two largest files of one kind over the other."""
    if reason := _why_not(context):
        return not_checked(reason)
    files = _files(context)
    kind = files[0][0].suffix if files else ""
    pair = [(file, target) for file, target in files if file.suffix == kind][:2]
    if len(pair) < 2:
        return not_checked("no two files of one kind are mounted")
    (first, first_target), (second, second_target) = pair
    volumes = Volume(str(second), first_target), Volume(str(first), second_target)
    return _judge(context, volumes, [first_target, second_target])


@rule(
    id="weights.depth",
    title="Weights that lie one folder too deep are noticed",
    why="An upload of the folder, instead of what it holds, puts them there.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=EXPECTED,
    source=WEIGHTS,
    remediation=REMEDIATION,
    good="/health: 503, and `no weights at /weights/model.safetensors`",
    bad="a model of random weights that answers all the same",
)
def depth(context: Context) -> Finding:
    """Mount each folder one level below its place."""
    if reason := _why_not(context):
        return not_checked(reason)
    folders = [v for v in _volumes(context) if Path(v.source).is_dir()]
    if not folders:
        return not_checked("a single file is mounted, and no folder")
    with tempfile.TemporaryDirectory() as empty:
        Path(empty).chmod(0o755)
        volumes: list[Volume] = []
        for volume in folders:
            name = Path(volume.source).name
            (Path(empty) / name).mkdir(exist_ok=True)
            volumes += [
                replace(volume, source=empty),
                replace(volume, target=f"{volume.target}/{name}"),
            ]
        return _judge(context, tuple(volumes), [volume.target for volume in folders])


@rule(
    id="weights.read-only",
    title="The service works with weights that it cannot write to",
    why="Weights that several services share are mounted read-only.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="works with a read-only mount",
    source=WEIGHTS,
    remediation="Write caches and converted weights below /tmp, not beside the weights.",
    good="--volume /mnt/weights:/weights",
    bad="a lock or an index that is written beside the weights",
)
def read_only(context: Context) -> Finding:
    """Start it with what was mounted writable closed."""
    if reason := _why_not(context):
        return not_checked(reason)
    writable = [volume for volume in _volumes(context) if volume.is_writable]
    if not writable:
        return passed("they are mounted read-only")
    volumes = tuple(replace(volume, is_writable=False) for volume in writable)
    with context.launch(StartOptions(volumes=volumes)) as instance:
        service = context.wait_for(instance)
        answer = ask(service.url, service.request, PATIENCE_S)
        log = _end(instance)
    if answer.status != context.service.start.last_answer.status:
        return failed(f"with read-only weights: {answer}", log)
    return passed("works with a read-only mount", str(answer))


@rule(
    id="weights.owner",
    title="The platform's user may read every file of the weights",
    why="Files on a shared file system belong to whoever wrote them; the service is uid 1000.",
    severity=Severity.WARNING,
    profiles=MOUNTED,
    needs=Needs.CONTAINER,
    expected=f"readable by {USER_ID}:{GROUP_ID}",
    source=WEIGHTS,
    remediation="chmod -R a+rX FOLDER on the machine that writes the weights.",
    good="-rw-r--r-- 0:0 model.safetensors",
    bad="-rw------- 0:0 model.safetensors",
)
def owner(context: Context) -> Finding:
    """Look at owner and mode of each file and folder."""
    if reason := _why_not(context):
        return not_checked(reason)
    closed = [path for volume in _volumes(context) for path in _closed(Path(volume.source))]
    if closed:
        stat = closed[0].stat()
        text = f"{closed[0].name} is {stat.st_mode & 0o777:o}, of {stat.st_uid}:{stat.st_gid}"
        return failed(text, "\n".join(str(path) for path in closed[:10]))
    return passed(f"readable by {USER_ID}:{GROUP_ID}")


def _why_not(context: Context) -> str:
    volumes = _volumes(context)
    if not volumes:
        return "no weights are mounted; name them with --volume FOLDER:PATH"
    if not all(Path(volume.source).exists() for volume in volumes):
        return "the weights are on another machine"
    return ""


def _volumes(context: Context) -> tuple[Volume, ...]:
    return tuple(context.start_options.volumes)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield what is below a folder, or the file itself; not through links."""
    yield folder
    if folder.is_dir():
        count = 0
        for root, folders, files in os.walk(folder):
            for name in (*folders, *files):
                count += 1
                if count > MOST_FILES:
                    return
                yield Path(root) / name


def _files(context: Context) -> list[tuple[Path, str]]:
    """Return the files that are mounted, largest first, each with its path in the instance."""
    found = [
        (path, os.path.normpath(f"{volume.target}/{path.relative_to(volume.source)}"))
        for volume in _volumes(context)
        for path in _walk(Path(volume.source))
        if path.is_file() and not path.is_symlink() and path.stat().st_size
    ]
    return sorted(found, key=lambda pair: (-pair[0].stat().st_size, pair[1]))


def _closed(folder: Path) -> Iterator[Path]:
    for path in _walk(folder):
        if path.is_symlink():
            continue
        stat = path.stat()
        needed = 0o5 if path.is_dir() else 0o4
        shift = 6 if stat.st_uid == USER_ID.value else 3 if stat.st_gid == GROUP_ID.value else 0
        if (stat.st_mode >> shift) & needed != needed:
            yield path


def _judge(context: Context, volumes: tuple[Volume, ...], paths: list[str]) -> Finding:
    """Start an instance with a fault, and see what it says of it."""
    with context.launch(StartOptions(volumes=volumes)) as instance:
        service = context.wait_for(instance)
        is_ready, answer = _is_ready(service)
        log = instance.logs()
        has_ended = not instance.is_running()
        evidence = f"{answer}\nits log ends:\n{_end(instance)}"
    if is_ready:
        good = context.service.start.last_answer
        if answer.body == good.body:
            return not_checked("it answers as before: the sample does not tell", evidence)
        return failed(f"ready, and answers: {answer}"[:160], evidence)
    if has_ended:
        return failed(f"the process ends, {service.start.end}", evidence)
    names = {name for path in paths for name in (path, path.rpartition("/")[2])}
    line = next((row for row in log.splitlines() if any(name in row for name in names)), "")
    if not line:
        return failed(f"not ready, and no line of its log names {' or '.join(paths)}", evidence)
    return passed(f"not ready: {line.strip()[:160]}", evidence)


def _is_ready(service: Service) -> tuple[bool, Answer]:
    start = service.start
    is_healthy = start.last_health is None or start.last_health.is_good
    return start.is_ready and is_healthy and start.last_answer.is_good, start.last_answer


def _end(instance: Instance) -> str:
    return "\n".join(instance.logs().splitlines()[-8:])[-2000:]
