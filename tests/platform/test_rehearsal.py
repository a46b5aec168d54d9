"""Upgrades under load: no request is lost with our image, and some are without its drain."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from local_cloud import Rehearsal as Platform
from local_models import docker

from custom_image import cli
from custom_image.cloud import Cloud, open_cloud
from custom_image.errors import UsageError
from custom_image.kubernetes.rollout import Rollout
from custom_image.model_config import ModelConfig, parse_model_config
from custom_image.plots import plot_upgrade_timeline
from custom_image.rehearsal.result import Rehearsal
from custom_image.rehearsal.run import platform_settings, rehearse

SPEED, PATIENT = 60, 20
UPGRADES = 24  # twenty of them leave a fast machine no time for so many requests
LEAST_REQUESTS = 2000


@pytest.fixture(scope="module")
def config(serving_config) -> ModelConfig:
    return parse_model_config(json.dumps(serving_config))


@pytest.fixture(scope="module")
def here(rehearsal: Platform) -> Cloud:
    rehearsal.restart(*platform_settings(SPEED), "services=100", "stop_delay_s=20")
    return open_cloud("local", folder=rehearsal.folder)


@pytest.fixture(scope="module")
def rehearsed(here, serving_image, config) -> Rehearsal:
    return rehearse(serving_image, config, cloud=here, speed=SPEED, upgrades=UPGRADES)


def rehearse_by_command(
    image, config, tmp_path, monkeypatch, capsys, *options: str
) -> tuple[str, Path]:
    """Rehearse by the command, which has to prove it; return what it says and the picture."""
    file, picture = tmp_path / "config.json", tmp_path / "upgrade.png"
    file.write_text(config.to_json())
    command = ["rehearse", image, "--config", str(file), "--picture", str(picture), *options]
    monkeypatch.chdir(Path.cwd())  # the command enters the project
    monkeypatch.setattr(sys, "argv", ["custom-image", *command])
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()
    assert left.value.code == 0, said.out + said.err
    assert "PASSED: 0 of " in said.out
    return said.out, picture


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


@pytest.fixture(scope="module")
def drainless_image(serving_image) -> str:
    """The same image with a boot file that ends at SIGTERM, whatever the service asks for."""
    command = json.dumps(["sh", "-c", "DRAIN_SECONDS=0 exec sh /home/run.sh"])
    dockerfile = f"FROM {serving_image}\nCMD {command}\n"
    docker("build", "--tag", "custom-image/tests:drainless", "-", stdin=dockerfile)
    return "custom-image/tests:drainless"


@pytest.fixture(scope="module")
def patient(rehearsal: Platform) -> Cloud:
    """With three times the waits: what is judged below is two upgrades, not two dozen."""
    rehearsal.restart(*platform_settings(PATIENT), "services=100", "stop_delay_s=20")
    return open_cloud("local", folder=rehearsal.folder)


@pytest.mark.timeout(300)
def test_v1_is_rehearsed_with_sigterm_alone(patient, serving_image, config):
    how = {"generation": "v1", "upgrades": 1, "control": False}
    found = rehearse(serving_image, config, cloud=patient, speed=PATIENT, **how)

    assert not found.load.lost, str(found)
    assert {by for _, by, ok, _ in found.load.requests if ok} == {"1.0.0", "1.0.1"}
    assert found.verdict.startswith("NOT CHECKED: 0 of ")


@pytest.mark.timeout(300)
def test_a_stop_command_drains_for_an_image_that_does_not(patient, drainless_image, config):
    """Requests come for 2.25 s, and the image itself would end at once: the control shows it."""
    how = {"stop_command": "sleep 4", "upgrades": 1}
    found = rehearse(drainless_image, config, cloud=patient, speed=PATIENT, **how)

    assert found.is_proved, str(found)


def test_v1_takes_no_stop_command(patient, serving_image, config):
    with pytest.raises(UsageError, match="'sleep 2' for v1, which sends SIGTERM alone"):
        rehearse(serving_image, config, cloud=patient, generation="v1", stop_command="sleep 2")


@pytest.mark.true_time
@pytest.mark.timeout(600)
@pytest.mark.parametrize("option", ["--generation=v1", "--stop-command=sleep 4"])
def test_the_command_takes_the_options(
    option, drainless_image, serving_image, config, tmp_path, monkeypatch, capsys, registry_program
):
    image = drainless_image if "stop" in option else serving_image
    rehearse_by_command(image, config, tmp_path, monkeypatch, capsys, "--speed=20", option)


@pytest.mark.true_time
@pytest.mark.timeout(1200)
def test_an_upgrade_of_true_length_and_back_loses_none(
    serving_image, config, tmp_path, monkeypatch, capsys, registry_program
):
    """By the command, on a platform of its own: 60 s of drain, 57 s of late routing, twice."""
    said, picture = rehearse_by_command(
        serving_image, config, tmp_path, monkeypatch, capsys, "--speed=1"
    )

    lost_of = said.partition("PASSED: 0 of ")[2]
    assert int(lost_of.split()[0]) >= LEAST_REQUESTS
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.true_time
def test_an_update_with_the_exported_probes_grace_and_surge_loses_nothing(
    serving_image, config, tmp_path, monkeypatch, capsys
):
    (tmp_path / "config.json").write_text(config.to_json())
    manifest = tmp_path / "served.yaml"
    words = ["export", "kubernetes", serving_image, "--config", str(tmp_path / "config.json")]
    with pytest.raises(SystemExit) as ended:
        cli.app([*words, "--name", "served", "--output", str(manifest)])
    assert not ended.value.code
    rollout = Rollout.read(manifest)
    assert (rollout.surge, rollout.unavailable, rollout.grace_s) == (1, 0, 90)
    assert set(rollout.probes) == {"startup_health", "readiness_health", "health"}

    said, _ = rehearse_by_command(
        serving_image, config, tmp_path, monkeypatch, capsys, "--manifest", str(manifest)
    )

    assert "PASSED: 0 of " in said
