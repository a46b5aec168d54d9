"""Models of a local ModelArts, for tests that need one: built, pushed, created and published."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

import huaweicloudsdkswr.v2 as swr
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, wait_for

from custom_image.engines.docker.engine import DockerEngine
from custom_image.specification import MODEL_DIR


def build_image(engine: DockerEngine, tag: str, base: str, files: Mapping[str, str]) -> str:
    """Build an image whose model package has other files in place of its own."""
    dockerfile = f"FROM {base}\nCOPY --chown=1000:100 files/ {MODEL_DIR.value}/\n"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        members = {"Dockerfile": dockerfile} | {f"files/{n}": text for n, text in files.items()}
        for name, text in members.items():
            content = text.encode()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    messages = list(engine.build(context, tag, {}))
    assert not [message for message in messages if "error" in message], messages[-3:]
    return tag


def push_image(cloud: Cloud, image: str, repository: str, tag: str = "1.0") -> str:
    """Push an image of the engine into the organization of the tests; return its address."""
    address = f"{cloud.platform.registry}/team/{repository}:{tag}"
    login = cloud.swr.create_secret(swr.CreateSecretRequest(projectname="local"))
    words = login.x_swr_dockerlogin.split()
    docker("login", "-u", words[3], "--password-stdin", words[-1], stdin=words[5])
    try:
        docker("tag", image, address)
        docker("push", address)
    finally:
        docker("logout", words[-1])
        docker("rmi", address)
    return address


def publish_model(
    cloud: Cloud, address: str, config: Mapping[str, Any], name: str, **fields: Any
) -> str:
    """Create a model of an image that is in the registry; return its id once it is published.

    A model of an earlier try of the same test gives way.
    """
    body = {
        "model_name": name,
        "model_version": "1.0.0",
        "model_type": "Image",
        "source_location": address,
        "initial_config": json.dumps(dict(config)),
        **fields,
    }
    same = {"model_name": name, "model_version": body["model_version"], "exact_match": "true"}
    for earlier in call(cloud, "GET", "/v1/{project_id}/models", **same)["models"]:
        call(cloud, "DELETE", f"/v1/{{project_id}}/models/{earlier['model_id']}")
    model_id = call(cloud, "POST", "/v1/{project_id}/models", body)["model_id"]
    path = f"/v1/{{project_id}}/models/{model_id}"
    wait_for(
        lambda: call(cloud, "GET", path)["model_status"] != "publishing", "the model is checked"
    )
    model = call(cloud, "GET", path)
    assert model["model_status"] == "published", call(cloud, "GET", f"{path}/events")
    return str(model_id)


def delete_all(cloud: Cloud, services: Iterable[str], models: Iterable[str]) -> None:
    """Delete services, wait until they are gone, and delete their models."""
    services = list(services)
    for service_id in services:
        call(cloud, "DELETE", f"/v1/{{project_id}}/services/{service_id}")
    wait_for(lambda: all(is_gone(cloud, each) for each in services), "the services are gone")
    for model_id in models:
        call(cloud, "DELETE", f"/v1/{{project_id}}/models/{model_id}")


def is_gone(cloud: Cloud, service_id: str) -> bool:
    """Tell whether the platform knows no such service."""
    try:
        call(cloud, "GET", f"/v1/{{project_id}}/services/{service_id}")
    except ClientRequestException as error:
        return bool(error.error_code == "ModelArts.3502")
    return False


def call(cloud: Cloud, method: str, path: str, body: object = None, **query: str) -> Any:
    """Make a signed call of the classic API; return its JSON."""
    return json.loads(cloud.call(method, path, body, **query).raw_content or "{}")


def docker(*arguments: str, stdin: str = "") -> str:
    """Run the engine's own client; return what it wrote."""
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, input=stdin
    )
    return done.stdout
