"""A classic service becomes a request of v2, and nothing is lost in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_api import fake_api, name_in_environment
from huaweicloudsdkmodelarts import v1 as modelarts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custom_image import cli
from custom_image.cloud import open_cloud
from custom_image.cloud.services.migrate import NONE, Migration, migrate
from custom_image.errors import UsageError

CONFIG = {
    "model_algorithm": "image_classification",
    "model_type": "Image",
    "health": {"check_method": "HTTP", "url": "/health", "period_seconds": "5"},
    "apis": [{"url": "/"}],
}
MODEL = {
    "model_id": "m-1",
    "model_name": "mnist",
    "model_version": "1.0.0",
    "model_status": "published",
    "source_location": "swr.example.com/team/mnist:1.0.0",
    "config": json.dumps(CONFIG),
}
SERVICE = {
    "service_name": "mnist",
    "infer_type": "real-time",
    "description": "digits",
    "schedule": [{"type": "stop"}],
    "vpc_id": "v-1",
    "config": [
        {
            "model_id": "m-1",
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 2,
            "weight": 100,
            "envs": {"A": "b"},
            "pool_name": "pool",
            "deploy_timeout_in_seconds": 1230,
            "additional_properties": {
                "max_surge": 1,
                "max_unavailable": 0,
                "persistent_volumes": [
                    {"mount_path": "/data", "source_address": "obs://bucket/data/"}
                ],
            },
        }
    ],
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    with fake_api() as api:
        name_in_environment(api, monkeypatch, tmp_path)
        yield open_cloud("cloud")
        assert api.asked == [], "a plan sends nothing"


def unit_of(found: Migration) -> dict[str, Any]:
    (group,) = found.request["group_configs"]
    (unit,) = group["unit_configs"]
    return dict(unit)


def test_each_field_is_carried_over_or_named(cloud: Any) -> None:
    found = migrate(SERVICE, MODEL, cloud)

    unit, group = unit_of(found), found.request["group_configs"][0]
    assert (found.request["name"], group["count"], group["pool_id"]) == ("mnist-v2", 2, "pool")
    assert unit["image"]["swr_path"] == MODEL["source_location"]
    assert unit["envs"] == {"A": "b"}
    assert unit["liveness_health"]["url"] == "/health"
    assert unit["termination_grace"] == {"termination_grace_period_seconds": 90}
    assert unit["files"][0] | {} == {
        "source": "OBS",
        "address": "obs://bucket/data/",
        "mount_path": "/data/",
        "read_only": False,
    }
    assert found.request["deploy_timeout_minutes"] == 21
    rolling = found.request["upgrade_config"]["rolling_update"]
    assert rolling == {"max_surge": "50%", "max_unavailable": "1%"}
    left = {entry.before for entry in found.moved if entry.how == NONE}
    assert left == {"schedule", "vpc_id", "model.config.apis"}
    assert "v2 knows no signature" in str(found)


@pytest.mark.parametrize(
    ("service", "model", "words"),
    [
        ({}, MODEL, "service_name, config is missing, found nothing"),
        ({"service_name": "a"}, MODEL, "config is missing, found service_name"),
        (SERVICE, {"model_name": "a"}, "model_version, source_location, config is missing"),
        (SERVICE | {"config": [1, 2]}, MODEL, "one model under config, found 2"),
        (SERVICE | {"infer_type": "batch"}, MODEL, "found 'batch'"),
    ],
)
def test_what_is_neither_says_which_key_it_misses(
    service: Any, model: Any, words: str, cloud: Any
) -> None:
    with pytest.raises(UsageError) as refused:
        migrate(service, model, cloud)

    assert words in str(refused.value)
    assert str(refused.value).count("\n") <= 2


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,40}", fullmatch=True)
SHARES = st.one_of(st.none(), st.integers(0, 8), st.just("25%"), st.just(0.5))
PARTS = st.fixed_dictionaries(
    {
        "model_id": st.just("m-1"),
        "weight": st.just(100),
        "instance_count": st.integers(1, 128),
        "specification": st.sampled_from(["modelarts.vm.cpu.2u", "modelarts.vm.gpu.p4"]),
    },
    optional={
        "envs": st.dictionaries(
            st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
            st.from_regex(r"[A-Za-z0-9 /:=._-]{0,20}", fullmatch=True),
            max_size=4,
        ),
        "pool_name": NAMES,
        "deploy_timeout_in_seconds": st.integers(180, 7200),
        "custom_spec": st.just({"cpu": 2, "memory": 4096}),
        "additional_properties": st.fixed_dictionaries(
            {},
            optional={
                "max_surge": SHARES,
                "max_unavailable": SHARES,
                "termination_grace_period_seconds": st.integers(90, 300),
            },
        ),
    },
)
PROBES = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {
            "check_method": st.just("HTTP"),
            "url": st.sampled_from(["/health", "/a/b"]),
            "initial_delay_seconds": st.integers(0, 300).map(str),
            "period_seconds": st.integers(1, 60).map(str),
            "failure_threshold": st.integers(1, 60).map(str),
        }
    ),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=NAMES, part=PARTS, health=PROBES, startup=PROBES)
def test_whatever_is_valid_is_what_the_sdk_takes(
    name: str, part: dict[str, Any], health: Any, startup: Any, cloud: Any
) -> None:
    config = {**CONFIG, "health": health, "startup_health": startup}
    config = {key: value for key, value in config.items() if value}
    model = MODEL | {"config": json.dumps(config)}

    found = migrate({"service_name": name, "config": [part]}, model, cloud)

    created = modelarts.ServiceCreateRequest(**found.request)
    (unit,) = created.group_configs[0]["unit_configs"]
    assert set(unit) <= set(modelarts.UnitConfig.openapi_types)
    assert unit.get("envs", {}) == part.get("envs", {})
    for key in ("readiness_health", "liveness_health", "startup_health"):
        modelarts.Health(**unit.get(key, {}))
    assert created.group_configs[0]["count"] == part["instance_count"]


def test_files_are_planned_from_and_secrets_masked(
    cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = SERVICE["config"][0] | {"envs": {"DB_PASSWORD": "hunter2x"}}  # type: ignore[index]
    (tmp_path / "service.json").write_text(json.dumps(SERVICE | {"config": [part]}))
    (tmp_path / "model.json").write_text(json.dumps(MODEL))
    command = ["migrate", str(tmp_path / "service.json"), "--model", str(tmp_path / "model.json")]
    monkeypatch.chdir(Path.cwd())
    monkeypatch.setattr(sys, "argv", ["custom-image", *command, "--dry-run"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    said = capsys.readouterr().out
    assert left.value.code == 0
    assert '"auth_type": "API_KEY"' in said
    assert "hunter2x" not in said
