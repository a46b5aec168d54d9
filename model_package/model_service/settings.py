"""Settings from the environment: ``docker run -e``, ``ENV``, the form of the service."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from model_service.inference.one_copy import read_batch_size
from model_service.processes.board import Limit
from model_service.processes.cpus import count_cpus
from model_service.processes.memory import read_gpus

T = TypeVar("T")

SERVERS = ("uvicorn", "gunicorn-gevent")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
THREADS = ("auto", "never", "always")


class SettingsError(Exception):
    """An environment variable cannot be used; the message says what was expected and found."""


class Workers(int):
    """How many workers may run.

    Attributes:
        by: what decided that; by the cores, fewer run where memory or GPUs have no room for more.
    """

    by: Limit

    def __new__(cls, number: int, by: Limit) -> Workers:
        """Make the number."""
        self = super().__new__(cls, number)
        self.by = by
        return self


@dataclass(frozen=True)
class Settings:
    """All settings; each field is the environment variable of the same name.

    Attributes:
        weights_path: where the weights are, where they are mounted beside the package.
        drain_seconds: how long after SIGTERM requests are still served, new connections too.
        exit_seconds: when after SIGTERM the process is gone, whatever clients do.
        keep_alive_seconds: how long an idle connection stays open.
        predict_timeout_seconds: 0 for never, as asynchronous services want it.
        predict_in_threads: ``auto`` lets measurement decide: :mod:`model_service.inference.lane`.
        workers: how many may run; of ``auto``, what the cores allow.
        workers_per_gpu: of ``auto``, where the model is on a GPU.
        model_processes: how many hold the model, while workers decode and encode; 0: each worker.
        model_threads: what a model process computes in, at once.
        batch_size: inputs that a model process runs together, at most.
        batch_wait_ms: how long it waits for a batch to fill.
        predict_threads: predictions that run at once in one worker, where they run in threads.
        max_waiting: predictions of one worker that may wait for a thread.
    """

    host: str
    port: int
    model_path: Path
    weights_path: Path | None
    model_name: str
    model_server: str
    workers: Workers
    workers_per_gpu: int
    drain_seconds: float
    exit_seconds: float
    health_while_draining: int
    keep_alive_seconds: float
    header_seconds: float
    body_seconds: float
    predict_timeout_seconds: float
    model_processes: int
    model_threads: int
    batch_size: int
    batch_wait_ms: float
    predict_in_threads: str
    predict_threads: int
    max_waiting: int
    max_connections: int
    max_body_bytes: int
    log_level: str

    @property
    def farewell_seconds(self) -> float:
        """How long before the drain ends responses start to carry ``Connection: close``."""
        return min(5.0, self.drain_seconds / 4)

    @property
    def spare_seconds(self) -> float:
        """How long the supervisor keeps for killing what did not leave by itself."""
        return min(2.0, (self.exit_seconds - self.drain_seconds) / 4)

    @property
    def finish_seconds(self) -> float:
        """How long workers may take, after the drain, to answer what they have accepted."""
        return max(1.0, self.exit_seconds - self.drain_seconds - 2 * self.spare_seconds)

    @property
    def linger_seconds(self) -> float:
        """How long a fresh connection may take, after the drain, to bring its request."""
        return min(1.0, self.farewell_seconds)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read every setting, each with its default.

    Raises:
        SettingsError: a value cannot be used.
    """

    def read(name: str, default: str, convert: Callable[[str], T], expected: str) -> T:
        text = environment.get(name, "").strip() or default
        try:
            return convert(text)
        except (ValueError, KeyError):
            raise SettingsError(f"{name}: expected {expected}, found {text!r}.") from None

    def number(name: str, default: float, low: float = 0, high: float = 1e9) -> float:
        return read(name, str(default), _between(float, low, high), f"a number from {low:g} up")

    def whole(name: str, default: int, low: int = 1, high: int = 2**40) -> int:
        return read(name, str(default), _between(int, low, high), f"a whole number from {low} up")

    def one_of(name: str, values: tuple[str, ...]) -> str:
        return read(name, values[0], {v: v for v in values}.__getitem__, " or ".join(values))

    settings = Settings(
        host=environment.get("HOST", "") or "0.0.0.0",
        port=read("PORT", "8080", _between(int, 0, 65535), "a TCP port, or 0 for any free one"),
        model_path=_model_path(environment),
        weights_path=_weights_path(environment),
        model_name=environment.get("MODEL_NAME", "") or "model",
        model_server=one_of("MODEL_SERVER", SERVERS),
        workers=read("WORKERS", "auto", _workers, "auto or a whole number from 1 up"),
        workers_per_gpu=whole("WORKERS_PER_GPU", 1),
        drain_seconds=number("DRAIN_SECONDS", 60),
        exit_seconds=number("EXIT_SECONDS", 85),
        health_while_draining=int(one_of("HEALTH_WHILE_DRAINING", ("200", "503"))),
        keep_alive_seconds=number("KEEP_ALIVE_SECONDS", 200),
        header_seconds=number("HEADER_SECONDS", 20),
        body_seconds=number("BODY_SECONDS", 60),
        predict_timeout_seconds=number("PREDICT_TIMEOUT_SECONDS", 60),
        model_processes=read(
            "MODEL_PROCESSES", "0", _model_processes, "gpu or a whole number from 0 up"
        ),
        model_threads=0,
        batch_size=whole("BATCH_SIZE", 0, 0),
        batch_wait_ms=number("BATCH_WAIT_MS", 2),
        predict_in_threads=one_of("PREDICT_IN_THREADS", THREADS),
        predict_threads=whole("PREDICT_THREADS", 1),
        max_waiting=whole("MAX_WAITING", 64),
        max_connections=whole("MAX_CONNECTIONS", 1000),
        max_body_bytes=whole("MAX_BODY_BYTES", 12 * 2**20),
        log_level=read("LOG_LEVEL", "INFO", _log_level, " or ".join(LOG_LEVELS)),
    )
    if settings.exit_seconds <= settings.drain_seconds:
        raise SettingsError(
            f"EXIT_SECONDS: expected more than DRAIN_SECONDS ({settings.drain_seconds:g}), "
            f"found {settings.exit_seconds:g}."
        )
    return _share_one_copy(settings, environment)


