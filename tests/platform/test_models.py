"""Models: imported from the registry, checked as the platform checks them, published or failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import huaweicloudsdkswr.v2 as swr
import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call, docker, publish_model, push_image
from local_services import config_of, deploy, deployed

MODELS = "/v1/{project_id}/models"


@pytest.fixture(scope="module")
def known(rehearsal: Rehearsal) -> Cloud:
    """The SDK's clients, for tests that need no other limits."""
    return rehearsal.up()


def create(cloud: Cloud, address: str, config: dict[str, Any], name: str, **fields: Any) -> str:
    body = {
        "model_name": name,
        "model_version": "1.0.0",
        "model_type": "Image",
        "source_location": address,
        "initial_config": json.dumps(config),
    } | fields
    return str(call(cloud, "POST", MODELS, body)["model_id"])


def checked(cloud: Cloud, model_id: str) -> tuple[str, list[str]]:
    """Return status and events, oldest first, as soon as the model has been checked."""
    path = f"{MODELS}/{model_id}"
    wait_for(lambda: call(cloud, "GET", path)["model_status"] != "publishing", "the check")
    events = call(cloud, "GET", f"{path}/events")["events"]
    status: str = call(cloud, "GET", path)["model_status"]
    return status, [event["event_info"] for event in reversed(events)]


def test_a_pushed_image_becomes_a_published_model(
    known: Cloud, serving_address: str, serving_config: dict[str, Any]
) -> None:
    description = f"digits sha256:{64 * '0'}"
    model_id = create(known, serving_address, serving_config, "whole", description=description)

    status, events = checked(known, model_id)

    assert (status, events) == (
        "published",
        [
            "Start model import.",
            "Source image size calculated.",
            "Source image shared.",
            "The model imported.",
        ],
    )
    model = call(known, "GET", f"{MODELS}/{model_id}")
    assert json.loads(model["config"])["health"] == serving_config["health"]
    assert model["description"] == description
    assert model["install_type"] == ["realtime", "batch"]
    assert model["model_size"] > 50_000_000, "it is the size unpacked"


