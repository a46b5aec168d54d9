"""Workers that fit: by cores, by memory, by GPUs; and fewer where the kernel kills them."""

from __future__ import annotations

import dataclasses
import os
import stat

import pytest
from runtime import wait_for, write_package
from sleeper import SLEEPER, SLEEPER_CONFIG

from model_service.processes.board import Board, Limit, State
from model_service.processes.memory import Gpu, Room, count_kills, read_room
from model_service.processes.sizing import Sizing
from model_service.settings import Workers, read_settings

GB = 10**9
MEMINFO = "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   12000000 kB\n"


@pytest.fixture
def size():
    """Let workers come up under some memory; return the sizing and the board, when it decided."""

    def size(cores: int, *, limit_gb=64.0, free_gb=64.0, each_gb=1.0, gpus=(), **environment):
        settings = read_settings(environment)
        settings = dataclasses.replace(settings, workers=Workers(cores, Limit.CORES))
        board = Board(cores, 0)
        running: dict[int, int] = {}
        looks = iter([*gpus, *[gpus[-1]] * 9] if gpus else [[]] * 9)
        sizing = Sizing(
            settings,
            board,
            read_room=lambda: Room(
                int(limit_gb * GB), int((free_gb - each_gb * len(running)) * GB)
            ),
            count_kills=lambda: 0,
            read_worker_bytes=lambda _pid: int(each_gb * GB),
            read_gpus=lambda: next(looks),
        )
        for _ in range(4):
            for slot in range(len(running), sizing.number):
                running[slot] = 1000 + slot
                board.set_state(slot, State.READY)
            sizing.look(running)
        return sizing, board

    return size


def test_as_many_as_cores_where_memory_has_room(size):
    sizing, board = size(8)
    assert sizing.number == 8
    assert board.decision() == (8, Limit.CORES, GB)


def test_no_more_than_the_limit_has_room_for_with_a_margin(size):
    sizing, board = size(8, limit_gb=32, free_gb=32, each_gb=8)
    assert sizing.number == 3  # the fourth would need the margin
    assert board.decision()[:2] == (3, Limit.MEMORY)


def test_one_always_runs(size):
    assert size(8, limit_gb=10, free_gb=9, each_gb=9)[0].number == 1


def test_one_for_a_gpu_unless_told_otherwise(size):
    before, after = [Gpu("0", 0, 80 * GB)], [Gpu("0", 8 * GB, 72 * GB)]
    sizing, board = size(16, gpus=(before, after))
    assert sizing.number == 1
    assert board.decision()[1] is Limit.GPU

    assert size(16, gpus=(before, after), WORKERS_PER_GPU="4")[0].number == 4
    # Of 80 GB 8 are taken, 8 are left free, and 8 more workers fit into the rest.
    assert size(16, gpus=(before, after), WORKERS_PER_GPU="16")[0].number == 9


def test_a_worker_for_each_gpu_that_sees_its_own(size):
    before = [Gpu(str(i), 0, 80 * GB) for i in range(4)]
    after = [Gpu("0", 8 * GB, 72 * GB), *before[1:]]
    sizing, _ = size(16, gpus=(before, after))
    assert sizing.number == 4
    assert [sizing.gpu_of_slot(slot) for slot in range(4)] == ["0", "1", "2", "3"]


def test_one_worker_where_the_model_is_spread_over_gpus(size):
    before = [Gpu(str(i), 0, 80 * GB) for i in range(2)]
    after = [Gpu(str(i), 70 * GB, 10 * GB) for i in range(2)]
    assert size(16, gpus=(before, after))[0].number == 1


def test_a_gpu_that_the_model_does_not_use_limits_nothing(size):
    idle = [Gpu("0", 5 * GB, 75 * GB)]
    assert size(4, gpus=(idle, idle))[0].number == 4


def test_room_is_read_from_both_kinds_of_cgroup_and_from_the_machine(tmp_path):
    proc, v1, v2 = tmp_path / "proc", tmp_path / "v1", tmp_path / "v2"
    proc.mkdir()
    (proc / "meminfo").write_text(MEMINFO)
    assert read_room(tmp_path / "none", proc) == Room(16_384_000_000, 12_288_000_000)

    (v1 / "memory").mkdir(parents=True)
    (v1 / "memory" / "memory.limit_in_bytes").write_text("1000000\n")
    (v1 / "memory" / "memory.usage_in_bytes").write_text("900000\n")
    (v1 / "memory" / "memory.stat").write_text("cache 500000\ntotal_inactive_file 400000\n")
    (v1 / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\noom_kill 3\n")
    assert read_room(v1, proc) == Room(1_000_000, 500_000)
    assert count_kills(v1) == 3

    v2.mkdir()
    (v2 / "memory.max").write_text("2000000\n")
    (v2 / "memory.current").write_text("1500000\n")
    (v2 / "memory.stat").write_text("anon 5\ninactive_file 0\n")
    (v2 / "memory.events").write_text("oom 2\noom_kill 1\n")
    assert read_room(v2, proc) == Room(2_000_000, 500_000)
    assert count_kills(v2) == 1
    (v2 / "memory.max").write_text("max\n")
    assert read_room(v2, proc).limit_bytes == 16_384_000_000


def test_auto_starts_a_worker_for_each_core_and_says_so(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, WORKERS="auto").wait_until_ready()

    wait_for(lambda: "workers: " in runtime.logs() or len(runtime.workers()) == 1, "the decision")
    metrics = runtime.metrics()
    assert metrics['model_service_workers_decided{by="cores"}'] >= 1


# Shows the memory of a GPU: little before a worker has loaded, much afterwards.
NVIDIA_SMI = """#!/bin/sh
if [ -e {mark} ]; then echo '0, 9000, 71000'; else echo '0, 10, 79990'; fi
"""


def test_a_model_on_the_gpu_gets_one_worker(start, tmp_path, profile, monkeypatch):
    mark, program = tmp_path / "loaded", tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(NVIDIA_SMI.format(mark=mark))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    marking = f"import os\nif not os.path.exists({str(mark)!r}): os.symlink('/', {str(mark)!r})\n"
    code = marking + SLEEPER
    package = write_package(tmp_path / "gpu", code, SLEEPER_CONFIG)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core allows one worker anyway")

    runtime = start(package, MODEL_SERVER=profile, WORKERS="auto").wait_until_ready()

    wait_for(lambda: "by gpu" in runtime.logs(), "the decision")
    assert len(runtime.workers()) == 1
    assert runtime.metrics()['model_service_workers_decided{by="gpu"}'] == 1
