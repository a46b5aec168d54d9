"""One config.json becomes each of the forms that the calls want."""

from __future__ import annotations

import json

import pytest

from custom_image.cloud import conversion
from custom_image.errors import PackageError
from custom_image.model_config import parse_model_config

HEALTH = {"check_method": "HTTP", "url": "/health", "initial_delay_seconds": 0}
CONFIG = {
    "model_algorithm": "image_classification",
    "model_type": "Image",
    "metrics": {"accuracy": 0.98},
    "apis": [
        {
            "url": "/",
            "method": "POST",
            "request": {
                "Content-type": "multipart/form-data",
                "data": {"type": "object", "properties": {"images": {"type": "file"}}},
            },
            "response": {
                "data": {
                    "type": "object",
                    "properties": {
                        "score": {"type": "number"},
                        "classes": {"type": "array", "items": [{"type": "string"}]},
                        "long": {"type": "object", "description": "x" * 100},
                    },
                }
            },
        },
        {"url": "/info", "method": "get"},
    ],
    "health": {**HEALTH, "period_seconds": "5", "failure_threshold": 12},
    "swr_note": "an unknown key is kept",
}


@pytest.fixture
def config():
    return parse_model_config(json.dumps(CONFIG))


def test_request_and_response_become_input_and_output_params(config):
    first, second = conversion.to_apis(config)

    assert first["input_params"] == CONFIG["apis"][0]["request"]["data"]
    assert first["output_params"] == CONFIG["apis"][0]["response"]["data"]
    assert (first["url"], first["method"], first["protocol"]) == ("/", "post", "http")
    assert second["input_params"] == {"type": "object", "properties": {}}


def test_the_flat_lists_name_each_member_and_describe_what_is_no_scalar(config):
    assert conversion.to_params(config, "request") == [
        {
            "url": "/",
            "method": "post",
            "protocol": "http",
            "param_name": "images",
            "param_type": "file",
        }
    ]
    score, classes, long = conversion.to_params(config, "response")
    assert (score["param_type"], "param_desc" in score) == ("float", False)
    assert json.loads(classes["param_desc"])["items"] == [{"type": "string"}]
    assert "param_desc" not in long


def test_initial_config_is_a_string_with_port_protocol_and_numbers_as_strings(config):
    text = conversion.to_initial_config(config, 8443)
    found = json.loads(text)

    assert isinstance(text, str)
    assert (found["port"], found["protocol"]) == ("8443", "http")
    assert found["health"] == {
        "check_method": "HTTP",
        "url": "/health",
        "initial_delay_seconds": "0",
        "period_seconds": "5",
        "failure_threshold": "12",
    }
    assert found["apis"][0]["request"]["Content-type"] == "multipart/form-data"
    assert found["swr_note"] == CONFIG["swr_note"]


def test_the_same_config_in_another_order_is_the_same_string(config):
    again = parse_model_config(json.dumps(dict(reversed(CONFIG.items()))))

    assert conversion.to_initial_config(again) == conversion.to_initial_config(config)


def test_metrics_are_a_string_too(config):
    assert json.loads(conversion.to_metrics(config)) == {"accuracy": 0.98}
    bare = parse_model_config('{"model_algorithm": "a", "model_type": "Image"}')
    assert conversion.to_metrics(bare) == ""


def test_probes_of_inference_2_0_have_whole_numbers_from_one(config):
    probes = conversion.to_probes(config)

    assert set(probes) == {"readiness_health", "liveness_health"}
    assert probes["liveness_health"] == {
        "check_method": "HTTP",
        "url": "/health",
        "protocol": "HTTP",
        "initial_delay_seconds": 1,
        "period_seconds": 5,
        "failure_threshold": 12,
    }


def test_a_command_becomes_a_probe_and_a_start_probe_stays_its_own():
    check = {"check_method": "EXEC", "command": "sh health.sh", "timeout_seconds": "3"}
    document = {**CONFIG, "health": None, "startup_health": check}
    config = parse_model_config(json.dumps(document))

    assert conversion.to_probes(config) == {
        "startup_health": {"check_method": "EXEC", "cmd": "sh health.sh", "timeout_seconds": 3}
    }


def test_predictions_go_to_the_first_post_or_to_the_url_that_is_named(config):
    assert conversion.predicting_api(config).url == "/"
    assert conversion.predicting_api(config, "/info").method == "get"
    assert conversion.file_field(config.apis[0]) == "images"
    assert conversion.file_field(config.apis[1]) == ""
    with pytest.raises(PackageError, match="expected an api at /other, found post /, get /info"):
        conversion.predicting_api(config, "/other")
