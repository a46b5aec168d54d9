"""Rules on the boot file: servers, shells and tools that are known to behave badly.

The boot file and the file that base images of the platform start are read as text, nothing more: a
service that is started otherwise is judged by the drills alone.
"""

from __future__ import annotations

import re

from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.rules.static.boot import boot_path
from custom_image.specification import BOOT_FILE, NO_SUDO, SPECIFICATIONS, USER_HOME, Source

INFER_BOOT_FILE = f"{USER_HOME}/infer/run.sh"
WORKERS_THAT_KEEP = ("gevent", "eventlet", "gthread", "tornado", "uvicorn")
PRELOAD = Source(
    "PyTorch: a forked process hangs", "https://github.com/pytorch/pytorch/issues/49555"
)
CORES = Source(
    "gunicorn: workers by the cores of the host",
    "https://github.com/benoitc/gunicorn/issues/2028",
)
OWNERSHIP = Source(
    "KServe: permissions of mounted weights", "https://github.com/kserve/kserve/issues/1607"
)
CONDA = Source(
    "Using a conda environment in a custom image",
    "https://support.huaweicloud.com/develop-modelarts/develop-modelarts-1416.html",
)


@rule(
    id="command.gunicorn",
    title="gunicorn is started with a keep-alive and with workers that heed it",
    why="Its default is 2 s, and its sync workers close every connection after the answer.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="--keep-alive of at least the required seconds, -k gevent or the like",
    source=SPECIFICATIONS,
    remediation="Write gunicorn --keep-alive 200 -k gevent, and install gevent.",
    good="exec gunicorn --keep-alive 200 -k gevent --bind 0.0.0.0:8080 app:app",
    bad="exec gunicorn --bind 0.0.0.0:8080 app:app",
)
def gunicorn(context: Context) -> Finding:
    """Read the options of each line that starts gunicorn; a file of settings is not followed."""
    lines = [line for line in _lines(context) if re.search(r"(^|[\s/;&])gunicorn\s", line)]
    if not lines:
        return passed("no gunicorn is started")
    for line in lines:
        if re.search(r"\s(-c|--config)[\s=]", line):
            return not_checked("its settings are in a file", line)
        keep_alive = re.search(r"--keep-alive[\s=]+(\d+)", line)
        if not keep_alive or int(keep_alive[1]) < context.edition.keep_alive.value:
            return failed(
                f"keep-alive is {keep_alive[1] if keep_alive else '2, the default'}", line
            )
        worker = re.search(r"(?:-k|--worker-class)[\s=]+(\S+)", line)
        if not worker or not any(name in worker[1] for name in WORKERS_THAT_KEEP):
            return failed(f"workers are {worker[1] if worker else 'sync, the default'}", line)
    return passed(lines[0].strip())


@rule(
    id="command.preload",
    title="No model is loaded before the workers are forked",
    why="Threads and locks of native code do not survive a fork: the first prediction hangs.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="no --preload",
    source=PRELOAD,
    remediation="Leave --preload out; let each worker load its model.",
    good="gunicorn --workers 2 app:app",
    bad="gunicorn --preload --workers 2 app:app, and torch in app.py",
)
def preload(context: Context) -> Finding:
    """Look for the option where gunicorn is started."""
    return _without(context, r"\bgunicorn\s.*--preload\b", "no --preload")


@rule(
    id="command.cores",
    title="The number of workers is not that of the machine's cores",
    why="nproc and cpu_count() tell of the node's 64 cores, whatever the flavor is: memory ends.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="no nproc and no cpu_count() in the boot file",
    source=CORES,
    remediation="Take the number from an environment variable, with a small default.",
    good="gunicorn --workers ${WORKERS:-2} app:app",
    bad="gunicorn --workers $(nproc) app:app",
)
def cores(context: Context) -> Finding:
    """Look for both words."""
    return _without(context, r"\bnproc\b|\bcpu_count\(", "no nproc and no cpu_count()")