def _share_one_copy(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Return the settings for a model in processes of its own, where that is asked for.

    Source: ``batch_size`` of the service's class, unless MODEL_PROCESSES says otherwise.
    """
    size, processes = settings.batch_size, settings.model_processes
    if not environment.get("MODEL_PROCESSES", "").strip():
        of_class = read_batch_size(settings.model_path)
        size, processes = size or of_class, int(of_class > 1)
    if not processes:
        return settings
    # Half of the CPUs: workers need the others, and threads of one model wait for each other.
    half = max(1, count_cpus() // (2 * processes))
    threads = environment.get("MODEL_THREADS", "").strip() or str(half)
    if not threads.isdigit() or not int(threads):
        raise SettingsError(f"MODEL_THREADS: expected a whole number from 1 up, found {threads!r}.")
    return dataclasses.replace(
        settings,
        model_processes=processes,
        model_threads=int(threads),
        batch_size=max(1, size),
        # A thread for each request that waits for the model; only one at a time computes.
        predict_in_threads="always",
        predict_threads=max(settings.predict_threads, settings.max_waiting),
    )


def _model_processes(text: str) -> int:
    return max(1, len(read_gpus())) if text == "gpu" else _between(int, 0, 64)(text)


def _between(kind: Callable[[str], T], low: float, high: float) -> Callable[[str], T]:
    def convert(text: str) -> T:
        value = kind(text)
        if not low <= value <= high:  # type: ignore[operator]
            raise ValueError(text)
        return value

    return convert


def _workers(text: str) -> Workers:
    if text == "auto":
        return Workers(count_cpus(), Limit.CORES)
    return Workers(_between(int, 1, 1024)(text), Limit.SETTING)


def _log_level(text: str) -> str:
    return LOG_LEVELS[LOG_LEVELS.index(text.upper())]


def _weights_path(environment: Mapping[str, str]) -> Path | None:
    text = environment.get("WEIGHTS_PATH", "")
    return Path(text).absolute() if text else None


def _model_path(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("MODEL_PATH", "") or _beside_this_package()).absolute()


def _beside_this_package() -> Path:
    return Path(__file__).parent.parent / "model" / "1"
