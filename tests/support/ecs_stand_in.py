"""Run a command beside a stand-in build server, which it finds as ECS_SERVER; as root, on Linux.

    python tests/support/ecs_stand_in.py custom-image notebooks run ecs_build

The server has namespaces, an sshd and a Docker engine of its own, and no way out to any network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ecs_machine import Unable
from ecs_server import EcsServer

from custom_image.ecs.ssh.connection import CONFIG_VARIABLE, SERVER_VARIABLE


def main(command: list[str]) -> int:
    if not command:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory(prefix="ecs-stand-in-") as folder:
        try:
            server = EcsServer.start(Path(folder))
        except Unable as error:
            sys.stderr.write(f"NOT RUN: {' '.join(command)}\nno stand-in server: {error}\n")
            return 3
        with server:
            found = {
                SERVER_VARIABLE: server.host_of(),
                CONFIG_VARIABLE: str(server.ssh_config),
            }
            return subprocess.run(command, env=os.environ | found).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