@rule(
    id="command.ownership",
    title="The boot file changes no rights of the model",
    why="A mounted model is read-only, or another's: chmod fails there, and ends the start.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="no chmod and no chown of the model",
    source=OWNERSHIP,
    remediation="Set rights and owner in the Dockerfile (COPY --chown), not at each start.",
    good="COPY --chown=1000:100 model /home/mind/model",
    bad="chmod -R 755 /home/mind/model, in run.sh",
)
def ownership(context: Context) -> Finding:
    """Look for both words where they go through folders, or name a place of models."""
    return _without(
        context,
        r"(^|[;&|(]|\s)(chmod|chown)\s+(-\w*R|--recursive|.*/(model|weights|mnt|data)\b)"
        r"(?!.*\|\|)",
        "no chmod and no chown of the model",
    )


@rule(
    id="command.sudo",
    title="The boot file asks for no sudo",
    why="Containers of the platform have none, or no right to it: the start ends there.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="no sudo",
    source=NO_SUDO,
    remediation="Do in the Dockerfile, as root, what needs root.",
    good="RUN mkdir -p /data && chown 1000:100 /data",
    bad="sudo mkdir -p /data, in run.sh",
)
def sudo(context: Context) -> Finding:
    """Look for the word where a command stands."""
    return _without(context, r"(^|[;&|(]|\s)sudo\s", "no sudo")


@rule(
    id="command.conda",
    title="The boot file calls the Python of an environment by its path",
    why="`conda activate` needs a shell that conda has prepared, which a boot file has not.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    expected="no conda activate",
    source=CONDA,
    remediation="Put the environment first in PATH (ENV PATH=...), or call its python by its path.",
    good="exec /home/ma-user/anaconda3/envs/serve/bin/python serve.py",
    bad="conda activate serve && python serve.py",
)
def conda(context: Context) -> Finding:
    """Look for the two words."""
    return _without(context, r"\b(conda|source)\s+activate\b", "no conda activate")


@rule(
    id="command.unbuffered",
    title="Python writes its output at once",
    why="Buffered lines reach the platform's log late, and those before a crash never do.",
    severity=Severity.NOTE,
    profiles=frozenset({Profile.V1, Profile.ENGINE, Profile.BATCH, Profile.V2}),
    needs=Needs.IMAGE | Needs.FILES,
    expected="PYTHONUNBUFFERED=1 or python -u",
    source=SPECIFICATIONS,
    remediation="Add ENV PYTHONUNBUFFERED=1 to the Dockerfile.",
    good="ENV PYTHONUNBUFFERED=1",
    bad='CMD ["python3", "serve.py"] without it',
)
def unbuffered(context: Context) -> Finding:
    """Look for the variable, and for a Python that it would matter to."""
    if context.image.environment.get("PYTHONUNBUFFERED"):
        return passed("PYTHONUNBUFFERED is set")
    text = "\n".join(_lines(context))
    if re.search(r"PYTHONUNBUFFERED=|\bpython[0-9.]*\s+(-\w+\s+)*-\w*u", text):
        return passed("set by the boot file")
    if not re.search(r"\b(python|gunicorn|uvicorn|flask)", text):
        return not_checked("no Python is seen to be started")
    return failed("not set")


def _without(context: Context, pattern: str, required: str) -> Finding:
    found = [line.strip() for line in _lines(context) if re.search(pattern, line)]
    return failed(found[0][:120], "\n".join(found[:5])) if found else passed(required)


def _lines(context: Context) -> list[str]:
    """Return the lines of the command and of the boot files, without comments."""
    try:
        image = context.image
    except LookupError:  # a folder: it has boot files, and no command
        command, boot_file = "", ""
    else:
        command, boot_file = " ".join(image.command), boot_path(image)
    paths = dict.fromkeys((boot_file, BOOT_FILE.value, INFER_BOOT_FILE))
    texts = [context.read_file(path) for path in paths if path]
    text = "\n".join(text.decode(errors="replace") for text in texts if text)
    lines = re.sub(r"\\\r?\n", " ", text).splitlines()
    return [command, *(line for line in lines if not _is_comment(line))]


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")
