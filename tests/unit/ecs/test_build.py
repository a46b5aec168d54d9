"""What needs no server: the estimate, the forecast, and reading what builders say."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace

import pytest

from custom_image.build_context import BuildContext
from custom_image.ecs import Estimate, Forecast, Limits, estimate_size
from custom_image.ecs.image_build.logs import BuildKitLog, ClassicLog
from custom_image.ecs.push.plan import forecast
from custom_image.ecs.server.server import _has_buildkit
from custom_image.errors import PackageError
from custom_image.registry_client import Blob
from custom_image.specification import GB

BUILDKIT = """\
#4 [internal] load build context
#6 [dependencies 1/2] FROM docker.io/library/base
#7 [stage-2 2/4] RUN sed -i x /etc/passwd
#7 CACHED
#8 [dependencies 2/2] RUN pip install
#8 0.213 the reason
#9 [stage-2 3/4] COPY --from=dependencies /opt/serving /opt/serving
#9 DONE 0.1s
#10 [stage-2 4/4] RUN false
#10 ERROR: executor failed running [/bin/sh -c false]: exit code: 1
"""
CLASSIC = """\
Step 1/3 : ARG BASE_IMAGE
Step 2/3 : FROM ${BASE_IMAGE}
 ---> fcacadedc532
Step 3/3 : RUN exit 7
 ---> Running in 0123456789ab
The command '/bin/sh -c exit 7' returned a non-zero code: 7
"""


@pytest.fixture
def context(tmp_path) -> BuildContext:
    (tmp_path / "wheelhouse").mkdir()
    for name, size in (("numpy-1-any.whl", 10_000_000), ("pip-1-any.whl", 5_000_000)):
        with zipfile.ZipFile(tmp_path / "wheelhouse" / name, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("data", bytes(size))
    (tmp_path / "weights" / "0").mkdir(parents=True)
    (tmp_path / "weights" / "0" / "mnist.onnx").write_bytes(bytes(3_000_000))
    (tmp_path / ".dockerignore").write_text("")
    return BuildContext(tmp_path, "ecs_build", "digest")


def test_the_estimate_adds_up_wheels_weights_and_base(context):
    estimate = estimate_size(context, base_bytes=100_000_000)

    assert dict(estimate.parts) == {
        "base image": 100_000_000,
        "Python packages": 7_900_000,
        "weights/0/mnist.onnx": 3_000_000,
        "code and settings": 0,
    }
    assert estimate.total_bytes == 110_900_000
    assert "a notebook instance would do" in estimate.advice
    estimate.check()


@pytest.mark.parametrize(
    ("size_gb", "words"),
    [(35, "a notebook instance would do"), (36, "a server it is"), (51, "more than the platform")],
)
def test_the_size_decides_the_scenario(size_gb, words):
    estimate = Estimate((("weights/0/model.bin", size_gb * GB),))

    assert words in estimate.advice
    assert words in str(estimate)
    assert words in estimate._repr_html_()


def test_above_50_gb_the_largest_parts_are_named(context):
    with pytest.raises(PackageError, match=r"51\.0 GB.*50\.0 GB; nothing was sent") as refused:
        Estimate((("weights/0/a.bin", 40 * GB), ("weights/1/b.bin", 11 * GB))).check()

    assert "weights/0/a.bin 40.0 GB, weights/1/b.bin 11.0 GB" in str(refused.value)
    with pytest.raises(PackageError, match="base image 130"):
        estimate_size(context, limits=Limits(10_000_000, 20_000_000)).check()


def test_buildkit_is_read_step_by_step():
    log = BuildKitLog()
    for line in BUILDKIT.splitlines():
        log.read(line)

    assert [(step.instruction.split()[0], step.reused) for step in log.last_stage] == [
        ("RUN", True),
        ("COPY", False),
        ("RUN", False),
    ]
    assert log.total == 6
    assert log.failure.startswith("step 4 of 4 of stage-2, 'RUN false': executor failed")


def test_the_classic_builders_error_is_found_in_its_text():
    log = ClassicLog()
    for line in CLASSIC.splitlines():
        log.read(line)

    assert log.failure == "step 3 of 3, 'RUN exit 7': exit code 7"


@pytest.mark.parametrize(
    ("client", "buildx", "expected"),
    [
        ("18.06.3", "", False),
        ("18.09.0", "", True),
        ("20.10.24+dfsg1", "", True),
        ("23.0.1", "", False),
        ("28.2.2", "github.com/docker/buildx v0.24", True),
        ("", "", False),
    ],
)
def test_buildkit_is_probed_by_client_and_plugin(client, buildx, expected):
    assert _has_buildkit(client, buildx) is expected


def test_the_forecast_puts_layers_beside_what_made_them():
    history = (("ADD rootfs", 100), ("ENV A=1", 0), ("COPY weights/1/ /x", 0), ("RUN make", 50))
    facts = SimpleNamespace(layers=("sha256:a", "sha256:b", "sha256:c"), history=history)

    foreseen = forecast(facts, "swr.example.com/org/mnist:1", {"sha256:a": Blob("d", 9)})

    assert foreseen.lacking == [("COPY weights/1/ /x", 0), ("RUN make", 50)]
    assert "lacks 2 of 3 layers, 50 B uncompressed" in str(foreseen)
    foreseen.check()
    with pytest.raises(PackageError, match="a layer of 50 B is above"):
        foreseen.check(layer_bytes=40)


def test_a_layer_that_is_there_may_be_as_large_as_it_is():
    Forecast("x/y:1", (("ADD", 20 * GB, Blob("d", 9)),)).check()
