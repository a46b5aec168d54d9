"""Rules about weights beside the image: a server that checks its files, and the same broken."""

from __future__ import annotations

import hashlib
import os

import pytest
from broken_images import SHORT_WAITS, derive
from judging import BROKEN, Diary, verdicts

from custom_image.engines import StartOptions, Volume
from custom_image.report import Verdict
from custom_image.rules import catalogue
from custom_image.verification import verify

RULES = [rule.id for rule in catalogue() if rule.id.startswith("weights.")]
# It answers 503 until every shard is what the list says, and names the first that is not; FAULT
# is what one of the tests breaks.
SERVER = """
import hashlib, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
FAULT = os.environ.get("FAULT", "")
def fault():
    for line in open("/home/list").read().splitlines():
        size, digest, path = line.split()
        if not os.path.exists(path):
            return "" if FAULT == "weights.missing" else f"no weights at {path}"
        content = open(path, "rb").read()
        if len(content) != int(size):
            return "" if FAULT == "weights.truncated" else f"{path}: {len(content)} of {size} bytes"
        if hashlib.sha256(content).hexdigest() != digest:
            return "" if FAULT == "weights.swapped" else f"{path} has another SHA-256"
    if FAULT == "weights.read-only":
        open("/weights/lock", "w").close()
    return ""
wrong = fault()
print(wrong if FAULT != "silent" else "starting", flush=True)
if wrong and FAULT == "ends":
    sys.exit(1)
first = b"none"
if os.path.exists("/weights/one.bin"):
    content = open("/weights/one.bin", "rb").read()
    first = content[:4] + b" of %d" % len(content)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(503 if wrong else 200)
        self.send_header("Content-Length", str(len(first)))
        self.end_headers()
        self.wfile.write(first)
    do_POST = do_GET
    log_message = lambda *_: None
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Two shards; what is mounted can be read by everybody."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("one", "two"):
        (folder / f"{name}.bin").write_bytes(name.encode() * 1000)
        (folder / f"{name}.bin").chmod(0o644)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def image(docker_engine, tiny_image, weights):
    rows = "\\n".join(
        f"{len(content)} {hashlib.sha256(content).hexdigest()} /weights/{path.name}"
        for path in sorted(weights.iterdir())
        if (content := path.read_bytes())
    )
    server = SERVER.replace("\\", "\\\\").replace("\n", "\\n").replace("'", "'\\''")
    name = f"custom-image/tests:weights-{docker_engine.run_id}"
    lines = (
        "USER 0",
        f"RUN printf '%b' '{server}' >/home/serve.py && "
        f"printf '{rows}\\n' >/home/list && rm -rf /home/ma-user/infer/model",
        "USER 1000:100",
        'CMD ["python3", "/home/serve.py"]',
    )
    yield derive(docker_engine, tiny_image.reference, lines, name)
    docker_engine.remove_image(name)


def judged(docker_engine, image, weights, *, fault="", only=RULES, writable=False):
    options = StartOptions(
        environment={"FAULT": fault}, volumes=(Volume(str(weights), "/weights", writable),)
    )
    return verify(
        image,
        engine=docker_engine,
        only=only,
        start_options=options,
        waits=SHORT_WAITS,
        progress=Diary(),
        ready_timeout_s=10,
    )


def test_a_server_that_checks_its_files_passes(docker_engine, image, weights):
    report = judged(docker_engine, image, weights)

    assert verdicts(report, *BROKEN) == [], str(report)
    assert {report.check(rule).verdict for rule in RULES} == {Verdict.PASSED}, str(report)
    assert "/weights/one.bin: 1500 of 3000 bytes" in report.check("weights.truncated").measured
    assert "no weights at /weights/one.bin" in report.check("weights.depth").measured


@pytest.mark.parametrize(
    ("fault", "rule", "says"),
    [
        ("weights.truncated", "weights.truncated", "ready, and answers"),
        ("weights.swapped", "weights.swapped", "ready, and answers: 200"),
        ("ends", "weights.depth", "the process ends"),
        ("silent", "weights.missing", "no line of its log names"),
    ],
)
@pytest.mark.true_time
def test_a_fault_of_the_service_is_found(docker_engine, image, weights, fault, rule, says):
    report = judged(docker_engine, image, weights, fault=fault)

    # How it says that something is wrong is judged for each kind of wrong.
    broken = RULES[:4] if fault in ("ends", "silent") else [rule]
    assert verdicts(report, *BROKEN) == broken, str(report)
    assert says in report.check(rule).measured


@pytest.mark.true_time
def test_a_service_that_writes_beside_the_weights_is_found(docker_engine, image, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.bin").write_bytes(name.encode() * 1000)
    tmp_path.chmod(0o777)

    report = judged(
        docker_engine,
        image,
        tmp_path,
        fault="weights.read-only",
        only=["weights.read-only"],
        writable=True,
    )

    assert verdicts(report, *BROKEN) == ["weights.read-only"], str(report)


@pytest.mark.skipif(os.getuid() != 0, reason="another's files are made by root alone")
def test_weights_that_the_platforms_user_cannot_read_are_found(docker_engine, image, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "one.bin").write_bytes(b"x")
    (tmp_path / "one.bin").chmod(0o600)

    report = judged(docker_engine, image, tmp_path, only=["weights.owner"])

    assert verdicts(report, *BROKEN) == ["weights.owner"], str(report)
    assert "one.bin is 600, of 0:0" in report.check("weights.owner").measured
