"""Upgrades under load: no request is lost with our image, and some are without its drain."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from local_cloud import Rehearsal as Platform

from custom_image import cli
from custom_image.cloud import open_cloud
from custom_image.model_config import ModelConfig, parse_model_config
from custom_image.plots import plot_upgrade_timeline
from custom_image.rehearsal.result import Rehearsal
from custom_image.rehearsal.run import platform_settings, rehearse

SPEED = 60
UPGRADES = 24  # twenty of them leave a fast machine no time for so many requests
LEAST_REQUESTS = 2000


@pytest.fixture(scope="module")
def config(serving_config) -> ModelConfig:
    return parse_model_config(json.dumps(serving_config))


@pytest.fixture(scope="module")
def rehearsed(rehearsal: Platform, serving_image, config) -> Rehearsal:
    rehearsal.restart(*platform_settings(SPEED), "services=100", "stop_delay_s=20")
    here = open_cloud("local", folder=rehearsal.folder)
    return rehearse(serving_image, config, cloud=here, speed=SPEED, upgrades=UPGRADES)


@pytest.mark.timeout(400)
def test_upgrades_under_fifty_requests_a_second_lose_none(rehearsed):
    load = rehearsed.load

    assert not load.lost, rehearsed
    assert len(load.requests) >= LEAST_REQUESTS
    assert load.rate_per_s > 40
    told = [happening for happening in load.happenings if happening.kind == "sigterm"]
    assert len(told) == UPGRADES
    assert not [happening for happening in load.happenings if happening.kind == "killed"]


def test_requests_reached_instances_that_had_been_told_to_stop(rehearsed):
    """Else the platform would not have rehearsed anything."""
    load = rehearsed.load
    told = next(h for h in load.happenings if h.kind == "sigterm")
    unrouted = next(h for h in load.happenings if h.kind == "unrouted")
    version = told.model.rpartition(" ")[2]

    reached = [at_s for at_s, by, _, _ in load.requests if by == version]
    assert [at_s for at_s in reached if told.at_s < at_s < unrouted.at_s]


def test_the_same_image_without_a_drain_loses_some_and_so_proves_the_rehearsal(rehearsed):
    assert rehearsed.control_lost > 0
    assert rehearsed.is_proved
    assert "negative control, no drain" in str(rehearsed)
    assert rehearsed.verdict.startswith("PASSED: 0 of ")


def test_both_versions_answered_and_the_timeline_can_be_drawn(rehearsed):
    assert {by for _, by, ok, _ in rehearsed.load.requests if ok} == {"1.0.0", "1.0.1"}
    assert plot_upgrade_timeline(rehearsed, seconds=8)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.true_time
@pytest.mark.timeout(1200)
def test_an_upgrade_of_true_length_and_back_loses_none(
    serving_image, config, tmp_path, monkeypatch, capsys, registry_program
):
    """By the command, on a platform of its own: 60 s of drain, 57 s of late routing, twice."""
    file = tmp_path / "config.json"
    file.write_text(config.to_json())
    picture = tmp_path / "upgrade.png"
    command = ["rehearse", serving_image, "--config", str(file), "--speed", "1"]
    monkeypatch.chdir(Path.cwd())  # the command enters the project
    monkeypatch.setattr(sys, "argv", ["custom-image", *command, "--picture", str(picture)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()

    assert left.value.code == 0, said.out + said.err
    assert "PASSED: 0 of " in said.out
    lost_of = said.out.partition("PASSED: 0 of ")[2]
    assert int(lost_of.split()[0]) >= LEAST_REQUESTS
    assert picture.read_bytes().startswith(b"\x89PNG")
