"""Settings of a container: its limits, and what it gets of the machine because it was named."""

from __future__ import annotations

from typing import Any, Final

from docker.types import DeviceRequest, LogConfig, Mount

from custom_image.engines import StartOptions

# What one container may take of this machine, whatever is in it. Wide enough for any service.
MOST_PROCESSES: Final = 2048
MEMORY_SHARE: Final = 0.5
LARGEST_LOG: Final = {"max-size": "1m", "max-file": "2"}
CPU_SHARES: Final = 512
"""Half the weight of a process of this machine, where both want the same CPU."""


def container_settings(options: StartOptions, machine_bytes: int) -> dict[str, Any]:
    """Return what the SDK is asked to create a container with.

    ``machine_bytes``: the memory of the engine's machine.
    """
    memory_bytes = options.memory_bytes or int(machine_bytes * MEMORY_SHARE)
    settings: dict[str, Any] = {
        "mem_limit": memory_bytes,
        "memswap_limit": memory_bytes,
        "pids_limit": MOST_PROCESSES,
        "log_config": LogConfig(type="json-file", config=LARGEST_LOG),
        "cpu_shares": CPU_SHARES,
        "environment": dict(options.environment),
        "ports": {f"{options.port}/tcp": ("127.0.0.1", None)},
        "read_only": options.read_only,
    }
    if options.command:
        settings |= {"entrypoint": options.command[0], "command": list(options.command[1:])}
    if options.user:
        settings["user"] = options.user
    if options.read_only:
        settings["tmpfs"] = {"/tmp": ""}
    if options.tmp_bytes:
        settings["tmpfs"] = {"/tmp": f"size={options.tmp_bytes}"}
    if options.cpus:
        settings["nano_cpus"] = int(options.cpus * 1e9)
    if options.is_offline:
        # Names are asked of its own loopback, where somebody writes them down.
        settings |= {"network_mode": "none", "dns": ["127.0.0.1"], "ports": {}}
    return settings | _resources(options)


def _resources(options: StartOptions) -> dict[str, Any]:
    """Return what it gets of the machine only because it was named."""
    settings: dict[str, Any] = {
        "shm_size": options.shm_bytes,
        "cpuset_cpus": options.cpuset,
        "security_opt": [f"seccomp={options.seccomp}"] if options.seccomp else [],
        # `mounts`, because `volumes` would create a source that is not there.
        "mounts": [
            Mount(volume.target, volume.source, "bind", read_only=not volume.is_writable)
            for volume in options.volumes
        ],
        "devices": list(options.devices),
    }
    if options.gpus:
        which: dict[str, Any] = {"device_ids": [i for i in options.gpus.split(",") if i]}
        if options.gpus == "all" or options.gpus.isdigit():
            which = {"count": -1 if options.gpus == "all" else int(options.gpus)}
        settings["device_requests"] = [DeviceRequest(capabilities=[["gpu"]], **which)]
    return {name: value for name, value in settings.items() if value}
