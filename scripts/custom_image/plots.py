"""The pictures of the notebooks: small PNGs on a white card, so that they read on any background.

No pyplot: its global list of figures belongs to the reader's own session.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import PIL.Image
from matplotlib.figure import Figure

from custom_image.builders import BuiltImage
from custom_image.deployment import NotDone
from custom_image.errors import UsageError
from custom_image.images import Image, Location
from custom_image.specification import GB, IMAGE_SIZE, NOTEBOOK_IMAGE_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from custom_image.mnist import Digits
    from custom_image.rehearsal.result import Rehearsal
    from custom_image.report import Report
    from custom_image.training import TrainedModel

_DPI = 90
_MB = 10**6
_INK = "#1a202c"
_BLUE, _GREEN, _AMBER, _RED, _GREY = "#2b6cb0", "#2f855a", "#c05621", "#c53030", "#718096"

_LANES = {
    "new": "new connections",
    "kept-alive": "a kept-alive connection",
    "slow": "slow requests",
    "health": "health probe",
    "idle": "idle connections closed",
}


_LOST = "lost"
_MOMENTS = {
    "ready": (_BLUE, ":", ""),
    "sigterm": (_INK, "-", "SIGTERM"),
    "unrouted": (_AMBER, "--", "no longer routed to"),
    "exited": (_GREY, ":", "gone"),
    "killed": (_RED, "-", "killed"),
}
_FEW_HAPPENINGS = 12


class Picture(Figure):
    """A figure that shows itself in Jupyter without pyplot's inline backend."""

    def _repr_png_(self) -> bytes:
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.12)
        # A palette halves the file, and notebooks with their outputs travel through git.
        PIL.Image.open(drawn).convert("RGB").quantize(128).save(small, "png", optimize=True)
        return small.getvalue()


def plot_digits(digits: Digits, count: int = 10) -> Picture:
    """Draw test pictures, ``count`` of each digit in a column, below where they come from."""
    figure = Picture(figsize=(8, 0.85 * count), facecolor="white", layout="constrained")
    figure.suptitle(str(digits), fontsize=9, color=_GREY)
    for digit in range(10):
        for row in range(count):
            axes = figure.add_subplot(count, 10, row * 10 + digit + 1)
            axes.imshow(digits.example(digit, row), cmap="gray", interpolation="nearest")
            axes.set_axis_off()
            if row == 0:
                axes.set_title(str(digit), fontsize=11, color=_GREY)
    return figure


