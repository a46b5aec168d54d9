"""A registry on the stand-in server, behind a proxy that fails on request."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ecs_machine import PROJECT, wait_for
from ecs_server import EcsServer

USER = "cn-north-4@AK"
PASSWORD = "temporary"
# bcrypt of the password, of the lowest cost: registries ask for it with every request.
_HTPASSWD = f"{USER}:$2b$04$hx9QVkPsl4kAOxzYiHfp4uxmbGKOANREbZq813D2R8/nmpeIEMM4G\n"
_PORT, _PROXY_PORT = 5000, 5001
_CONFIG = f"""\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: /var/lib/docker/registry}}}}
http: {{addr: 127.0.0.1:{_PORT}, relativeurls: true}}
auth: {{htpasswd: {{realm: tests, path: /tmp/htpasswd}}}}
"""
# Reads how to behave anew for each connection, and dies in the middle of the body of a layer.
_PROXY = f"""\
import socket, threading, time
def pump(source, target, limit, pause):
    passed = 0
    try:
        while data := source.recv(65536):
            passed += len(data)
            if limit and passed > limit:
                break
            target.sendall(data)
            time.sleep(pause)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(client):
    limit, pause = open("/tmp/mode").read().split()
    upstream = socket.create_connection(("127.0.0.1", {_PORT}))
    threading.Thread(target=pump, args=(upstream, client, 0, 0), daemon=True).start()
    pump(client, upstream, int(limit), float(pause))
listener = socket.create_server(("127.0.0.1", {_PROXY_PORT}))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


class ServerRegistry:
    """A registry that only the server reaches; ``host`` is its address there."""

    host = f"127.0.0.1:{_PROXY_PORT}"
    login: Any = SimpleNamespace(user=USER, password=PASSWORD)

    def __init__(self, server: EcsServer) -> None:
        self._server = server
        done = subprocess.run(
            [PROJECT / "scripts/ensure_registry.sh"], capture_output=True, text=True, check=True
        )
        program = Path(done.stdout.strip()).read_bytes()
        server.run("cat >/tmp/registry; chmod +x /tmp/registry", input=program)
        server.run("cat >/tmp/htpasswd", input=_HTPASSWD.encode())
        server.run("cat >/tmp/registry.yml", input=_CONFIG.encode())
        self.behave()
        self._processes = [
            self._start("registry", "/tmp/registry serve /tmp/registry.yml"),
            self._start("proxy", f"python3 -c {shlex.quote(_PROXY)}"),
        ]
        wait_for(lambda: "401" in self._status(), "the registry")

    def behave(self, *, dies_after_bytes: int = 0, pause_s: float = 0) -> None:
        """Let new connections break off in the middle, or crawl; nothing for none of it."""
        self._server.run(f"echo {dies_after_bytes} {pause_s} >/tmp/mode")

    def blobs(self) -> set[str]:
        """Return the digests of what it stores."""
        found = self._server.run(
            "cd /var/lib/docker/registry/docker/registry/v2/blobs/sha256 2>/dev/null"
            " && ls -d */* || true"
        )
        return {line.split("/")[1] for line in found.split() if "/" in line.rstrip("/")}

    def digest(self, repository: str, tag: str) -> str:
        """Return the digest of what a tag names."""
        path = f"/var/lib/docker/registry/docker/registry/v2/repositories/{repository}"
        return self._server.run(f"cat {path}/_manifests/tags/{tag}/current/link").strip()

    def close(self) -> None:
        """End it."""
        self._server.run("kill $(cat /tmp/registry.pid /tmp/proxy.pid)")
        for process in self._processes:
            process.wait(timeout=20)

    def _start(self, name: str, command: str) -> subprocess.Popen[bytes]:
        null = subprocess.DEVNULL
        return self._server.popen(
            *("sh", "-c", f"echo $$ >/tmp/{name}.pid; exec {command}"),
            **{"stdin": null, "stdout": null, "stderr": null},
        )

    def _status(self) -> str:
        return self._server.run(
            f"curl -s -o /dev/null -w '%{{http_code}}' http://{self.host}/v2/ || true"
        )
