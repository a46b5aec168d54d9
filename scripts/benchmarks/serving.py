"""The serving benchmark: this project's runtime beside its peers, in one command.

Everything, about 15 minutes; then a quick look at two of them; then kept in the tree::

    python -m benchmarks.serving
    python -m benchmarks.serving --only ours,vertex --rounds 1 --seconds 1 --window 5
    python -m benchmarks.serving --keep
"""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.drills import answer_to_text, drill_sigterm, health_without_weights
from benchmarks.environments import Environment, NotInstalled, install_base, install_peer
from benchmarks.floor import CONNECTIONS, Floor, measure_floor
from benchmarks.load import Load, ensure_wrk, run_load
from benchmarks.machine import this_machine
from benchmarks.page import render_page
from benchmarks.peer import ROOT_DIR, Peer, choose_peers
from benchmarks.picture import draw_picture
from benchmarks.processes import Installed, NotServing, started
from benchmarks.results import Results, Round, Row
from benchmarks.workload import Workload, prepare_workload
from custom_image.errors import CustomImageError

BUILD_DIR = ROOT_DIR / "build" / "benchmarks"
KEPT_DIR = Path(__file__).parent
WARM_UP_S = 1


def say(words: str) -> None:
    """Say how far it is."""
    typer.echo(f"{time.strftime('%H:%M:%S')} {words}", err=True)


def main(
    only: Annotated[str, typer.Option(help="names of peers, or their beginnings, by comma")] = "",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="of each load")] = 4,
    connections: Annotated[str, typer.Option(help="numbers by comma")] = "1,8,64",
    window: Annotated[
        float, typer.Option(help="seconds of requests after SIGTERM; 0: no drill")
    ] = 60,
    keep: Annotated[
        bool, typer.Option(help="write results.md, .json and .png into the tree")
    ] = False,
) -> None:
    """Measure this project's serving runtime beside its peers."""
    machine = this_machine()
    try:
        peers = choose_peers([name for name in only.split(",") if name])
        ensure_wrk()
    except CustomImageError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    numbers = [int(number) for number in connections.split(",")]
    say("preparing the model and the shared environment")
    workload = prepare_workload(BUILD_DIR / "workload")
    base = install_base(BUILD_DIR)

    rows = {peer.name: Row(peer.name, peer.title) for peer in peers}
    installed = {
        peer.name: found
        for peer in peers
        if (found := install(peer, base, workload, machine.cores, rows[peer.name]))
    }
    floors: list[Floor] = []
    for number in range(rounds):
        names = list(installed)
        # Each round begins with another peer, so that none is always the first after a pause.
        start = number % len(names) if names else 0
        for name in names[start:] + names[:start]:
            if not rows[name].not_run:
                say(f"round {number + 1} of {rounds}: {rows[name].title}")
                measure(installed[name], rows[name], numbers, seconds)
        if rates := rates_of_round(list(rows.values()), number):
            say(f"round {number + 1} of {rounds}: the floor")
            floors.append(
                measure_floor(
                    base, workload, workers=machine.cores, seconds=seconds, client_rate=max(rates)
                )
            )
    running = {name: one for name, one in installed.items() if not rows[name].not_run}
    drill(running, rows, window)

    results = Results(
        machine=machine,
        rounds=rounds,
        seconds=seconds,
        connections=numbers,
        workers=machine.cores,
        base_mb=base.installed_mb,
        window_s=window,
        floors=floors,
        rows=list(rows.values()),
    )
    write(results, keep=keep)


def rates_of_round(rows: list[Row], number: int) -> list[float]:
    """Return what the peers reached in one round at the floor's number of connections."""
    loads = [row.rounds[number].loads for row in rows if len(row.rounds) > number]
    return [each[CONNECTIONS].requests_per_s for each in loads if CONNECTIONS in each]


def install(
    peer: Peer, base: Environment, workload: Workload, workers: int, row: Row
) -> Installed | None:
    """Install a peer and note its size and versions, or the reason why it cannot be."""
    say(f"installing {peer.title}")
    try:
        environment = install_peer(peer, base, BUILD_DIR)
        installed = Installed(
            peer, environment, BUILD_DIR / peer.family / peer.name, workload, workers
        )
        installed.lay_out()
    except (NotInstalled, FileNotFoundError) as error:
        row.not_run = f"not installed: {error}"
        say(f"NOT RUN {peer.title}: {error}")
        return None
    row.installed_mb = environment.installed_mb
    row.versions = environment.versions
    row.version = ", ".join(f"{name} {row.versions[name]}" for name in peer.versions_of)
    return installed


def measure(installed: Installed, row: Row, connections: list[int], seconds: int) -> None:
    """Add one round to a row, or the reason why there is none."""
    try:
        with started(installed, drain_s=0) as server:
            ready_s, first_prediction_s = server.wait_until_ready()
            workload = installed.workload
            run_load(server.url, workload, connections=max(connections), seconds=WARM_UP_S)
            loads: dict[int, Load] = {
                number: run_load(server.url, workload, connections=number, seconds=seconds)
                for number in connections
            }
            pss_mb = server.pss_mb()
            if not server.is_right():
                raise NotServing("it no longer answers rightly after the load")
            if not row.rounds:
                row.answer_to_text = answer_to_text(server)
            row.rounds.append(Round(ready_s, first_prediction_s, loads, pss_mb))
    except NotServing as error:
        row.not_run = f"round {len(row.rounds) + 1}: {error}"
        say(f"NOT RUN {row.title}: {error}")


def drill(installed: dict[str, Installed], rows: dict[str, Row], window_s: float) -> None:
    """Fill in the behaviour of every row that serves; the long waits run side by side."""
    for name, one in installed.items():
        say(f"missing weights: {rows[name].title}")
        wait_s = 3 + 2 * rows[name].of_rounds(lambda each: each.ready_s)
        rows[name].health_without_weights = health_without_weights(one, wait_s)
    if not window_s or not installed:
        return
    say(f"SIGTERM, all at once: up to {window_s + 40:.0f} s")

    def fill(name: str) -> None:
        try:
            rows[name].sigterm = drill_sigterm(installed[name], window_s)
            say(f"SIGTERM: {rows[name].title} done")
        except NotServing as error:
            rows[name].not_run = f"SIGTERM drill: {error}"

    with ThreadPoolExecutor(len(installed)) as pool:
        list(pool.map(fill, installed))


def write(results: Results, *, keep: bool) -> None:
    """Write the JSON, the page and the picture below build/, and into the tree if asked."""
    BUILD_DIR.mkdir(parents=True, exist_ok=True)
    (BUILD_DIR / "results.json").write_text(results.to_json() + "\n")
    if results.measured:
        draw_picture(results, BUILD_DIR / "results.png")
    page = render_page(results, "results.png")
    (BUILD_DIR / "results.md").write_text(page)
    if keep:
        for name in ("results.json", "results.png", "results.md"):
            shutil.copy2(BUILD_DIR / name, KEPT_DIR / name)
    typer.echo(page)


if __name__ == "__main__":
    typer.run(main)
