"""A tag that is pushed again: who keeps the image that it named before, who takes the new one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import build_image, call, docker, publish_model, push_image

from custom_image import cloud as shipping
from custom_image.errors import UsageError
from custom_image.model_config import parse_model_config

LINKED = {"source_copy": "false"}
SERVICE_LABEL = "custom-image.service-instance"


class Moved(NamedTuple):
    """An address whose tag named one image first, and names another now; both with their ids."""

    address: str
    old: str
    new: str
    linked: str
    service: str


def image_id(image: str) -> str:
    return docker("image", "inspect", "--format", "{{.Id}}", image).strip()


def deploy(cloud: Cloud, name: str, address: str) -> str:
    """Create a service of v2 by the SDK; return its id."""
    unit = modelarts.UnitConfig(
        image=modelarts.ImageInfo(source="SWR", swr_path=address),
        port=8080,
        custom_spec=modelarts.CustomResourceSpec(cpu=1, memory=1024),
        termination_grace=modelarts.TerminationGrace(termination_grace_period_seconds=200),
    )
    group = modelarts.GroupConfig(pool_id="pool", count=1, weight=100, unit_configs=[unit])
    body = modelarts.ServiceCreateRequest(
        name=name, type="REAL_TIME", deploy_type="SINGLE", group_configs=[group]
    )
    created = cloud.modelarts.create_infer_service(modelarts.CreateInferServiceRequest(body=body))
    return str(created.id)


def containers(service_id: str) -> list[str]:
    """Return the containers of a service, the newest first."""
    return docker(
        "ps", "--all", "--quiet", "--filter", f"label={SERVICE_LABEL}={service_id}"
    ).split()


def runs(service_id: str) -> str:
    """Return the id of the image that a service runs, as soon as it has an instance."""
    found = wait_for(lambda: containers(service_id), "an instance is there")
    return docker("inspect", "--format", "{{.Image}}", found[0]).strip()


def size(cloud: Cloud, model_id: str) -> int:
    return int(call(cloud, "GET", f"/v1/{{project_id}}/models/{model_id}")["model_size"])


@pytest.fixture(scope="module")
def moved(
    quick: Cloud, docker_engine, serving_image: str, serving_config: dict[str, Any]
) -> Iterator[Moved]:
    newer = build_image(
        docker_engine, "custom-image/tests:newer", serving_image, {"note.txt": "new" * 100_000}
    )
    address = push_image(quick, serving_image, "moved")
    linked = publish_model(quick, address, serving_config, "linked-before", **LINKED)
    service = deploy(quick, "before", address)
    assert runs(service) == image_id(serving_image)
    push_image(quick, newer, "moved")
    yield Moved(address, image_id(serving_image), image_id(newer), linked, service)
    ids = {"service_ids": [service]}
    call(quick, "POST", "/v2/{project_id}/services/delete", ids)


def test_a_model_that_copies_takes_what_the_tag_names_and_one_that_does_not_keeps_the_old(
    quick: Cloud, moved: Moved, serving_config: dict[str, Any]
) -> None:
    old_size = size(quick, moved.linked)
    linked = publish_model(quick, moved.address, serving_config, "linked-after", **LINKED)
    copied = publish_model(quick, moved.address, serving_config, "copied-after")

    assert size(quick, linked) == old_size
    assert size(quick, copied) >= old_size + 300_000


def test_a_service_of_v2_keeps_its_image_when_its_instance_is_lost_and_a_new_one_takes_the_new(
    quick: Cloud, moved: Moved
) -> None:
    (first,) = containers(moved.service)
    subprocess.run(["docker", "rm", "--force", first], check=True, capture_output=True)
    wait_for(lambda: [c for c in containers(moved.service) if c != first], "it is replaced")
    after = deploy(quick, "after", moved.address)
    try:
        assert runs(moved.service) == moved.old
        assert runs(after) == moved.new
    finally:
        call(quick, "POST", "/v2/{project_id}/services/delete", {"service_ids": [after]})


def test_the_tool_refuses_to_publish_what_it_has_not_pushed(
    rehearsal: Rehearsal, moved: Moved, serving_config: dict[str, Any]
) -> None:
    here = shipping.open_cloud("local", folder=rehearsal.folder)
    now = shipping.find_image(moved.address, cloud=here)
    before = replace(now, digest=f"sha256:{'0' * 64}")
    config = parse_model_config(json.dumps(serving_config))

    with pytest.raises(UsageError, match=f"team/moved:1.0@{now.digest}"):
        shipping.publish(before, config, name="by-receipt", cloud=here)
    assert shipping.publish(now, config, name="by-receipt", cloud=here).digest == now.digest
