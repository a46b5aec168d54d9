"""Start the serving runtime as an image starts it, and talk to it, byte by byte where needed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from custom_image.engines import StartOptions
from custom_image.engines.process.engine import LocalProcess, ProcessEngine

REPOSITORY = Path(__file__).parents[2]
ROOTFS_HOME = REPOSITORY / "docker" / "rootfs" / "home"
MODEL_SERVICE = REPOSITORY / "model_package" / "model_service"
EXAMPLE_SERVICE = REPOSITORY / "model_package" / "model" / "customize_service.py"
PLATFORM_HOME = Path(__file__).with_name("platform_home.sh")
NAMESPACE = (
    ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
)
PROFILES = ("uvicorn", "gunicorn-gevent")
BOUNDARY = "a-boundary"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"

MNIST_CONFIG = {
    "model_algorithm": "image_classification",
    "model_type": "Image",
    "apis": [
        {
            "url": "/",
            "method": "post",
            "request": {
                "Content-type": "multipart/form-data",
                "data": {"type": "object", "properties": {"images": {"type": "file"}}},
            },
            "response": {"Content-type": "application/json"},
        }
    ],
    "health": {"check_method": "HTTP", "protocol": "http", "url": "/health"},
}


def json_api(url: str = "/", method: str = "post", **properties: Any) -> dict[str, Any]:
    """Return an entry of ``apis[]`` that takes JSON with these members."""
    data = {"type": "object", "properties": properties}
    request: dict[str, Any] = {"Content-type": "application/json"}
    if properties:
        request["data"] = data
    return {"url": url, "method": method, "request": request}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


def multipart(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a body of (name, file name or None, content) parts under :data:`BOUNDARY`."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
        body += head.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def upload(content: bytes, part: str = "images", filename: str = "digit.jpg") -> bytes:
    return multipart((part, filename, content))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """Return the first true value of ``condition``, asked every 10 ms."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {timeout_s:g} s for {what}")


class Connection:
    """A TCP connection on which bytes are written and responses are read."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        self.send(head(method, target, len(body) if body else None, **headers) + body)
        return self.read(has_body=method != "HEAD")

    def read_head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed after {self._buffer!r}")
            self._buffer += data
        text, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        first, *lines = text.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, value in pairs}

    def read(self, *, has_body: bool = True) -> Answer:
        """Read one response; raise ConnectionError where the server closed instead."""
        status, headers = self.read_head()
        size = int(headers.get("content-length", "0")) if has_body else 0
        while len(self._buffer) < size:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed in the middle of a body")
            self._buffer += data
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return Answer(status, headers, body)

    def closed_by_server(self, within_s: float = 10.0) -> bool:
        """Tell whether the server closes this connection without a further byte."""
        self.socket.settimeout(within_s)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


def head(method: str, target: str, size: int | None = None, **headers: str) -> bytes:
    """Return the head of a request; ``Content_Type="..."`` becomes ``Content-Type: ...``."""
    lines = [f"{method} {target} HTTP/1.1", "Host: test"]
    if size is not None:
        lines.append(f"Content-Length: {size}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class Runtime:
    """A started service; a ``with`` block of :func:`start_runtime` ends it, whatever happened."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port
        self._connections: list[Connection] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def model_path(self) -> Path:
        return self.folder / "ma-user" / "infer" / "model" / "1"

    def worker_folders(self) -> list[Path]:
        """Return the package as each worker has it, once all have it."""

        def find() -> list[Path] | None:
            found = [Path(f"/proc/{pid}/cwd").readlink() / "model" for pid in self.workers()]
            made = [path for path in found if path.is_relative_to(self.folder / "tmp")]
            if len(made) < len(found) or not found:
                return None
            return [path / "1" if (path / "1").exists() else path for path in made]

        return wait_for(find, "the workers' folders")

    def logs(self) -> str:
        return (self.folder / "stdout").read_text(errors="replace")

    def standard_error(self) -> str:
        return (self.folder / "stderr").read_text(errors="replace")

    # --- HTTP ------------------------------------------------------------------------------------

    def connect(self, timeout_s: float = 10.0) -> Connection:
        """Open a connection, which is closed at the latest when the service is ended."""
        connection = Connection(self.port, timeout_s)
        self._connections.append(connection)
        return connection

    def close_connections(self) -> None:
        for connection in self._connections:
            connection.socket.close()

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, names)
            response = connection.getresponse()
            pairs = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, pairs, response.read())
        finally:
            connection.close()

    def post(self, body: bytes, target: str = "/", content_type: str = MULTIPART) -> Answer:
        return self.ask("POST", target, body, Content_Type=content_type)

    def post_json(self, value: Any, target: str = "/") -> Answer:
        return self.post(json.dumps(value).encode(), target, "application/json")

    def health(self) -> Answer:
        return self.ask("GET", "/health")

    def is_healthy(self) -> bool:
        try:
            return self.health().status == 200
        except OSError:
            return False

    def wait_until_ready(self, timeout_s: float = 15.0) -> Self:
        """Wait until every worker is ready, which one health request cannot tell."""
        try:
            wait_for(self._all_ready, "all workers to be ready", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()[-3000:]}") from None
        return self

    def _all_ready(self) -> bool:
        if not self.is_healthy():
            return False
        lines = self.metrics()
        return lines['model_service_workers{state="ready"}'] == sum(
            value for name, value in lines.items() if name.startswith("model_service_workers{")
        )

    def metrics(self) -> dict[str, float]:
        text = self.ask("GET", "/metrics").body.decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    # --- processes -------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def terminate(self) -> float:
        """Send SIGTERM; return when (monotonic)."""
        self.process.send_signal(signal.SIGTERM)
        return time.monotonic()

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def write_package(folder: Path, service: str, config: Mapping[str, Any] | None = None) -> Path:
    """Write a model package: the text of its customize_service.py, and its config.json if any."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customize_service.py").write_text(service)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def lay_out_image(folder: Path, package: Path) -> Path:
    """Mirror ``/home`` of an image below ``folder``: run.sh, the runtime, the model package."""
    shutil.copytree(ROOTFS_HOME, folder)
    infer = folder / "ma-user" / "infer"
    (infer / "model_service").symlink_to(MODEL_SERVICE)
    shutil.copytree(package, infer / "model" / "1")
    return folder


@contextmanager
def start_runtime(
    folder: Path, package: Path, shell: str = "sh", at_home: bool = False, **environment: str
) -> Any:
    """Start ``sh run.sh`` with a package, as an image's CMD does; yield the :class:`Runtime`.

    It has a session of its own, so that nothing it starts outlives the block. With ``at_home`` it
    also sees ``/home/mind`` as in an image, which takes a mount namespace.
    """
    lay_out_image(folder, package)
    port = free_port()
    inherited = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "2", "DRAIN_SECONDS": "1"}
    (folder / "tmp").mkdir()
    settings["TMPDIR"] = str(folder / "tmp")
    command = [shell, str(folder / "run.sh")]
    if at_home:
        command = [*NAMESPACE, "sh", str(PLATFORM_HOME), str(folder / "tmp"), command[-1]]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as error:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            env={**inherited, **settings, **environment},
            cwd="/",
            start_new_session=True,
        )
    runtime = Runtime(folder, process, port)
    try:
        yield runtime
    finally:
        runtime.close_connections()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_instance(folder: Path, package: Path, **environment: str) -> LocalProcess:
    """Start the same by the process engine, for drills that the rules bring."""
    lay_out_image(folder, package)
    settings = {"WORKERS": "2", **environment}
    return ProcessEngine().start(str(folder), StartOptions(environment=settings))
