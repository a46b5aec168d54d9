"""Debian's podman, with folders of its own, for `podman kube play`."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from ecs_machine import PROJECT

# A sandbox may lack CAP_SYS_RESOURCE: runc is then not able to raise what podman asks for.
RUNTIME = """\
#!/usr/bin/python3
import json, os, sys
for flag in {"--bundle", "-b"} & set(sys.argv):
    path = os.path.join(sys.argv[sys.argv.index(flag) + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    config["process"].pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
CONFIG = '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'


class Podman:
    """Use it as a context manager: its pods end with the block."""

    def __init__(self, folder: Path) -> None:
        done = subprocess.run([PROJECT / "scripts/ensure_podman.sh"], capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        self.runtime, self.config = folder / "runtime", folder / "containers.conf"
        self.runtime.write_text(RUNTIME)
        self.runtime.chmod(0o755)
        self.config.write_text(CONFIG)
        # Podman refuses one whose path is longer than 50 characters, as those of pytest are.
        self._run = tempfile.TemporaryDirectory(prefix="podman-")
        self._folders = ["--root", str(folder / "root"), "--runroot", self._run.name]

    def __call__(self, *arguments: str | Path) -> str:
        """Run podman; return what it printed."""
        done = subprocess.run(
            ["podman", *self._folders, "--runtime", self.runtime, *arguments],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONTAINERS_CONF": str(self.config)},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr}"
        return done.stdout

    def __enter__(self) -> Podman:
        return self

    def __exit__(self, *_: object) -> None:
        self("pod", "rm", "--all", "--force")
        self("rmi", "--all", "--force")
        self._run.cleanup()