FAULTS: dict[str, tuple[Callable[[str, dict[str, Any]], dict[str, Any]], str]] = {
    "the tag is not there": (
        lambda address, _: {"source_location": address.replace(":1.0", ":9.9")},
        "does not have the 9.9 tag.",
    ),
    "the image is not there": (
        lambda address, _: {"source_location": address.replace("/serving", "/nothing")},
        "Failed to obtain the source image. Check whether the image exists.",
    ),
    "another registry": (
        lambda *_: {"source_location": "swr.cn-north-4.myhuaweicloud.com/team/serving:1.0"},
        "Failed to obtain the source image. Check whether the image exists.",
    ),
    "dependencies": (
        lambda _, config: {"initial_config": config | {"dependencies": [{"installer": "pip"}]}},
        "Customize model does not support dependencies.",
    ),
    "a wrong value": (
        lambda _, config: {"initial_config": config | {"metrics": {"f1": "good"}}},
        "Invalid metrics.f1 in config.json.",
    ),
    "a health check without a path": (
        lambda _, config: {"initial_config": config | {"health": {"url": "health"}}},
        "The health check url of custom image model must be",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_fails_in_the_platforms_words(
    fault: str, known: Cloud, serving_address: str, serving_config: dict[str, Any]
) -> None:
    change, words = FAULTS[fault]
    fields = change(serving_address, serving_config)
    if "initial_config" in fields:
        fields["initial_config"] = json.dumps(fields["initial_config"])

    model_id = create(known, serving_address, serving_config, "failing", **fields)
    status, events = checked(known, model_id)

    assert status == "failed"
    assert words in events[-1]
    assert words in call(known, "GET", f"{MODELS}/{model_id}")["error_msg"]
    with pytest.raises(ClientRequestException) as refused:
        deploy(known, "of-a-failed-model", config_of(model_id))
    assert refused.value.status_code == 404
    call(known, "DELETE", f"{MODELS}/{model_id}")


def test_an_image_of_a_public_repository_is_refused(
    known: Cloud, notebook_image: str, serving_config: dict[str, Any]
) -> None:
    body = swr.CreateRepoRequestBody(repository="open", is_public=True)
    known.swr.create_repo(swr.CreateRepoRequest(namespace="team", body=body))
    address = push_image(known, notebook_image, "open")

    status, events = checked(known, create(known, address, serving_config, "open"))

    assert status == "failed"
    assert events[-1].startswith("Failed to share the source image.")
    assert "team/open is public" in events[-1]


def test_an_image_that_is_too_large_is_refused_by_its_size_unpacked(
    rehearsal: Rehearsal, serving_address: str, serving_config: dict[str, Any]
) -> None:
    cloud = rehearsal.restart("model_size_bytes=1000000")

    status, events = checked(cloud, create(cloud, serving_address, serving_config, "large"))
    rehearsal.restart()

    assert status == "failed"
    assert events[-1] == f"Image [{serving_address}] is larger than 0G and cannot be imported."


@pytest.mark.parametrize(
    "fields",
    [
        {"model_name": ""},
        {"model_name": "a b"},
        {"model_name": 65 * "a"},
        {"model_version": "1.0"},
        {"model_version": "01.0.0"},
        {"model_version": "1.0.100"},
        {"model_type": "PyTorch"},
        {"source_location": ""},
        {"source_copy": "maybe"},
        {"install_type": ["real-time", "edgewise"]},
        {"description": "a < b"},
        {"description": 101 * "a"},
        {"model_docs": [{}, {}, {}, {}]},
        {"initial_config": "{"},
        {"initial_config": "[]"},
    ],
    ids=str,
)
def test_a_field_that_is_not_allowed_is_refused_at_once(
    fields: dict[str, Any], known: Cloud, serving_address: str
) -> None:
    with pytest.raises(ClientRequestException) as refused:
        create(known, serving_address, {}, "refused", **fields)

    assert (refused.value.status_code, refused.value.error_code) == (400, "ModelArts.0104")


def test_versions_stand_side_by_side_and_one_of_them_only_once(
    known: Cloud, serving_address: str, serving_config: dict[str, Any]
) -> None:
    ids = {
        version: publish_model(
            known, serving_address, serving_config, "versions", model_version=version
        )
        for version in ("0.0.1", "10.2.99")
    }

    with pytest.raises(ClientRequestException) as refused:
        create(known, serving_address, serving_config, "versions", model_version="0.0.1")
    found = [m for m in call(known, "GET", MODELS)["models"] if m["model_name"] == "versions"]

    assert "already exists" in refused.value.error_msg
    assert {m["model_version"]: m["model_id"] for m in found} == ids
    assert call(known, "DELETE", f"{MODELS}/{ids['0.0.1']}")["delete_success_list"]
    with pytest.raises(ClientRequestException) as gone:
        call(known, "GET", f"{MODELS}/{ids['0.0.1']}")
    assert gone.value.status_code == 404
    wait_for(
        lambda: ids["0.0.1"] not in docker("images", "--format", "{{.Tag}}"), "its image is gone"
    )


def test_a_copied_image_that_the_engine_has_lost_is_fetched_again(
    quick: Cloud, serving_image: str, serving_config: dict[str, Any]
) -> None:
    """As after ``docker image prune --all``."""
    address = push_image(quick, serving_image, "pruned")
    model = publish_model(quick, address, serving_config, "pruned")
    copies = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    docker("rmi", *(copy for copy in copies if copy.endswith(f":{model}")))

    with deployed(quick, "pruned", config_of(model)) as service:
        service.running()


def test_a_copied_image_outlives_its_tag_and_a_model_in_use_its_deletion(
    quick: Cloud, serving_image: str, serving_config: dict[str, Any]
) -> None:
    address = push_image(quick, serving_image, "shortlived")
    copied = publish_model(quick, address, serving_config, "copied")
    linked = publish_model(quick, address, serving_config, "linked", source_copy="false")
    tag = swr.DeleteRepoTagRequest(namespace="team", repository="shortlived", tag="1.0")
    quick.swr.delete_repo_tag(tag)

    with deployed(quick, "copied", config_of(copied)) as service:
        service.running()
        kept = call(quick, "DELETE", f"{MODELS}/{copied}")["delete_failed_list"]
        assert (kept[0]["model_id"], kept[0]["error_msg"]) == (
            copied,
            "Model copied is used by service copied.",
        )
    with deployed(quick, "linked", config_of(linked)) as service:
        assert service.settled() == "failed"
        assert "Failed to pull image, retry later" in service.events("abnormal")[0]
