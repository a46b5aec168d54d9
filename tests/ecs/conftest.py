"""A build server reached by SSH: namespaces of its own, a real sshd, a second Docker engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ecs_machine import PROJECT, Unable
from ecs_registry import ServerRegistry
from ecs_server import EcsServer
from tiny_package import write_tiny_package

from custom_image.build_context import BuildContext, write_build_context
from custom_image.ecs import BuildServer, Connection, ServerImage, build

BARE_PACKAGES = "openssh-server,sudo,cloud-init"


def start_or_skip(folder, **options) -> EcsServer:
    """Where none can be had, a printed skip, or a failure under REQUIRE_DOCKER=1."""
    try:
        return EcsServer.start(folder, **options)
    except Unable as error:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, and {error}", pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory) -> Iterator[EcsServer]:
    with start_or_skip(tmp_path_factory.mktemp("ecs")) as server:
        yield server


@pytest.fixture
def ecs_server(shared_server) -> Iterator[EcsServer]:
    """The server that all tests share; what a test did to its network and keys is undone."""
    yield shared_server
    shared_server.repair()


@pytest.fixture(scope="session")
def shared_registry(shared_server) -> Iterator[ServerRegistry]:
    """A registry that only the server reaches."""
    registry = ServerRegistry(shared_server)
    yield registry
    registry.close()


@pytest.fixture(scope="session")
def start_server():
    """For tests that need one of their own: ``with start_server(tmp_path, disk_gb=1) as s``."""
    return start_or_skip


@pytest.fixture(scope="session")
def bare_root(tmp_path_factory) -> Path:
    """An unpacked Debian without an engine; the server that starts from it leaves it as it is."""
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={BARE_PACKAGES}"]
    subprocess.run([*command, "bookworm", root], check=True, capture_output=True)
    return root


@pytest.fixture
def bare_server(bare_root, tmp_path) -> Iterator[EcsServer]:
    with start_or_skip(tmp_path, root=bare_root, disk_gb=10, with_engine=False) as server:
        yield server


@pytest.fixture
def connect(ecs_server):
    """Open connections as root: ``connect()``, ``connect(keep_alive_s=1)``; closed at the end."""
    opened = []

    def open_connection(server: EcsServer = ecs_server, **options) -> Connection:
        options = {"config_file": str(server.ssh_config), **options}
        opened.append(Connection.open(server.host, **options))
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(connect) -> Connection:
    return connect()


@pytest.fixture
def reach(connect):
    """Reach the server by a connection of its own: ``reach()``, ``reach(keep_alive_s=1)``."""
    with ExitStack() as stack:
        yield lambda *server, **options: stack.enter_context(
            BuildServer(connect(*server, **options))
        )


@pytest.fixture
def build_server(reach) -> BuildServer:
    return reach()


@pytest.fixture(scope="session")
def there(shared_server, docker_engine, tmp_path_factory):
    """Build the example's image there by a builder, once; return it with its context."""
    contexts, images = {}, {}

    def built(builder: str, scenario: str = "ecs_build") -> tuple[ServerImage, BuildContext]:
        if scenario not in contexts:
            folder = tmp_path_factory.mktemp(scenario)
            package = write_tiny_package(folder / "model")
            contexts[scenario] = write_build_context(package, scenario, folder=folder / "context")
        if (builder, scenario) not in images:
            config_file = str(shared_server.ssh_config)
            connection = Connection.open(shared_server.host, config_file=config_file)
            with BuildServer(connection) as server:
                tag = f"{scenario}:{builder}"
                images[builder, scenario] = build(
                    contexts[scenario], tag, on=server, builder=builder
                )
        return images[builder, scenario], contexts[scenario]

    return built


@pytest.fixture(scope="session")
def debs(tmp_path_factory) -> Path:
    """What a server with no way out is prepared from, fetched as an author does."""
    folder = tmp_path_factory.mktemp("packages") / "debs"
    script = PROJECT / "scripts/prepare_ecs.sh"
    subprocess.run(["sh", script, "--fetch", folder], check=True, capture_output=True)
    return folder
