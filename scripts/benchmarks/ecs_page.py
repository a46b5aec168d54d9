"""The page of the benchmark of building on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from benchmarks.ecs import Figures
    from benchmarks.machine import Machine

MOST_TIMES: Final = 1.3
MOST_SECOND_S: Final = 5.0
_COLUMNS: Final = (
    ("first build, s", "total_s", ".1f"),
    ("sending, s", "send_s", ".1f"),
    ("over SSH, GB", "sent_gb", ".3f"),
    ("building there, s", "build_s", ".1f"),
    ("`docker build` there, s", "baseline_s", ".1f"),
    ("times", "times", ".2f"),
    ("peak here, MB", "peak_here_mb", ".0f"),
    ("peak of dockerd, MB", "peak_dockerd_mb", ".0f"),
    ("disk there, GB", "disk_gb", ".2f"),
    ("second build, s", "second_s", ".1f"),
    ("sent, kB", "second_sent_kb", ".0f"),
    ("context written, s", "context_s", ".1f"),
    ("again, s", "second_context_s", ".1f"),
)
_SPLITTING: Final = (
    ("built, s", "build_s", ".1f"),
    ("image, GB", "image_gb", ".2f"),
    ("from start to ready, s", "ready_s", ".1f"),
    ("model folder in the container, GB", "folder_gb", ".2f"),
)


def page(
    machine: Machine,
    server: str,
    found: list[Figures],
    splitting: list[Figures],
    made: list[Figures],
    options: str,
) -> str:
    """Return the text of ecs.md."""
    head = [
        "# What building on a server costs",
        f"Written by `python -m benchmarks.ecs {options}`.",
        f"{machine}. Server: {server.partition(': ')[2]}.",
    ]
    if not machine.was_idle:
        head.append(
            f"Others kept the processors {machine.others_percent:.0f} % busy when it began: the "
            "figures are preliminary."
        )
    sections = [*head, _sizes(found), _verdicts(found)]
    sections += [_split(figures) for figures in splitting]
    sections += [_made(figures) for figures in made]
    return "\n\n".join(section for section in sections if section) + "\n"


def _sizes(found: list[Figures]) -> str:
    rows = [["payload", *(title for title, *_ in _COLUMNS)]]
    for figures in found:
        if figures.not_run:
            rows.append([figures.what, f"NOT RUN: {figures.not_run}", *[""] * (len(_COLUMNS) - 1)])
        else:
            cells = [f"{figures.values[key]:{form}}" for _, key, form in _COLUMNS]
            rows.append([figures.what, *cells])
    return _table(rows)


def _verdicts(found: list[Figures]) -> str:
    ran = [figures for figures in found if not figures.not_run]
    lines = []
    for figures in ran:
        values = figures.values
        times = "kept" if values["times"] <= MOST_TIMES else "**missed**"
        second = "kept" if values["second_s"] < MOST_SECOND_S else "**missed**"
        lines.append(
            f"* {figures.what}: at most {MOST_TIMES:g} times `docker build` there: {times}; second "
            f"build under {MOST_SECOND_S:g} s: {second}"
        )
    return "\n".join(lines)


def _split(figures: Figures) -> str:
    title = f"## Splitting: {figures.what}"
    if figures.not_run:
        return f"{title}\n\nNOT RUN: {figures.not_run}"
    rows = [["", *(name for name, *_ in _SPLITTING)]]
    for kind in ("whole", "parts"):
        cells = [f"{figures.values[f'{kind}_{key}']:{form}}" for _, key, form in _SPLITTING]
        rows.append([kind, *cells])
    return f"{title}\n\n{_table(rows)}"


def _made(figures: Figures) -> str:
    title = f"## {figures.what}"
    if figures.not_run:
        return f"{title}\n\nNOT RUN: {figures.not_run}"
    values = figures.values
    text = (
        f"Image of {values['image_gb']:.2f} GB; built in {values['build_s']:.0f} s, "
        f"{values['disk_gb']:.1f} GB of disk; verified there in {values['verify_s']:.0f} s."
    )
    log = "\n".join(figures.log)
    return f"{title}\n\n{text}\n\n```text\n{log}\n```"


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines)
