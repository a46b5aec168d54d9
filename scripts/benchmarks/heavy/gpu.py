r"""A ResNet-50 in half precision: copies for each worker beside one copy with batches.

On a bare machine with torch and a GPU, ten minutes; on a CPU with a smaller network, to try it::

    python -m pip install --target build/gpu_site numpy pillow uvicorn uvloop httptools \
        litserve==0.2.19 python-multipart
    PYTHONPATH=build/gpu_site:scripts python -m benchmarks.heavy.gpu
    PYTHONPATH=scripts .venv/bin/python -m benchmarks.heavy.gpu --small

The first line runs where there is a network; its folder goes along with the tree. Nothing of this
project is imported but the runtime and what lies beside this file. LitServe is a row where it is
installed, and NOT RUN where it is not.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.heavy.client import Load, load, quantile, request
from benchmarks.heavy.servers import (
    Server,
    runtime,
    started,
    wait_for_workers,
    wait_until_answers,
    warm_up,
)
from benchmarks.heavy.services import write_package

# The network of https://arxiv.org/abs/1512.03385, table 1, without torchvision; weights are random.
RESNET = """
import io
import sys

import numpy as np
import torch
from PIL import Image
from torch import nn

from model_service.pytorch_model_service import PTServingBaseService

SMALL = SMALL_HERE
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALF = torch.float16 if DEVICE == "cuda" else torch.float32
SIDE, WIDTH, BLOCKS = (64, 8, (1, 1, 1, 1)) if SMALL else (224, 64, (3, 4, 6, 3))


def convolution(before, after, kernel, stride=1):
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after))


class Bottleneck(nn.Module):
    def __init__(self, before, width, stride):
        super().__init__()
        after = 4 * width
        self.body = nn.Sequential(
            convolution(before, width, 1), nn.ReLU(),
            convolution(width, width, 3, stride), nn.ReLU(),
            convolution(width, after, 1),
        )
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else convolution(before, after, 1, stride)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


def make_network():
    layers = [convolution(3, WIDTH, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = WIDTH
    for stage, number in enumerate(BLOCKS):
        for block in range(number):
            stride = 2 if stage and not block else 1
            layers.append(Bottleneck(before, WIDTH * 2**stage, stride))
            before = 4 * WIDTH * 2**stage
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 1000)]
    return nn.Sequential(*layers).eval().to(DEVICE, HALF)


