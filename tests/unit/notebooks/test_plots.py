"""Pictures are small PNGs that need no window, no pyplot and no dark background."""

from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from custom_image.builders import BuiltImage, Layer
from custom_image.builders.folder import UnbuiltImage
from custom_image.engines import ImageFacts
from custom_image.errors import UsageError
from custom_image.mnist import load_mnist
from custom_image.plots import (
    plot_digits,
    plot_image_size,
    plot_sigterm_timeline,
    plot_training,
)
from custom_image.report import Report

MOST_BYTES = 60_000


def drill(**changes):
    times = np.arange(-2, 60, 0.25)
    timeline = [[t, kind, True] for t in times for kind in ("new", "kept-alive", "health")]
    timeline += [[2.5, "slow", True], [60.5, "new", False], [60.3, "idle", True]]
    facts = {"drain_s": 60, "exit_s": 90, "exited_s": 61.2, "exit_code": 0, "timeline": timeline}
    return Report("image", "full", "v2", (), {"sigterm": facts | changes})


def pixels(picture) -> np.ndarray:
    png = picture._repr_png_()
    assert len(png) <= MOST_BYTES
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def has_color(image: np.ndarray, color: str) -> bool:
    """Tell whether a color, given as #rrggbb, is seen anywhere."""
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(image - wanted).max(axis=2) < 40).any())


BLUE, RED = "#2b6cb0", "#c53030"


def test_digits_are_a_small_picture_on_a_white_card():
    image = pixels(plot_digits(load_mnist(sample=True), count=4))

    assert image.shape[1] <= 900
    assert (image[0, 0] == 255).all(), "the border is white, so dark pages do not swallow the text"


def image_of(*sizes_bytes: int) -> BuiltImage:
    layers = tuple(
        Layer(f"COPY layer-{i} /", size, reused=True) for i, size in enumerate(sizes_bytes)
    )
    facts = ImageFacts(
        *("image", "sha256:0", sum(sizes_bytes), (), (), False, "", "", {}, (), "amd64", "linux"),
        *({}, ()),
    )
    return BuiltImage("image", facts, layers, 1.0, "")


@pytest.mark.parametrize("sizes", [(20_000_000,), (10**8, 4_000, 15 * 10**7), (60 * 10**9, 10)])
def test_images_of_any_size_fit_the_same_axis(sizes):
    image = pixels(plot_image_size(image_of(*sizes)))

    assert has_color(image, BLUE)


def test_where_no_image_was_built_the_picture_has_no_bar():
    image = pixels(plot_image_size(UnbuiltImage("build/home")))

    assert not has_color(image, BLUE)


@pytest.mark.parametrize("losses", [(), (2.3,), tuple(np.geomspace(2.3, 0.05, 50))])
def test_the_training_curve_draws_any_number_of_losses(losses):
    image = pixels(plot_training(SimpleNamespace(history=losses)))

    assert has_color(image, BLUE) == bool(losses)


def test_a_clean_stop_shows_no_loss_and_a_lost_request_is_red():
    clean = pixels(plot_sigterm_timeline(drill(exit_s=90)))
    lossy_drill = drill()
    lossy_drill.facts["sigterm"]["timeline"] += [[t, "new", False] for t in range(5, 60, 5)]
    lossy = pixels(plot_sigterm_timeline(lossy_drill))

    lanes = slice(30, -60), slice(170, 460)  # inside the field where the service must serve
    assert not has_color(clean[lanes], RED)
    assert has_color(lossy[lanes], RED)


def test_a_service_that_never_exits_can_be_drawn():
    pixels(plot_sigterm_timeline(drill(exited_s=None, exit_code=None)))


def test_a_report_without_a_drill_says_what_to_do():
    with pytest.raises(UsageError, match="level quick or full"):
        plot_sigterm_timeline(Report("image", "static", "v2", ()))


def test_drawing_leaves_the_readers_own_pyplot_alone():
    script = (
        "import sys\n"
        "from custom_image.plots import plot_training\n"
        "from types import SimpleNamespace\n"
        "plot_training(SimpleNamespace(history=[2.0, 1.0]))._repr_png_()\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
