"""Images that are out to hurt: a verdict in time, within stated memory, the machine untouched.

Each is a script of Python on the good image. They are judged at the same time, because most of that
time is waiting, and each by a process of its own, so that memory and output are those of a user's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from broken_images import derive

from custom_image.engines.docker.settings import LARGEST_LOG, MOST_PROCESSES
from custom_image.engines.options import parse_options

LARGEST_MEMORY_MB = 300
"""Of the verifier."""
LONGEST_S = 120
"""For all of them together, on a busy machine."""

# Answers every request with what `answer` yields.
SERVER = """
import itertools, os, socketserver, sys, threading, time

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(100000)
        for part in answer():
            self.request.sendall(part)

def answer():
    {answer}

def first():
    {first}

def flood():
    import socket
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for number in itertools.count():
        for size in (0, 1, 63, 255):  # lengths of a label that are none, too
            label = bytes([size]) + os.urandom(min(size, 63))
            question = os.urandom(2) + b"\\1\\0\\0\\1" + bytes(6) + label + bytes(5)
            try:
                names.sendto(question, ("127.0.0.1", 53))
            except OSError:
                time.sleep(0.01)

threading.Thread(target=first).start()
socketserver.ThreadingTCPServer.request_queue_size = 100
socketserver.ThreadingTCPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""
OK = r"b'HTTP/1.1 200 OK\r\n'"
FINE = r"yield b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}'"
END = r"b'\r\n'"
HOSTILE = {
    "never answers": "time.sleep(1e6); yield b''",
    "endless headers": rf"yield {OK}; yield from itertools.repeat(b'X: ' + b'a' * 99 + {END})",
    "an endless answer": f"yield {OK} + {END}; yield from itertools.repeat(b'a' * 100000)",
    "a byte a second": f"yield {OK} + {END}; yield from (time.sleep(1) or b'a' for _ in range(99))",
}
AT_FIRST = {
    "endless logs": r"[os.write(1, b'x' * 4000 + b'\n') for _ in itertools.count()]",
    "a fork bomb": "time.sleep(1); os.system('bomb() { bomb | bomb & }; bomb')",
    "a flood of names": "[threading.Thread(target=flood).start() for _ in range(4)]",
    "escape sequences": r"os.write(1, b'\x1b]0;owned\x07\x1b[2J\x1b[31mred'); os._exit(3)",
}
VERIFIER = """
import re
from pathlib import Path
from custom_image.engines.options import parse_options
from custom_image.verification import verify

options = parse_options(**{options!r})
report = verify({tag!r}, only={only!r}, ready_timeout_s=4, start_options=options)
Path({output!r}).write_text(report.to_json())
print(report)
# Not getrusage: its peak is inherited from the process that started this one.
print(re.search("VmHWM.*", Path("/proc/self/status").read_text())[0])
"""
OFFLINE = ("never answers", "endless headers", "a flood of names")
ONLY = ["api.answers", "http.latency", "logs.stdout", "http.bad-input"]


def options_of(name: str, weights: Path) -> dict[str, object]:
    """Return what an image is started with: all that a form has, the last one without a network."""
    return {
        "env": ["API_TOKEN=1f60-never-shown"],
        "volume": [f"{weights}:/weights"],
        "memory": "1g",
        "cpus": 1,
        "shm_size": "16m",
        "network": "none" if name in OFFLINE else "",
    }


@pytest.fixture(scope="module")
def tags(docker_engine, tiny_image):
    """Build the images, each around its script."""
    scripts = {name: SERVER.format(answer=HOSTILE[name], first="pass") for name in HOSTILE}
    scripts |= {name: SERVER.format(answer=FINE, first=AT_FIRST[name]) for name in AT_FIRST}
    built = {}
    for number, (name, script) in enumerate(scripts.items()):
        tag = f"custom-image/tests:hostile-{docker_engine.run_id}-{number}"
        write = f"open('/tmp/s.py', 'wb').write(bytes.fromhex('{script.encode().hex()}'))"
        lines = (f'RUN python3 -c "{write}"', 'CMD ["python3", "/tmp/s.py"]')
        built[name] = derive(docker_engine, tiny_image.reference, lines, tag)
    yield built
    for tag in built.values():
        docker_engine.remove_image(tag)