class ResNet(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        self.model = make_network()

    def _preprocess(self, data):
        (file,) = data["images"].values()
        picture = Image.open(file).convert("RGB").resize((SIDE, SIDE))
        return torch.from_numpy(np.asarray(picture)[None].copy())  # (1, side, side, 3) uint8

    def _inference(self, data):
        with torch.inference_mode():
            pictures = data.to(DEVICE).permute(0, 3, 1, 2).to(HALF) / 255
            return self.model(pictures).argmax(1).cpu()

    def _postprocess(self, data):
        return {"class": int(data[0])}
"""
BARE_LOOP = """
import time
import torch
from customize_service import ResNet, SIDE

service = ResNet("model", ".")
pictures = torch.zeros((32, SIDE, SIDE, 3), dtype=torch.uint8)
service._inference(pictures)
began, rounds = time.perf_counter(), 0
while time.perf_counter() - began < 5:
    service._inference(pictures)
    rounds += 1
print(32 * rounds / (time.perf_counter() - began))
"""
BOUNDARY = "a-boundary"
BATCH = 32


def upload() -> bytes:
    """Return a request with a JPEG of 224 x 224 pixels."""
    import numpy as np
    from PIL import Image

    target = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (28, 28, 3), dtype="uint8")
    Image.fromarray(noise).resize((224, 224)).save(target, "jpeg")
    part = 'Content-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    body = (
        f"--{BOUNDARY}\r\n{part}".encode() + target.getvalue() + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    return request("/", body, f"multipart/form-data; boundary={BOUNDARY}")


def say(words: str) -> None:
    """Print a line at once: the machine may be taken away."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def gpu_mb() -> float:
    """Return the memory that is used on the first GPU; 0 without one."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, IndexError):
        return float(subprocess.run(command, capture_output=True, text=True).stdout.split()[0])
    return 0.0


def load_from_processes(port: int, asked: bytes, clients: int, seconds: float) -> Load:
    """Load from as many processes as it takes not to measure the client."""
    number = min(4, clients, max(1, len(os.sched_getaffinity(0)) // 4))
    share = [clients // number] * number
    with ProcessPoolExecutor(number) as pool:
        jobs = [pool.submit(load, port, asked, each, seconds) for each in share]
        found = [job.result() for job in jobs]
    whole = Load(seconds)
    for one in found:
        whole.latencies_s += one.latencies_s
        whole.refused += one.refused
        whole.failed += one.failed
    return whole


@contextmanager
def serve_by_lit_serve(
    folder: Path, package: Path, port: int, environment: Mapping[str, str], asked: bytes
) -> Iterator[Server]:
    """Start LitServe with the same package, and wait until it answers."""
    script = Path(__file__).parent / "peers" / "lit_serve_resnet.py"
    command = [sys.executable, str(script), str(port), str(package), str(BATCH)]
    with started(command, port, folder, environment) as server:
        wait_until_answers(server, asked)
        yield server


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="a small network, few clients")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--port", type=int, default=18_080)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmarks/gpu"))
    given = parser.parse_args()
    folder = given.folder.absolute()
    service = RESNET.replace("SMALL_HERE", str(given.small))
    clients = (2, 8) if given.small else (8, 32, 128)
    cores = len(os.sched_getaffinity(0))
    one_copy = {"MODEL_PROCESSES": "1", "BATCH_SIZE": str(BATCH), "WORKERS": str(min(16, cores))}
    rows = {
        "1 worker": {"WORKERS": "1"},
        "4 workers": {"WORKERS": "4"},
        "WORKERS=auto": {"WORKERS": "auto"},
        f"one copy, batches of {BATCH}": one_copy,
        "one copy, batches of 64": {**one_copy, "BATCH_SIZE": "64"},
        "one copy, gunicorn-gevent": {**one_copy, "MODEL_SERVER": "gunicorn-gevent"},
    }
    lit_serve = f"LitServe, batches of {BATCH}, 1 worker"
    say(f"{cores} cores, {time.strftime('%Y-%m-%d %H:%M')}, GPU {gpu_mb():.0f} MB used before")
    package = write_package(folder / "bare", service)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[3] / "model_package"), os.environ.get("PYTHONPATH", "")]
        ),
    }
    rate = subprocess.run(
        [sys.executable, "-c", BARE_LOOP],
        cwd=package,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    say(f"bare loop, batches of 32: {float(rate):.0f} pictures/s")
    say("| | " + " | ".join(f"req/s at {n} | p99 ms" for n in clients) + " | GPU MB |")
    asked = upload()
    for number, (name, settings) in enumerate({**rows, lit_serve: {}}.items()):
        cells = []
        port = given.port + number
        if name == lit_serve and not importlib.util.find_spec("litserve"):
            say(f"| {name} | NOT RUN: litserve is not installed |")
            continue
        with (
            runtime(folder / str(number), service, port, asked, **settings)
            if settings
            else serve_by_lit_serve(folder / str(number), package, port, environment, asked)
        ) as server:
            if settings.get("WORKERS") == "auto":
                time.sleep(given.seconds)  # more start while there is room
            elif settings:
                wait_for_workers(port, int(settings["WORKERS"]))
            warm_up(port, asked, clients[-1])
            for each in clients:
                one = load_from_processes(port, asked, each, given.seconds)
                refused = f" ({one.refused} refused)" if one.refused else ""
                p99_ms = quantile(one.latencies_s, 0.99) * 1000
                cells += [f"{one.good_per_s:.0f}{refused}", f"{p99_ms:.0f}"]
            cells.append(f"{gpu_mb():.0f}")
            log = server.log.read_text()
        say(f"| {name} | " + " | ".join(cells) + " |")
        if log:
            say("\n".join(f"    {line}" for line in log.splitlines()[-3:]))


if __name__ == "__main__":
    main()
