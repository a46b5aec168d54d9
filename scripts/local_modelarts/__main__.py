"""``python -m local_modelarts``: put the platform together, serve it, and end it cleanly."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Final, cast

import uvicorn

from custom_image.engines.serving_host import ServingHost
from custom_image.errors import CustomImageError, Unavailable
from local_modelarts.assembly import RealTime
from local_modelarts.batch.backend import Batches
from local_modelarts.console import PREFIX as CONSOLE
from local_modelarts.console import console
from local_modelarts.gateway.async_tasks import Tasks
from local_modelarts.gateway.authentication import app_of
from local_modelarts.gateway.request import PREFIXES
from local_modelarts.http.messages import Answer
from local_modelarts.http.server import make_app
from local_modelarts.jobs import Jobs
from local_modelarts.notebooks.containers import Containers
from local_modelarts.notebooks.image_building import building_calls
from local_modelarts.notebooks.image_saving import Saving
from local_modelarts.notebooks.images import Images
from local_modelarts.notebooks.routes import modelarts_calls
from local_modelarts.platform import Platform, endpoint
from local_modelarts.registry.certificates import ensure_certificates
from local_modelarts.registry.client import Registry
from local_modelarts.registry.logins import Logins
from local_modelarts.settings import Settings, read_settings
from local_modelarts.storage.paths import LABEL, Folder, write_secret
from local_modelarts.storage.store import State
from local_modelarts.swr.backend import Swr
from local_modelarts.swr.routes import registry_token, swr_calls

LOOPBACK: Final = "127.0.0.1"
_GRACE_S: Final = 3
_PATIENCE_S: Final = 5.0
_JOBS_AT_ONCE: Final = 4


def main() -> int:
    """Run the platform until SIGTERM or Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_modelarts", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/platform"))
    parser.add_argument("--preset", action="append", default=[], metavar="IMAGE")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument(
        "--halt", action="store_true", help="end what a platform that was killed has left running"
    )
    parser.add_argument("--purge", action="store_true", help="also remove all that it keeps")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = read_settings(arguments.settings)
        folder = Folder(arguments.folder)
        folder.lock(_PATIENCE_S)
        platform = _assemble(folder, settings)
        if not (arguments.halt or arguments.purge):
            _serve(platform, arguments.preset)
        _halt(platform)
        if arguments.purge:
            _purge(platform)
    except CustomImageError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201 - this is the command's own output
        return error.exit_code
    return 0


def _assemble(folder: Folder, settings: Settings) -> Platform:
    """Put the parts together; nothing runs yet.

    Raises:
        Unavailable: there is no Docker engine.
    """
    identity = folder.identity()
    host = ServingHost.connect()
    gateway = host.ensure_network(identity.network, identity.labels)
    certificates = ensure_certificates(folder.certificates)
    logins = Logins(identity, certificates)
    registry = Registry(folder.registry, identity, certificates, logins)
    state = State(folder.database, die=settings.die)
    jobs = Jobs(at_once=_JOBS_AT_ONCE)
    return Platform(folder, identity, settings, state, host, registry, logins, jobs, gateway)


def _serve(platform: Platform, presets: list[str]) -> None:
    """Answer calls until a signal comes.

    Raises:
        Unavailable: the port is taken, or there is no registry.
    """
    addresses = (LOOPBACK, platform.gateway)
    sockets = [_listen(address, platform.identity.port) for address in addresses]
    containers, images = Containers(platform), Images(platform)
    saving = Saving(platform, containers)
    real_time, batches = RealTime(platform), Batches(platform)
    tasks = real_time.gateway.tasks = Tasks(platform, real_time.gateway.send)
    images.offer_presets(presets)
    platform.registry.start()
    app = make_app(
        platform,
        [
            *modelarts_calls(platform, saving, images, containers),
            *swr_calls(Swr(platform)),
            *real_time.calls(batches),
            *building_calls(platform),
        ],
        [
            *registry_token(platform),
            *real_time.unsigned_calls(),
            ("GET", "/local/status", lambda _: Answer({"platform": platform.identity.id})),
        ],
        {
            **dict.fromkeys(PREFIXES.values(), real_time.gateway),
            CONSOLE: console(platform, real_time.services),
        },
    )
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,  # the gateway says who answers
        ws=cast("type[asyncio.Protocol]", real_time.gateway.websocket),
        timeout_graceful_shutdown=_GRACE_S,
    )
    # uvicorn raises the signal once more when it has ended: without these that would end us too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    containers.clean()
    real_time.start()
    platform.jobs.watch(
        platform.registry.watch,
        containers.look,
        containers.resume,
        saving.resume,
        real_time.resume,
        batches.resume,
        tasks.resume,
    )
    for folder in (platform.folder.sfs, platform.folder.warm_up):
        folder.mkdir(exist_ok=True)
    write_secret(platform.folder.app, json.dumps(app_of(platform.identity)))
    platform.folder.describe(
        {
            "pid": os.getpid(),
            "endpoint": endpoint(platform, LOOPBACK),
            "gateway_endpoint": endpoint(platform, platform.gateway),
            "registry": platform.registry.host,
            "project_id": platform.identity.project_id,
            "credentials_file": str(platform.folder.credentials),
            "network": platform.identity.network,
            "obs_folder": str(platform.folder.obs),
            "sfs_folder": str(platform.folder.sfs),
            "warm_up_folder": str(platform.folder.warm_up),
            "app_file": str(platform.folder.app),
        }
    )
    uvicorn.Server(config).run(sockets)
    platform.jobs.begin_stop()
    platform.jobs.join()
    tasks.end()
    batches.end()
    real_time.join()


def _halt(platform: Platform) -> None:
    """End what runs: instances stop, a save that is under way is begun again by the next start."""
    Containers(platform).stop_all()
    RealTime(platform).stop_all()
    Batches(platform).end()
    platform.registry.stop()
    platform.state.close()
    platform.folder.description.unlink(missing_ok=True)


def _purge(platform: Platform) -> None:
    """Remove every container, volume, image, network and file of this platform."""
    label = f"{LABEL}={platform.identity.id}"
    for container in platform.host.find(label):
        platform.host.remove(container.name)
    platform.host.remove_volumes(label)
    platform.host.remove_images(f"{platform.registry.host}/")
    platform.host.remove_images(f"{platform.identity.images}:")
    platform.host.remove_network(platform.identity.network)
    shutil.rmtree(platform.folder.root)


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        raise Unavailable(
            f"{address}:{port} cannot be listened on ({error.strerror}).\n"
            "The port is part of the addresses of this platform: end what uses it, or choose "
            "another --folder."
        ) from error
    listener.listen(128)
    listener.set_inheritable(False)
    return listener


if __name__ == "__main__":
    sys.exit(main())
