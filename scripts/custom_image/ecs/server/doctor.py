"""Looking at a build server, and fixing it over the connection that leads to it."""

from __future__ import annotations

import re
import shlex
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from custom_image.diagnosis import Diagnosis
from custom_image.ecs.server.checks import DISK_GB, FINDINGS, SSHD_REFUSES, Looks
from custom_image.ecs.ssh.connection import Connection
from custom_image.errors import Unavailable, UsageError
from custom_image.progress import progress_bar, say
from custom_image.settings import project_files

SCRIPT: Final = "scripts/prepare_ecs.sh"
# Exit codes of the script.
_MENDED: Final = 0
_LACKING: Final = 3
_CHUNK_BYTES: Final = 2**20
_SEND_S: Final = 60.0
_LOOK_S: Final = 60.0
_ANSWER_S: Final = 10.0


def diagnose_server(connection: Connection, *, needs_gb: float = DISK_GB) -> Diagnosis:
    """Look at a build server; nothing is changed there.

    Args:
        connection: as the user who is to build.
        needs_gb: free on its disk; that an image of the largest size needs, unless told.

    Raises:
        Unavailable: the connection broke off, or the server has no POSIX shell.
    """
    before = time.time()
    clock = re.match(r"\d+(\.\d+)?", connection.run("date +%s.%N", timeout_s=_LOOK_S).output)
    after = time.time()
    done = connection.script("inspect.sh", timeout_s=_LOOK_S)
    said = dict(line.partition("=")[::2] for line in done.output.splitlines())
    if "machine" not in said or not clock:
        raise Unavailable(
            f"{connection.address} is no Linux server with a POSIX shell: "
            f"{done.error.strip() or done.output.strip() or 'it said nothing'}"
        )
    looks = Looks(
        connection.address,
        said,
        skew_s=float(clock[0]) - (before + after) / 2,
        precision_s=(after - before) / 2,
        forwards=_try_forwarding(connection, said),
        needs_gb=needs_gb,
    )
    return Diagnosis(tuple(find(looks) for find in FINDINGS))


def fix_server(
    connection: Connection, *, debs: Path | None = None, data_root: str = "", ntp_server: str = ""
) -> None:
    """Give a server what builds need: engine, disk, clock, and the right to use the engine.

    What it says is passed on line by line. The right holds from the next connection on; what could
    not be fixed is what :func:`diagnose_server` then finds.

    Args:
        connection: as root, or as a user who may sudo without a password; that user gets the right.
        debs: packages for a server with no way out, made by ``prepare_ecs.sh --fetch``.
        data_root: where the engine is to keep images; ``largest``: on the largest mounted disk.
        ntp_server: where its clock is to come from.

    Raises:
        UsageError: ``debs`` is no such folder, or the server does not take an argument.
        Unavailable: the user may not fix, or the connection broke off.
    """
    text = (project_files() / SCRIPT).read_text()
    asked = connection.run('if [ "$(id -u)" = 0 ]; then echo root; else sudo -n id -un; fi')
    if asked.output.strip() != "root":
        raise Unavailable(
            f"{connection.address} may not fix: neither root, nor sudo without a password.\n"
            f"Connect as root, or copy {SCRIPT} there and run it with sudo."
        )
    options = ["--now", str(int(time.time()))]
    options += ["--data-root", data_root] if data_root else []
    options += ["--ntp-server", ntp_server] if ntp_server else []
    folder = _send(connection, debs) if debs else ""
    options += ["--debs", folder] if folder else []
    # An argument, not standard input: what apt starts would read on from there.
    prepare = shlex.join(["sh", "-c", text, "prepare_ecs.sh", *options])
    try:
        with connection.session(
            f'[ "$(id -u)" = 0 ] || sudo="sudo -n"; exec $sudo {prepare} </dev/null 2>&1'
        ) as session:
            last = ""
            for last in session.lines():
                say(last)
            code = session.finish().code
    finally:
        if folder:
            with suppress(Unavailable):
                connection.run(f"rm -rf {shlex.quote(folder)}")
    if code not in (_MENDED, _LACKING):
        raise UsageError(f"{connection.address} was not fixed: {last or f'exit code {code}'}")


def _try_forwarding(connection: Connection, said: dict[str, str]) -> str:
    """Ask the server's engine whether it is there, as the verifier will; return what went wrong."""
    if not said.get("answer"):
        return "the engine did not answer"
    address = said.get("socket", "")
    if not address.startswith("unix://"):
        return f"the engine is at {address!r}, which is no unix socket"
    path = ""
    with suppress(Unavailable):
        path = connection.forward_socket(address.removeprefix("unix://"))
    if not path:
        return SSHD_REFUSES
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_ANSWER_S)
        asked.connect(path)
        asked.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        if b" 200 " in asked.recv(64):
            return ""
    return SSHD_REFUSES


def _send(connection: Connection, debs: Path) -> str:
    """Copy a folder of packages to the server; return where it is there."""
    if not (debs / "Packages").is_file():
        raise UsageError(
            f"{debs} is no folder of packages; expected one that this has made:\n"
            f"sh {SCRIPT} --fetch FOLDER, on a machine of the server's release with a network."
        )
    # Open to apt's own user; removed behind it.
    made = connection.run("umask 022; folder=$(mktemp -d) && chmod 755 $folder && echo $folder")
    folder = made.output.strip()
    if made.code or not folder:
        raise Unavailable(f"{connection.address}: no temporary folder: {made.error.strip()}")
    done = connection.run(f"tar -x -C {shlex.quote(folder)}", input=_tar(debs), timeout_s=_SEND_S)
    if done.code:
        connection.run(f"rm -rf {shlex.quote(folder)}")
        raise Unavailable(f"{connection.address}: the packages cannot be unpacked: {done.error}")
    return folder


def _tar(folder: Path) -> Iterator[bytes]:
    """Yield the files of a folder as a tar archive, a MiB at a time."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    total = sum(path.stat().st_size for path in files)
    with progress_bar(total, "packages", "B") as bar:
        for path in files:
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            member.mode = 0o644
            yield member.tobuf()
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    bar.update(len(chunk))
                    yield chunk
            yield bytes(-member.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