def plot_training(model: TrainedModel) -> Picture:
    """Draw how the loss fell; where the weights came from elsewhere the picture says so."""
    figure = Picture(figsize=(7, 2.2), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    parts = len(model.history)
    done = [100 * (part + 0.5) / parts for part in range(parts)]
    axes.plot(done, model.history, color=_BLUE, linewidth=2, marker=".")
    axes.set(xlabel="% of the training", ylabel="mean loss", xlim=(0, 100))
    axes.set_ylim(0, 1.1 * max(model.history, default=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    if not parts:
        axes.text(50, 0.5, "not trained here, so no losses are known", ha="center", color=_INK)
    return figure


def plot_image_size(
    image: Image,
) -> Picture:
    """Draw the image's size against the platform's limits, and what it is made of.

    The upper axis is logarithmic, so that a small image is visible beside 50 GB; the lower one is
    linear, so that the lengths of the layers can be compared. Of a saved image the platform tells
    no more than its size. Where there is no image the picture says so.
    """
    if not isinstance(image, BuiltImage):
        figure = Picture(figsize=(8, 1.1), facecolor="white", layout="constrained")
        axes = figure.add_subplot()
        _plot_limits(axes)
        if image.size_bytes:
            _plot_size(axes, image.size_bytes)
        else:
            is_elsewhere = image.location is Location.REGISTRY
            why = "image management shows its size" if is_elsewhere else "there is no image"
            axes.text(0.01, 0, f" NOT CHECKED: {why}", va="center", color=_INK)
        return figure
    figure = Picture(figsize=(8, 3.6), facecolor="white", layout="constrained")
    limits, layers = figure.subplots(2, 1, height_ratios=(1, 2.2))
    _plot_limits(limits)
    _plot_size(limits, image.size_bytes)
    _plot_layers(layers, image)
    return figure


def _plot_size(axes: Axes, size_bytes: int) -> None:
    size_gb = size_bytes / GB
    axes.barh(0, size_gb, color=_BLUE, height=0.5)
    axes.text(size_gb, 0, f" {size_gb:.2f} GB", va="center", color=_INK, fontweight="bold")


def _plot_limits(axes: Axes) -> None:
    axes.set(xscale="log", xlim=(0.01, 200), ylim=(-0.4, 0.9), yticks=[])
    for limit, color, text, side in (
        (NOTEBOOK_IMAGE_SIZE, _AMBER, "needs a server of its own above", "right"),
        (IMAGE_SIZE, _RED, "refused above", "left"),
    ):
        axes.axvline(limit.value, color=color, linewidth=2)
        axes.text(limit.value, 0.5, f" {text} {limit} ", ha=side, color=color, fontsize=8)
    axes.set_xticks([0.01, 0.1, 1, 10, 100], ["10 MB", "100 MB", "1 GB", "10 GB", "100 GB"])
    axes.spines[["top", "right", "left"]].set_visible(False)


def _plot_layers(axes: Axes, image: BuiltImage) -> None:
    """Draw one bar a layer, each beginning where the one below it ends."""
    begin_mb, names = 0.0, []
    for height, layer in enumerate(image.layers):
        length_mb = layer.bytes / _MB
        axes.barh(-height, length_mb, left=begin_mb, color=_BLUE, height=0.7)
        begin_mb += length_mb
        size = f"{length_mb:.1f} MB" if length_mb >= 0.1 else f"{layer.bytes / 1000:.1f} kB"
        names.append(f"{_shorten(layer.instruction)}  {size}")
    axes.set_yticks([-height for height in range(len(names))], names, fontsize=7)
    axes.set(xlabel="MB", xlim=(0, begin_mb))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _shorten(instruction: str) -> str:
    """Return what tells layers apart: of a COPY where it goes, of anything else how it begins."""
    words = instruction.split()
    line = f"{words[0]} to {words[-1]}" if words[0] in ("COPY", "ADD") else " ".join(words)
    return line if len(line) <= 40 else f"{line[:37]}..."


def plot_sigterm_timeline(report: Report) -> Picture:
    """Draw what clients saw of a service that was told to stop, from the verifier's own drill.

    Raises:
        UsageError: the report holds no such drill: level ``static``, or nothing could be started.
    """
    drill = report.facts.get("sigterm")
    if drill is None:
        raise UsageError(
            f"The report on {report.target} holds no SIGTERM drill: level {report.level}.\n"
            "Verify something that can be started, at level quick or full."
        )
    figure = Picture(figsize=(8, 2.6), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    drain_s, exit_s, exited_s = drill["drain_s"], drill["exit_s"], drill["exited_s"]
    for height, kind in enumerate(reversed(_LANES)):
        for time_s, happened, ok in drill["timeline"]:
            if happened == kind:
                # Once the drain is over nobody is owed an answer: no loss, so not red.
                color = _GREEN if ok else _RED if time_s < drain_s else _GREY
                axes.plot(time_s, height, "|" if ok else "x", color=color, markersize=8, alpha=0.7)
    axes.axvspan(0, drain_s, color=_GREEN, alpha=0.08, linewidth=0)
    top = len(_LANES) - 0.4
    for time_s, color, text in (
        (0, _INK, "SIGTERM"),
        (drain_s, _GREEN, f"must serve until {drain_s:g} s"),
        (exit_s, _RED, f"killed at {exit_s:g} s"),
    ):
        axes.axvline(time_s, color=color, linewidth=1.5)
        axes.text(time_s, top + 0.1, text, color=color, fontsize=8, va="bottom")
    if exited_s is not None:
        color = _GREEN if drill["exit_code"] == 0 and exited_s < exit_s else _RED
        text = f"  exit code {drill['exit_code']}\n  at {exited_s:.1f} s"
        axes.axvline(exited_s, color=color, linestyle=":", linewidth=1.5)
        axes.text(exited_s, 1.5, text, color=color, fontsize=8, va="center")
    first_s = min([0.0, *(time_s for time_s, *_ in drill["timeline"])])
    axes.set(xlabel="seconds after SIGTERM", ylim=(-0.6, top))
    axes.set_xlim(first_s - exit_s * 0.02, max(exit_s, exited_s or 0) + exit_s * 0.15)
    axes.set_yticks(range(len(_LANES)), [_LANES[kind] for kind in reversed(_LANES)])
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def plot_upgrade_timeline(rehearsal: Rehearsal | NotDone, seconds: float = 0) -> Picture | NotDone:
    """Draw who answered while a service was upgraded, when what happened, and what failed.

    A lane for each version; where it was left out nothing answered. ``seconds`` is how much of the
    beginning is drawn; 0 for all of it. Where nothing was upgraded, that is what is returned.
    """
    if isinstance(rehearsal, NotDone):
        return rehearsal
    load = rehearsal.load
    end_s = seconds or load.seconds
    versions = sorted({by for _, by, ok, _ in load.requests if ok})
    lanes = {version: height for height, version in enumerate(reversed([*versions, _LOST]))}
    figure = Picture(figsize=(8, 0.9 + 0.55 * len(lanes)), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for name, color in ((True, _GREEN), (False, _RED)):
        seen = [(at_s, by if ok else _LOST) for at_s, by, ok, _ in load.requests if ok is name]
        drawn = [(at_s, lanes[by]) for at_s, by in seen if at_s <= end_s]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), "|" if name else "x", color=color, markersize=9)
    top = len(lanes) - 0.5
    for happening in load.happenings:
        if happening.kind in _MOMENTS and happening.at_s <= end_s:
            color, style, text = _MOMENTS[happening.kind]
            axes.axvline(happening.at_s, color=color, linestyle=style, linewidth=1.2)
            if text and len(load.happenings) <= _FEW_HAPPENINGS:
                axes.text(
                    happening.at_s,
                    top + 0.1,
                    text,
                    color=color,
                    fontsize=7,
                    rotation=30,
                    va="bottom",
                )
    axes.set(xlabel="seconds", ylim=(-0.6, top), xlim=(-0.01 * end_s, 1.01 * end_s))
    axes.set_yticks(list(lanes.values()), list(lanes))
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.suptitle(rehearsal.verdict, fontsize=9, color=_GREY)
    return figure
