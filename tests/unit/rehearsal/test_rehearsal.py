"""What a rehearsal proves, and what it does not."""

from __future__ import annotations

import json
import sys

import pytest
from fake_api import fake_api, name_in_environment
from local_cloud import wait_for

from custom_image.cloud import Cloud
from custom_image.drills.load_balancer import Gateway
from custom_image.errors import UsageError
from custom_image.model_config import parse_model_config
from custom_image.plots import plot_upgrade_timeline
from custom_image.probing.http import Request
from custom_image.rehearsal.result import Happening, Load, Rehearsal
from custom_image.rehearsal.run import patient, platform_settings, rehearse

GOOD = tuple((number / 50, f"1.0.{number // 50}", True, "200 in 3 ms") for number in range(100))
LOST = (1.5, "", False, "503 in 2 ms: {}")
HAPPENINGS = (
    Happening(0.9, "ready", "b", "mnist 1.0.1"),
    Happening(1.0, "sigterm", "a", "mnist 1.0.0"),
    Happening(1.7, "unrouted", "a", "mnist 1.0.0"),
    Happening(1.9, "exited", "a", "mnist 1.0.0"),
)


def load(*lost: tuple[float, str, bool, str], requests=GOOD) -> Load:
    return Load((*requests, *lost), HAPPENINGS, 1, 2.0)


@pytest.mark.parametrize(
    ("with_drain", "without", "verdict", "is_proved"),
    [
        (load(), load(LOST), "PASSED: 0 of 100 requests lost in 1 upgrade", True),
        (load(LOST), load(LOST), "FAILED: 1 of 101 requests lost in 1 upgrade", False),
        (load(), load(), "FAILED: 0 of 100", False),
        (load(), None, "NOT CHECKED: 0 of 100", False),
        (load(requests=()), load(LOST), "FAILED: 0 of 0", False),
    ],
    ids=["good", "loses", "control loses none", "no control", "nothing sent"],
)
def test_only_an_image_that_loses_none_beside_one_that_loses_some_passes(
    with_drain, without, verdict, is_proved
):
    found = Rehearsal("mnist:1", with_drain, without, 1.0, 0.75)

    assert found.verdict.startswith(verdict)
    assert found.is_proved is is_proved
    assert found.verdict in str(found)
    assert "mnist:1" in found._repr_html_()


def test_probes_are_as_patient_as_on_the_platform_whatever_the_speed():
    health = {"url": "/health", "period_seconds": "5"}
    config = parse_model_config(
        json.dumps(
            {
                "model_algorithm": "image_classification",
                "model_type": "Image",
                "health": health,
                "startup_health": health | {"failure_threshold": "30"},
            }
        )
    )

    found = json.loads(patient(config, 20).to_json())

    assert found["health"]["failure_threshold"] == "240"  # 12, where none is named
    assert found["startup_health"]["failure_threshold"] == "600"
    assert found["health"]["period_seconds"] == "5"
    assert "readiness_health" not in found
    assert patient(config, 1).startup_health == config.startup_health


def test_each_loss_is_named_with_its_time_and_its_reason():
    found = Rehearsal("<mnist>", load(LOST), load(LOST), 1.0, 0.75)

    assert "lost at 1.50 s: 503 in 2 ms" in str(found)
    assert "50 answered by 1.0.0" in str(found)
    assert "&lt;mnist&gt;" in found._repr_html_()


@pytest.mark.parametrize("lost", [(), (LOST,)], ids=["none", "one"])
def test_the_timeline_is_drawn_with_and_without_losses(lost):
    found = Rehearsal("mnist:1", load(*lost), load(LOST), 1.0, 0.75)

    assert plot_upgrade_timeline(found)._repr_png_().startswith(b"\x89PNG")


def test_requests_reach_an_instance_for_less_time_than_it_goes_on():
    assert platform_settings(1) == ["speed=1", "routing_lag_s=57"]
    assert platform_settings(60) == ["speed=60", "routing_lag_s=45"]


def test_the_cloud_is_no_place_for_a_rehearsal(monkeypatch, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"model_algorithm": "a", "model_type": "Image"}')
    with fake_api() as api:
        name_in_environment(api, monkeypatch, tmp_path)
        with pytest.raises(UsageError, match="for the local ModelArts; this is the cloud"):
            rehearse("mnist:1", config, cloud=Cloud.connect())
        assert api.asked == []


def test_clients_come_at_a_steady_rate_and_carry_the_headers_of_their_request():
    with fake_api() as api:
        path = "/v1/infers/s-1/"
        api.answers[f"POST {path}"] = [(200, {})]
        api.headers[f"POST {path}"] = {"X-Served-By": "mnist 1.0.1 instance"}
        signed = (("Authorization", "Signature=x"),)
        request = Request("POST", path, b"{}", "application/json", headers=signed)
        gateway = Gateway(request, 200, clients=5, interval_s=0.05)
        gateway.route_to([api.url])
        with gateway.in_use():
            wait_for(lambda: len(gateway.routed()) >= 40, "forty requests")
        routed = gateway.routed()

    seconds = routed[-1].sent_at - routed[0].sent_at
    assert all(one.ok and one.by == "mnist 1.0.1 instance" for one in routed)
    assert len(routed) / seconds < 130  # 100 a second, and what a busy machine adds


def test_without_matplotlib_the_timeline_is_not_drawn_and_that_is_said(
    tmp_path, monkeypatch, capsys
):
    """The local ModelArts rehearses without the extra that draws."""
    from custom_image.cli.rehearsal import _draw

    monkeypatch.delitem(sys.modules, "custom_image.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    _draw(None, tmp_path / "upgrade.png")

    assert "the timeline is not drawn: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
