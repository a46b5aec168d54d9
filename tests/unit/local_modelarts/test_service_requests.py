"""Whatever a request about a model or a service holds: it is read, or refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fake_docker_host import FakeDockerHost, PaperJobs, PaperLogins, PaperRegistry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_modelarts.errors import ApiError
from local_modelarts.notebooks.responses import page
from local_modelarts.platform import Platform
from local_modelarts.services import requests_v1, requests_v2
from local_modelarts.services.model_requests import find_fault, read_request, routes
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder, Identity
from local_modelarts.storage.resources import Model
from local_modelarts.storage.store import State
from local_modelarts.validation import whole

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(-1, 2) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2)
    ),
    max_leaves=4,
)
QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
HEALTH = {
    "check_method": "HTTP",
    "url": "/health",
    "initial_delay_seconds": "12",
    "failure_threshold": "3",
}
CONFIG = {"model_algorithm": "a", "model_type": "Image", "health": HEALTH, "apis": [{"url": "/"}]}
MODEL_BODY = {
    "model_name": "m",
    "model_version": "1.0.0",
    "model_type": "Image",
    "source_location": "127.0.0.1:5000/team/m:1.0",
    "source_copy": "true",
    "install_type": ["real-time"],
    "description": "",
    "model_docs": [],
    "initial_config": json.dumps(CONFIG),
    "apis": [{"url": "/", "input_params": {"type": "object"}}],
    "cmd": "",
}
SERVICE_BODY = {
    "service_name": "s",
    "infer_type": "real-time",
    "config": [
        {
            "model_id": "m",
            "instance_count": 1,
            "weight": "100",
            "pool_name": "p",
            "envs": {"A": "1"},
            "deploy_timeout_in_seconds": 600,
            "custom_spec": {"cpu": 1, "memory": 512},
            "additional_properties": {
                "max_surge": 1,
                "max_unavailable": "25%",
                "termination_grace_period_seconds": 90,
                "persistent_volumes": [{"mount_path": "/m/", "source_address": "obs://bucket/x"}],
            },
        }
    ],
}
UNIT = {
    "image": {"source": "SWR", "swr_path": "127.0.0.1:5000/team/m:1.0"},
    "port": 8080,
    "cmd": "sh run.sh",
    "envs": {"A": "1"},
    "custom_spec": {"cpu": 0.5, "memory": 512},
    "startup_health": {"url": "/health", "period_seconds": 1},
    "liveness_health": {"check_method": "EXEC", "cmd": "true"},
    "files": [{"address": "obs://bucket/x", "mount_path": "/m/", "read_only": True}],
    "security_config": {"user_id": 1000, "group_id": 100},
    "termination_grace": {"pre_stop_cmd": "true", "termination_grace_period_seconds": 90},
}
INFERENCE_BODY = {
    "name": "s",
    "version": "1.0.0",
    "type": "REAL_TIME",
    "deploy_type": "SINGLE",
    "deploy_timeout_minutes": 20,
    "group_configs": [{"pool_id": "p", "count": 2, "weight": 100, "unit_configs": [UNIT]}],
    "runtime_config": {
        "service_invoke": {"port": 8080, "protocol": "HTTP", "auth_type": "TOKEN"},
        "service_limit": {
            "rate_limit": {"num": 10, "unit": "MINUTES"},
            "request_size_limit": 50,
            "request_timeout": 7200,
        },
    },
    "upgrade_config": {"rolling_update": {"max_surge": "1%", "max_unavailable": "1%"}},
}


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """Draw a document with something else in a few of its places, or a place left out."""
    found = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 2))):
        place, path = found, []
        while isinstance(place, dict | list) and place:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            path.append((place, draw(st.sampled_from(keys))))
            place = path[-1][0][path[-1][1]]
            if not draw(st.integers(0, 4)):
                break
        if path:
            parent, key = path[-1]
            if isinstance(parent, dict) and draw(st.booleans()):
                del parent[key]
            else:
                parent[key] = draw(ANYTHING)
    return found


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    folder = Folder(tmp_path)
    (folder.obs / "bucket/x").mkdir(parents=True)
    parts: list[Any] = [FakeDockerHost(), PaperRegistry(), PaperLogins(), PaperJobs()]
    platform = Platform(
        folder,
        Identity("paper", "project", "ACCESS", "SECRET", 1, 2),
        Settings(),
        State(Path(":memory:")),
        *parts,
        "127.0.0.1",
    )
    fields = read_request(MODEL_BODY) | {"image": "i", "apis": routes(CONFIG)}
    platform.state.add(Model, "m", "PUBLISHED", **fields)
    yield platform
    platform.state.close()


def holds(fields: Mapping[str, Any]) -> None:
    """Check what everything behind it goes by."""
    json.dumps(fields, default=asdict)
    for entry in fields["config"]:
        assert entry.count >= 1
        assert entry.surge + entry.unavailable >= 1
    assert sum(entry.weight for entry in fields["config"]) == 100


def test_what_is_whole_is_read(platform: Platform) -> None:
    old = requests_v1.read_service(platform, SERVICE_BODY)
    new = requests_v2.read_service(platform, INFERENCE_BODY)

    holds(old)
    holds(new)
    spec = new["config"][0].spec
    assert (spec.user, spec.grace_s, spec.pre_stop) == ("1000:100", 90, "true")
    assert spec.mounts[0].target == "/m"
    assert new["limit"] == {"body_bytes": 50 << 20, "timeout_s": 7200, "requests_per_s": 10 / 60}
    assert old["config"][0].spec.probes["startup"]["failures"] == 3


@QUICK
@given(body=spoilt(SERVICE_BODY))
def test_a_classic_service_is_read_or_refused(platform: Platform, body: dict[str, Any]) -> None:
    try:
        fields = requests_v1.read_service(platform, body)
    except ApiError:
        return
    holds(fields)


@QUICK
@given(body=spoilt(INFERENCE_BODY))
def test_a_service_of_inference_2_0_is_read_or_refused(
    platform: Platform, body: dict[str, Any]
) -> None:
    try:
        fields = requests_v2.read_service(platform, body)
    except ApiError:
        return
    holds(fields)


@QUICK
@given(body=spoilt(MODEL_BODY), config=spoilt(CONFIG))
def test_a_model_is_read_or_refused_and_its_config_judged(
    body: dict[str, Any], config: dict[str, Any]
) -> None:
    if "initial_config" in body:
        body["initial_config"] = json.dumps(config)
    try:
        fields = read_request(body)
    except ApiError:
        return
    json.dumps(fields)
    assert find_fault(fields["config"]) or routes(fields["config"])


@pytest.mark.parametrize("apis", [1, True, "x", {"url": "/"}, [1], [{}, None]])
def test_apis_that_are_no_list_of_objects_are_refused(apis: object) -> None:
    with pytest.raises(ApiError, match=r"apis is .*, expected a list of objects"):
        read_request(MODEL_BODY | {"apis": apis})


@pytest.mark.parametrize("port", ["0", "65536", "80x", "²", 5000 * "9", 8080.5, True])
def test_a_port_that_is_none_is_refused(port: object) -> None:
    config = CONFIG | {"port": port}

    with pytest.raises(ApiError, match=r"port is .*, expected 1 to 65535"):
        read_request(MODEL_BODY | {"initial_config": config})


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "x", 19 * "9", 5000 * "9"])
def test_what_is_no_whole_number_is_none(text: str) -> None:
    assert whole(text) is None
    assert page([{"id": 1}], {"limit": text, "offset": text}, limit=10)["data"] == [{"id": 1}]


@pytest.mark.parametrize(
    "probe",
    [
        {"url": "health"},
        {"url": "/health?x=1"},
        {"url": ""},
        {"check_method": "TCP", "url": "/"},
        {"check_method": "EXEC"},
        {"check_method": "EXEC", "cmd": "curl $URL"},
        {"check_method": "EXEC", "cmd": 1025 * "a"},
        {"url": "/", "period_seconds": 0},
        {"url": "/", "failure_threshold": "many"},
    ],
    ids=str,
)
def test_a_probe_of_inference_2_0_is_held_to_its_rules(
    probe: dict[str, Any], platform: Platform
) -> None:
    body = json.loads(json.dumps(INFERENCE_BODY))
    body["group_configs"][0]["unit_configs"][0]["readiness_health"] = probe

    with pytest.raises(ApiError, match=r"readiness_health|check_method"):
        requests_v2.read_service(platform, body)