@pytest.fixture(scope="module")
def judged(tags, tmp_path_factory):
    """Judge them all at once; return the report, output and peak memory of each."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    weights = folder / "weights"
    weights.mkdir()
    (weights / "weights.bin").write_bytes(b"as it was")
    began = time.monotonic()
    verifiers = {}
    for name, tag in tags.items():
        code = VERIFIER.format(
            tag=tag,
            only=ONLY,
            output=str(folder / f"{name}.json"),
            options=options_of(name, weights),
        )
        with (folder / f"{name}.log").open("w") as log:
            verifiers[name] = subprocess.Popen(
                [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=log, text=True
            )
    done = {}
    for name, verifier in verifiers.items():
        try:
            output, _ = verifier.communicate(timeout=LONGEST_S - (time.monotonic() - began))
        except subprocess.TimeoutExpired:
            verifier.kill()
            output, _ = verifier.communicate()
        errors = (folder / f"{name}.log").read_text()
        errors += f"\n{time.monotonic() - began:.0f} s"
        done[name] = SimpleNamespace(code=verifier.returncode, output=output, errors=errors)
        if verifier.returncode == 0:
            report = json.loads((folder / f"{name}.json").read_text())
            done[name].verdicts = {check["id"]: check for check in report["checks"]}
    return done


@pytest.mark.parametrize("name", [*HOSTILE, *AT_FIRST])
def test_a_hostile_image_gets_a_verdict_in_time_and_within_memory(name, judged):
    run = judged[name]

    assert run.code == 0, f"code {run.code}: {run.errors[-2000:]}"
    peak_kb = int(re.search(r"VmHWM:\s*(\d+) kB", run.output)[1])
    assert peak_kb / 1000 < LARGEST_MEMORY_MB
    assert "broke" not in run.output
    assert "--env API_TOKEN=*** --volume" in run.output
    assert "never-shown" not in run.output


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("never answers", "health.ready", "not ready after"),
        ("endless headers", "health.ready", "not ready after"),
        ("a byte a second", "health.ready", "not ready after"),
        ("escape sequences", "health.ready", "ended with exit code 3"),
    ],
)
def test_what_is_wrong_with_it_is_said(name, rule, words, judged):
    check = judged[name].verdicts[rule]

    assert check["verdict"] == "FAILED"
    assert words in check["measured"]


def test_escape_sequences_of_a_log_do_not_reach_the_terminal(judged):
    assert "owned" in judged["escape sequences"].output  # the log is shown
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x9b]", judged["escape sequences"].output)


def test_a_stranger_writes_to_no_volume_that_is_read_only(tags, docker_engine, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"as it was")
    options = parse_options(volume=[f"{tmp_path}:/weights"])
    script = "echo changed >/weights/weights.bin; mount -o remount,rw /weights; rm -r /weights/*"

    with docker_engine.start(
        tags["never answers"], replace(options, user="0:0", command=("sleep", "60"))
    ) as instance:
        code, output = instance.execute(["sh", "-c", script])

    assert code
    assert "Read-only file system" in output
    assert (tmp_path / "weights.bin").read_bytes() == b"as it was"


def test_a_stranger_gets_no_more_than_what_was_named(tags, docker_engine, tmp_path):
    """Whatever the options: no device, right or network of this machine's own."""
    options = parse_options(**options_of("never answers", tmp_path))

    with docker_engine.start(tags["never answers"], options) as instance:
        inside = docker_engine._client.containers.get(instance.id).attrs["HostConfig"]
        _, status = instance.execute(["cat", "/proc/self/status"])
        _, networks = instance.execute(["cat", "/proc/net/dev"])

    assert not inside["Privileged"]
    assert not inside["CapAdd"]
    assert not inside["Devices"]
    assert (inside["NetworkMode"], inside["PidMode"], inside["IpcMode"]) == ("none", "", "private")
    assert [line.split(":")[0].strip() for line in networks.splitlines()[2:]] == ["lo"]
    assert "Seccomp:\t2" in status


def test_endless_logs_do_not_fill_the_disk(tags, docker_engine):
    """Twice the limit of one file, which the engine throws away as soon as another is full."""
    largest_bytes = 2 * 10**6
    assert LARGEST_LOG == {"max-size": "1m", "max-file": "2"}

    with docker_engine.start(tags["endless logs"]) as instance:
        deadline = time.monotonic() + 30
        while len(instance.logs()) < largest_bytes / 4:
            assert time.monotonic() < deadline, "it wrote nothing"
        sizes = [len(instance.logs()) for _ in range(10)]

    assert max(sizes) <= largest_bytes * 1.1


def test_a_fork_bomb_stays_within_its_processes(tags, docker_engine):
    with docker_engine.start(tags["a fork bomb"]) as instance:
        deadline = time.monotonic() + 30
        most = 0
        while most < 100 and time.monotonic() < deadline:
            most = max(most, len(instance.processes()))

    assert 100 <= most <= MOST_PROCESSES


def test_nothing_of_them_is_left(judged, tags, docker_engine):
    containers = docker_engine._client.api.containers(all=True)
    images = {docker_engine.inspect(tag).id for tag in tags.values()}

    assert [c for c in containers if c["ImageID"] in images] == []
