"""A classic service becomes a request of v2, and nothing is lost in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from classic_services import NAMES, PARTS, PROBES
from fake_api import fake_api, name_in_environment
from huaweicloudsdkmodelarts import v1 as modelarts
from hypothesis import HealthCheck, given, settings

from custom_image import cli
from custom_image.cloud import open_cloud
from custom_image.cloud.services.migrate import NONE, Migration, migrate
from custom_image.errors import UsageError
from local_modelarts.platform import Platform
from local_modelarts.services.model_requests import find_fault, read_request, routes
from local_modelarts.services.requests_v1 import read_service as read_v1
from local_modelarts.services.requests_v2 import read_service as read_v2
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder, Identity
from local_modelarts.storage.resources import Model as ModelRow
from local_modelarts.storage.specs import Group
from local_modelarts.storage.store import State

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


@pytest.fixture
def local(tmp_path: Path) -> Platform:
    """A local ModelArts as far as it reads requests: no engine, the registry only by its name."""
    (tmp_path / "platform/obs/bucket/data").mkdir(parents=True)
    state, nothing = State(Path(":memory:")), cast(Any, None)
    registry = cast(Any, SimpleNamespace(host="swr.example.com", manifest=lambda *_: None))
    folder, identity = Folder(tmp_path / "platform"), Identity("a", "p", "AK", "SK", 1, 2)
    return Platform(
        folder, identity, Settings(), state, nothing, registry, nothing, nothing, "127.0.0.1"
    )


def publish(local: Platform, config: dict[str, Any]) -> None:
    """Have the local platform read the model and keep it as published."""
    found = read_request(
        {
            **{name: MODEL[name] for name in ("model_name", "model_version", "source_location")},
            "model_type": "Image",
            "initial_config": json.dumps(config),
        }
    )
    assert find_fault(found["config"]) == ""
    local.state.remove(ModelRow, "m-1")
    fields = {"image": MODEL["source_location"], "apis": routes(found["config"]), **found}
    local.state.add(ModelRow, "m-1", "PUBLISHED", **fields)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(name=NAMES, part=PARTS, health=PROBES, startup=PROBES)
def test_whatever_is_valid_is_what_the_sdk_and_the_local_platform_take(
    name: str, part: dict[str, Any], health: Any, startup: Any, cloud: Any, local: Platform
) -> None:
    config = {**CONFIG, "health": health, "startup_health": startup}
    config = {key: value for key, value in config.items() if value}
    model = MODEL | {"config": json.dumps(config)}
    service = {"service_name": name, "config": [part]}
    publish(local, config)
    before = read_v1(local, service)["config"][0]

    found = migrate(service, model, cloud)

    created = modelarts.ServiceCreateRequest(**found.request)
    (unit,) = created.group_configs[0]["unit_configs"]
    assert set(unit) <= set(modelarts.UnitConfig.openapi_types)
    for key in ("readiness_health", "liveness_health", "startup_health"):
        modelarts.Health(**unit.get(key, {}))
    after = read_v2(local, found.request)["config"][0]
    assert after.count == before.count == part["instance_count"]
    for kept in ("image", "port", "protocol", "environment", "memory_mib", "cpus"):
        assert getattr(after.spec, kept) == getattr(before.spec, kept), kept
    assert [(m.target, m.source) for m in after.spec.mounts] == [
        (target.rstrip("/"), source) for target, source in _mounts(before)
    ]
    assert bool(after.spec.probes.get("liveness")) == bool(health)


def _mounts(entry: Group) -> list[tuple[str, str]]:
    return [(mount.target, mount.source) for mount in entry.spec.mounts]


def test_a_time_out_that_a_running_service_does_not_show_is_named(cloud: Any) -> None:
    part = {k: v for k, v in SERVICE["config"][0].items() if "timeout" not in k}  # type: ignore[attr-defined]

    found = migrate(SERVICE | {"config": [part]}, MODEL, cloud)

    notes = [m.note for m in found.moved if m.after == "deploy_timeout_minutes"]
    assert notes == ["v1 does not show it: 20 min, the platform's own"]
    assert found.request["deploy_timeout_minutes"] == 20


@pytest.mark.parametrize(
    ("surge", "share"), [(0, "1%"), ("0", "1%"), (None, "100%"), (1, "50%"), (0.5, "50%")]
)
def test_no_surge_becomes_the_least_that_v2_knows(surge: Any, share: str, cloud: Any) -> None:
    part = dict(SERVICE["config"][0])  # type: ignore[call-overload]
    part["additional_properties"] = {"max_surge": surge}

    found = migrate(SERVICE | {"config": [part]}, MODEL, cloud)

    assert found.request["upgrade_config"]["rolling_update"]["max_surge"] == share
    notes = [m.note for m in found.moved if m.before == "config[0].additional_properties.max_surge"]
    more = "; v2 knows no 0" if surge in (0, "0") else ""
    assert notes == ([] if surge is None else [f"as a share, {share}{more}"])


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
