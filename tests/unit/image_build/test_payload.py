"""Large weights are spread over layers, each below the limit, and lose nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from custom_image.build_context import payload
from custom_image.errors import PackageError
from custom_image.settings import find_project
from custom_image.specification import GB, LAYER_SIZE, PUSHED_LAYERS

LAYER_BYTES = 100_000


def spread(folder: Path, sizes: dict[str, int], layers: int = 8) -> Path:
    weights = {}
    for name, size in sizes.items():
        path = folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        weights[name] = path

    def link(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)

    payload.spread(weights, folder / "weights", layers, link, LAYER_BYTES)
    return folder / "weights"


def test_whole_files_share_layers_below_the_limit(tmp_path):
    sizes = {"a.bin": 60_000, "b.bin": 60_000, "deep/c.bin": 30_000}

    weights = spread(tmp_path, sizes)

    found = {path.relative_to(weights).as_posix() for path in weights.rglob("*") if path.is_file()}
    assert found == {"0/a.bin", "1/b.bin", "0/deep/c.bin"}
    assert sorted(path.name for path in weights.iterdir()) == [str(n) for n in range(8)]


def test_a_file_that_fits_nowhere_is_whole_again_after_the_boot_file(tmp_path):
    weights = spread(tmp_path, {"large file.bin": 250_000, "small.bin": 10})
    model = tmp_path / "infer" / "model" / "1"
    model.mkdir(parents=True)
    for layer in sorted(weights.iterdir()):
        assert sum(p.stat().st_size for p in layer.rglob("*")) < LAYER_BYTES
        for path in layer.iterdir():
            os.link(path, model / path.name)
    boot = find_project() / "docker/rootfs/home/ma-user/infer/run.sh"
    (tmp_path / "infer" / "run.sh").write_bytes(boot.read_bytes())

    # Nothing to serve here: the boot file joins, then cannot find the server, and says so.
    for _ in range(2):
        subprocess.run(["dash", tmp_path / "infer" / "run.sh"], capture_output=True, env={})

    whole = (tmp_path / "model" / "large file.bin").read_bytes()
    assert (model / "large file.bin").read_bytes() == whole
    assert not list(model.glob("*.new"))


def test_what_does_not_fit_is_refused_by_name(tmp_path):
    with pytest.raises(PackageError, match=r"do not fit into 2 layers.*b\.bin"):
        spread(tmp_path, {"a.bin": 60_000, "b.bin": 60_001, "c.bin": 60_000}, layers=2)


def test_the_dockerfiles_have_the_layers_that_their_scenario_needs():
    docker = find_project() / "docker"
    own = (docker / "ecs_build/Dockerfile").read_text()
    layers = payload.count_layers(own)

    assert layers == 8
    assert payload.count_layers((docker / "dockerfile_build/Dockerfile").read_text()) == 0
    last_stage = own[own.rindex("\nFROM ") :]
    others = sum(line.startswith(("RUN ", "COPY ")) for line in last_stage.splitlines()) - layers
    slim_python = 5
    assert layers + others + slim_python <= PUSHED_LAYERS.value
    assert 0.99 * LAYER_SIZE.value * GB < payload.LAYER_BYTES < LAYER_SIZE.value * GB


def test_both_scenarios_are_the_same_but_for_the_weights():
    lines = {
        slug: [
            line
            for line in (find_project() / f"docker/{slug}/Dockerfile").read_text().splitlines()
            if line and not line.startswith("#") and " weights/" not in line
        ]
        for slug in ("ecs_build", "dockerfile_build")
    }

    assert lines["ecs_build"] == lines["dockerfile_build"]
