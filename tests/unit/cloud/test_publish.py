"""The verbs against a socket that speaks the API: what is sent, found again, left on failure."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_api import SECRET, FakeApi, fake_api, name_in_environment
from fake_docker import fake_docker

from custom_image import cloud as shipping
from custom_image.builders import BuiltImage
from custom_image.cloud import Cloud, DeployOptions, Model, PublishedImage, Service, receipts
from custom_image.cloud.images import Login, log_in
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import CloudRefused, Unavailable, UsageError
from custom_image.model_config import parse_model_config

DIGEST = f"sha256:{'ab' * 32}"
MOVED = f"sha256:{'ef' * 32}"
IMAGE_ID = f"sha256:{'cd' * 32}"
REFERENCE = "127.0.0.1:5000/team/mnist:1.0.0"
CONFIG = parse_model_config(
    json.dumps(
        {
            "model_algorithm": "image_classification",
            "model_type": "Image",
            "apis": [
                {
                    "request": {
                        "Content-type": "multipart/form-data",
                        "data": {"type": "object", "properties": {"images": {"type": "file"}}},
                    }
                }
            ],
            "health": {"url": "/health", "period_seconds": 5},
        }
    )
)
IMAGE = PublishedImage(REFERENCE, DIGEST, 10**8, False, 1.0, (("maker", "tests"),))
MODELS, SERVICES = "/v1/project/models", "/v1/project/services"
TAG = "/v2/manage/namespaces/team/repos/mnist"
PASSWORD = "the-password-of-nobody"


@pytest.fixture
def api(monkeypatch, tmp_path) -> Iterator[FakeApi]:
    with fake_api() as api:
        name_in_environment(api, monkeypatch, tmp_path)
        monkeypatch.chdir(tmp_path)
        api.answers["GET " + MODELS] = [(200, {"models": []})]
        api.answers["GET " + SERVICES] = [(200, {"services": []})]
        manifest = json.dumps({"config": {"digest": IMAGE_ID}})
        tag = {"digest": DIGEST, "manifest": manifest, "size": 10**8, "tag_type": 0}
        api.answers[f"GET {TAG}/tags/1.0.0"] = [(200, tag)]
        api.answers[f"GET {TAG}"] = [(200, {"is_public": False})]
        auth = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        login = "POST /v2/manage/utils/secret"
        api.answers[login] = [(200, {"auths": {"127.0.0.1:5000": {"auth": auth}}})]
        api.headers[login] = {"X-Swr-Expireat": "2999-01-01T00:00:00Z"}
        api.answers["GET /v2/manage/namespaces"] = [(200, {"namespaces": [{"name": "team"}]})]
        yield api


@pytest.fixture
def cloud(api) -> Cloud:
    return Cloud.connect()


def known_model(cloud: Cloud, **fields: Any) -> Model:
    return Model("m-1", "mnist", "1.0.0", "published", REFERENCE, DIGEST, CONFIG, **fields)


def move_the_tag(api: FakeApi) -> None:
    status, tag = api.answers[f"GET {TAG}/tags/1.0.0"][0]
    api.answers[f"GET {TAG}/tags/1.0.0"] = [(status, {**tag, "digest": MOVED})]


def remember_models(api: FakeApi, *statuses: str) -> None:
    """Let the API keep what is published; each look at it sees the next of the statuses."""
    kept: dict[str, dict[str, Any]] = {}
    left = list(statuses or ["published"])

    def create(body: dict[str, Any]) -> tuple[int, object]:
        model_id = f"m-{len(kept) + 1}"
        kept[model_id] = {**body, "model_id": model_id, "config": body["initial_config"]}
        api.answers[f"GET {MODELS}/{model_id}"] = lambda _: (
            200,
            {**kept[model_id], "model_status": left.pop(0) if len(left) > 1 else left[0]},
        )
        return 200, {"model_id": model_id}

    api.answers[f"POST {MODELS}"] = create
    api.answers[f"GET {MODELS}"] = lambda _: (200, {"models": list(kept.values())})


def remember_service(api: FakeApi, *statuses: str) -> None:
    """Let the API keep one service; each look at it sees the next of the statuses."""
    kept: dict[str, Any] = {}
    left = list(statuses or ["running"])
    path = f"{SERVICES}/s-1"

    def create(body: dict[str, Any]) -> tuple[int, object]:
        kept.update(body, service_id="s-1")
        return 200, {"service_id": "s-1"}

    def change(body: dict[str, Any]) -> tuple[int, object]:
        kept.update(body)
        return 200, {}

    def shown(_: object) -> tuple[int, object]:
        if not kept:
            return 404, {"error_code": "ModelArts.3502", "error_msg": "gone"}
        status = left.pop(0) if len(left) > 1 else left[0]
        return 200, {**kept, "status": status, "access_address": f"{api.url}/v1/infers/s-1"}

    def delete(_: object) -> tuple[int, object]:
        kept.clear()
        return 200, {}

    api.answers |= {f"POST {SERVICES}": create, f"PUT {path}": change, f"GET {path}": shown}
    api.answers[f"DELETE {path}"] = delete
    api.answers[f"GET {SERVICES}"] = lambda _: (200, {"services": [kept] if kept else []})
    events = [{"event_type": "abnormal", "event_info": "no port 8080", "occur_time": 1}]
    api.answers[f"GET {path}/events"] = [(200, {"events": events})]


# --- publish --------------------------------------------------------------------------------------
def test_a_model_is_published_with_all_forms_of_its_config_and_waited_for(api, cloud):
    remember_models(api, "publishing", "publishing", "published")

    model = shipping.publish(IMAGE, CONFIG, description="digits", cloud=cloud)

    body = api.body(f"POST {MODELS}")
    assert (model.id, model.name, model.version, model.was_there) == (
        "m-1",
        "mnist",
        "1.0.0",
        False,
    )
    assert body["source_location"] == REFERENCE
    assert body["source_copy"] == "true"
    assert body["description"] == f"digits {DIGEST}"
    assert json.loads(body["initial_config"])["health"]["period_seconds"] == "5"
    assert body["apis"][0]["input_params"]["properties"] == {"images": {"type": "file"}}
    assert "request_mode" not in body
    assert api.calls(f"GET {MODELS}/m-1").__len__() == 3


def test_publishing_again_finds_the_version_and_sends_nothing(api, cloud):
    remember_models(api)
    shipping.publish(IMAGE, CONFIG, cloud=cloud)

    again = shipping.publish(IMAGE, CONFIG, cloud=cloud)

    assert (again.id, again.version, again.was_there) == ("m-1", "1.0.0", True)
    assert len(api.calls(f"POST {MODELS}")) == 1


def test_other_content_becomes_the_next_version_and_never_replaces_one(api, cloud):
    remember_models(api)
    shipping.publish(IMAGE, CONFIG, cloud=cloud)
    other = PublishedImage(REFERENCE, MOVED, 1, False, 0.0)
    move_the_tag(api)

    assert shipping.publish(other, CONFIG, cloud=cloud).version == "1.0.1"
    with pytest.raises(UsageError, match=r"a version with other content \(digest\)"):
        shipping.publish(other, CONFIG, version="1.0.0", cloud=cloud)


def test_a_version_that_had_failed_is_published_anew(api, cloud):
    remember_models(api, "failed", "failed", "published")
    api.answers[f"GET {MODELS}/m-1/events"] = [(200, {"events": []})]
    with pytest.raises(CloudRefused):
        shipping.publish(IMAGE, CONFIG, cloud=cloud)
    api.answers[f"DELETE {MODELS}/m-1"] = [(200, {})]

    assert shipping.publish(IMAGE, CONFIG, cloud=cloud).status == "published"
    assert api.calls("DELETE") == [f"DELETE {MODELS}/m-1"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a b"}, "model_name: expected"),
        ({"version": "1.0"}, "model_version: expected"),
        ({"description": "x" * 29}, "at most 28 characters"),
        ({"description": "a=b"}, "description: expected none of"),
        ({"documents": [{"doc_name": "1", "doc_url": "http://x"}]}, "doc_name"),
    ],
)
def test_a_model_that_would_be_refused_is_never_sent(api, cloud, fields, words):
    with pytest.raises(UsageError, match=words):
        shipping.publish(IMAGE, CONFIG, **fields, cloud=cloud)

    assert not [call for call in api.calls() if not call.startswith("GET")]
    assert not Path("build/bundles").exists()


def test_a_public_image_and_a_missing_tag_are_refused_before_publishing(api, cloud):
    api.answers[f"GET {TAG}"] = [(200, {"is_public": True})]
    with pytest.raises(UsageError, match="a private image"):
        shipping.publish(IMAGE, CONFIG, cloud=cloud)

    api.answers[f"GET {TAG}/tags/1.0.0"] = [(404, {"error_code": "X", "error_msg": "none"})]
    with pytest.raises(UsageError, match="Push it first"):
        shipping.publish(IMAGE, CONFIG, cloud=cloud)
    assert api.calls("POST") == []


# --- deploy, upgrade, take down -------------------------------------------------------------------
def test_a_service_is_deployed_waited_for_and_found_again(api, cloud):
    remember_service(api, "deploying", "running")
    model = known_model(cloud)

    service = shipping.deploy(
        model, environment={"A": "b"}, pool="pool", generation="v1", cloud=cloud
    )
    again = shipping.deploy(
        model, environment={"A": "b"}, pool="pool", generation="v1", cloud=cloud
    )

    part = api.body(f"POST {SERVICES}")["config"][0]
    assert part == {
        "model_id": "m-1",
        "weight": 100,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 1,
        "envs": {"A": "b"},
        "deploy_timeout_in_seconds": 1200,
        "additional_properties": {"termination_grace_period_seconds": 90},
        "pool_name": "pool",
    }
    assert (service.id, service.was_there, again.was_there) == ("s-1", False, True)
    assert len(api.calls(f"POST {SERVICES}")) == 1
    assert api.calls("PUT") == []


def test_another_version_updates_the_service_and_keeps_how_it_was_deployed(api, cloud):
    remember_service(api)
    model = known_model(cloud)
    service = shipping.deploy(
        model, environment={"A": "b"}, instances=2, generation="v1", cloud=cloud
    )
    newer = Model("m-2", "mnist", "1.0.1", "published", REFERENCE, DIGEST, CONFIG)

    upgraded = shipping.upgrade(service, newer)

    (part,) = api.body(f"PUT {SERVICES}/s-1")["config"]
    assert (part["model_id"], part["envs"], part["instance_count"]) == ("m-2", {"A": "b"}, 2)
    assert (upgraded.id, upgraded.model.version) == ("s-1", "1.0.1")


def test_deploying_a_newer_version_keeps_what_is_not_said_anew(api, cloud):
    remember_service(api)
    shipping.deploy(
        known_model(cloud), environment={"A": "b"}, pool="mine", generation="v1", cloud=cloud
    )
    newer = Model("m-2", "mnist", "1.0.1", "published", REFERENCE, DIGEST, CONFIG)

    shipping.deploy(newer, instances=2, generation="v1", cloud=cloud)

    (part,) = api.body(f"PUT {SERVICES}/s-1")["config"]
    assert (part["model_id"], part["instance_count"]) == ("m-2", 2)
    assert (part["envs"], part["pool_name"]) == ({"A": "b"}, "mine")


def test_a_service_that_was_stopped_is_started(api, cloud):
    remember_service(api, "running", "stopped", "stopped", "running")
    model = known_model(cloud)
    shipping.deploy(model, generation="v1", cloud=cloud)

    assert shipping.deploy(model, generation="v1", cloud=cloud).status == "running"
    assert api.body(f"PUT {SERVICES}/s-1") == {"status": "running"}


def test_taking_down_waits_until_it_is_gone_and_may_be_repeated(api, cloud):
    remember_service(api)
    service = shipping.deploy(known_model(cloud), generation="v1", cloud=cloud)

    shipping.delete(service)
    shipping.delete(service)

    assert len(api.calls(f"DELETE {SERVICES}/s-1")) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DeployOptions(instances=129), "instance_count"),
        (DeployOptions(deploy_timeout_min=121), "deploy timeout"),
        (DeployOptions(grace_s=60), "at least 90 s"),
        (DeployOptions(environment={"1": "x"}), "environment variable"),
        (DeployOptions(mounts={"/obs-mount/": "obs://b/f/"}), "a dedicated resource pool"),
        (DeployOptions(mounts={"/var/run": "obs://b/f/"}, pool="p"), "mount path"),
        (DeployOptions(description="a+b"), "description"),
    ],
)
def test_a_service_that_would_be_refused_is_never_sent(api, cloud, options, words):
    with pytest.raises(UsageError, match=words):
        shipping.deploy(known_model(cloud), options=options, generation="v1", cloud=cloud)

    assert api.asked == []


def test_a_classic_model_answers_later_or_at_once_as_it_was_published(api, cloud):
    with pytest.raises(UsageError, match="expected one that answers later, found"):
        shipping.deploy(known_model(cloud), asynchronous=True, generation="v1", cloud=cloud)


def test_an_asynchronous_service_gives_its_image_the_time_it_needs(api, cloud):
    remember_service(api)
    model = known_model(cloud, is_asynchronous=True)

    shipping.deploy(model, asynchronous=True, generation="v1", cloud=cloud)

    envs = api.body(f"POST {SERVICES}")["config"][0]["envs"]
    assert envs == {"PREDICT_TIMEOUT_SECONDS": "7200"}


# --- v2 --------------------------------------------------------------------------------
def test_v2_is_the_default_and_asked_by_the_sdks_own_methods_with_numbers_as_numbers(api, cloud):
    path = "/v2/project/services"
    group = {"count": 1, "unit_configs": [{"image": {"swr_path": REFERENCE}, "envs": {}}]}
    shown = {
        "id": "i-1",
        "status": "RUNNING",
        "type": "REAL_TIME",
        "version": {"version": "1.0.0", "instance_groups": [group]},
        "predict_url": [{"type": "PUBLIC", "urls": ["https://gateway/i-1"]}],
    }
    api.answers |= {f"GET {path}": [(200, {"data": []})], f"POST {path}": [(200, {"id": "i-1"})]}
    api.answers |= {f"GET {path}/i-1": [(200, {**shown, "status": "DEPLOYING"}), (200, shown)]}
    api.answers[f"GET {path}/i-1/events"] = [(200, {"data": []})]

    service = shipping.deploy(known_model(cloud), cloud=cloud)

    body = api.body(f"POST {path}")
    (unit,) = body["group_configs"][0]["unit_configs"]
    assert (service.url, service.generation) == ("https://gateway/i-1", "v2")
    assert unit["liveness_health"]["period_seconds"] == 5
    assert unit["termination_grace"] == {"termination_grace_period_seconds": 90}
    assert body["runtime_config"]["service_invoke"]["protocol"] == "HTTP"

    newer = Model("m-2", "mnist", "1.0.1", "published", REFERENCE + "1", DIGEST, CONFIG)
    changed = json.loads(json.dumps(shown).replace(REFERENCE, REFERENCE + "1"))
    api.answers[f"GET {path}"] = [(200, {"data": [{"id": "i-1", "name": "mnist"}]})]
    api.answers[f"GET {path}/i-1"] = [(200, shown), (200, {**shown, "status": "UPGRADING"})]
    api.answers[f"GET {path}/i-1"] += [(200, changed)]
    api.answers[f"PUT {path}/i-1"] = [(200, {})]
    shipping.upgrade(service, newer)
    assert api.body(f"PUT {path}/i-1")["version"] == "1.0.1"


# --- predict --------------------------------------------------------------------------------------
def deployed(cloud: Cloud, api: FakeApi, **fields: Any) -> Service:
    service = {"id": "s-1", "name": "mnist", "generation": "v1", "model": known_model(cloud)}
    service |= {"url": f"{api.url}/v1/infers/s-1", "status": "running", "options": DeployOptions()}
    service |= {"is_asynchronous": False, "was_there": False, "seconds": 1.0, "cloud": cloud}
    return Service(**{**service, **fields})


def test_a_prediction_is_a_signed_form_and_a_refusal_is_an_answer(api, cloud):
    path = "POST /v1/infers/s-1/"
    api.answers[path] = [(200, {"mnist_result": 7}), (413, {"error_code": "APIG.0201"})]

    answer = deployed(cloud, api).predict(b"a picture", filename="seven.jpg")

    headers, body = api.raw[-1]
    assert (answer.json, answer.ok) == ({"mnist_result": 7}, True)
    assert 'name="images"; filename="seven.jpg"' in body.decode()
    assert headers["X-Sdk-Content-Sha256"] == "UNSIGNED-PAYLOAD"
    assert "x-sdk-content-sha256" in headers["Authorization"]
    assert deployed(cloud, api).predict(b"too large").status == 413


def test_a_token_stands_in_for_a_signature(api, cloud):
    api.answers["POST /v1/infers/s-1/"] = [(200, {})]

    deployed(cloud, api).predict(b"x", token="a-token")

    assert api.raw[-1][0]["X-Auth-Token"] == "a-token"
    assert "Authorization" not in api.raw[-1][0]


def test_members_for_an_api_of_files_are_refused(api, cloud):
    with pytest.raises(UsageError, match="expected a file"):
        deployed(cloud, api).predict({"x": 1})


def test_an_asynchronous_answer_is_submitted_asked_for_and_fetched(api, cloud):
    base = "/v1/infers/s-1"
    api.answers[f"POST {base}/"] = [(202, {"task_id": "t-1"})]
    task = f"GET {base}/async-tasks/t-1"
    api.answers[task] = [(200, {"status": "RUNNING"}), (200, {"status": "SUCCEEDED"})]
    api.answers[f"{task}/result"] = [(200, {"mnist_result": 7})]

    answer = deployed(cloud, api, is_asynchronous=True).predict(b"x")

    assert answer.json == {"mnist_result": 7}
    assert "by a task" in answer.request


def test_a_task_that_fails_says_why(api, cloud):
    base = "/v1/infers/s-1"
    api.answers[f"POST {base}/"] = [(202, {"task_id": "t-1"})]
    failed = {"status": "FAILED", "error_message": "the instance died"}
    api.answers[f"GET {base}/async-tasks/t-1"] = [(200, failed)]
    api.answers[f"GET {base}/async-tasks/t-1/result"] = [(409, {})]

    with pytest.raises(CloudRefused, match="the instance died"):
        deployed(cloud, api, is_asynchronous=True).predict(b"x")


def test_a_gateway_that_does_not_answer_is_unavailable(api, cloud):
    with pytest.raises(Unavailable, match="got no answer"):
        deployed(cloud, api, url="http://127.0.0.1:9").predict(b"x")


# --- push -----------------------------------------------------------------------------------------
@pytest.fixture
def docker(tmp_path, monkeypatch) -> Iterator[Any]:
    with fake_docker(tmp_path / "docker.sock") as docker:
        monkeypatch.setenv("DOCKER_HOST", docker.url)
        image = {"Id": IMAGE_ID, "Size": 1, "RootFS": {"Layers": ["a", "b"]}, "RepoTags": []}
        image |= {"Config": {"Labels": {"maker": "tests"}}, "Architecture": "amd64", "Os": "linux"}
        docker.answers["GET /images/mnist:1.0.0/json"] = (200, image)
        docker.answers[f"GET /images/{IMAGE_ID}/history"] = (200, [])
        docker.answers["GET /containers/json"] = (200, [])
        docker.answers["POST /images/mnist:1.0.0/tag"] = (201, {})
        pushed = "POST /images/127.0.0.1:5000/team/mnist/push"
        docker.answers[pushed] = (200, {"status": "Pushed"})
        yield docker


def test_an_image_that_is_there_is_not_pushed_again(api, cloud, docker):
    found = shipping.push("mnist:1.0.0", "team/mnist:1.0.0", cloud=cloud)

    assert (found.reference, found.digest, found.was_there) == (REFERENCE, DIGEST, True)
    assert found.labels == (("maker", "tests"),)
    assert docker.asked("POST") == []


def test_an_image_is_tagged_and_pushed_with_the_temporary_login(api, cloud, docker):
    there = api.answers[f"GET {TAG}/tags/1.0.0"][0]
    api.answers[f"GET {TAG}/tags/1.0.0"] = [(404, {"error_code": "X", "error_msg": "none"}), there]

    found = shipping.push("mnist:1.0.0", "team/mnist:1.0.0", cloud=cloud)

    assert (found.was_there, found.digest) == (False, DIGEST)
    assert [call.partition("?")[0] for call in docker.asked("POST")] == [
        "POST /images/mnist:1.0.0/tag",
        "POST /images/127.0.0.1:5000/team/mnist/push",
    ]


def test_a_tag_that_a_model_depends_on_is_not_moved(api, cloud, docker):
    other = json.dumps({"config": {"digest": "sha256:other"}})
    tag = {"digest": DIGEST, "manifest": other, "size": 1, "tag_type": 0}
    api.answers[f"GET {TAG}/tags/1.0.0"] = [(200, tag)]
    model = {"model_id": "m-1", "model_name": "mnist", "model_version": "1.0.0"}
    api.answers[f"GET {MODELS}"] = [(200, {"models": [model]})]
    uncopied = {**model, "source_location": REFERENCE, "source_copy": "false"}
    api.answers[f"GET {MODELS}/m-1"] = [(200, uncopied)]

    with pytest.raises(UsageError, match=r"used by mnist 1\.0\.0"):
        shipping.push("mnist:1.0.0", "team/mnist:1.0.0", cloud=cloud)
    assert docker.asked("POST") == []


def test_a_tag_that_was_moved_since_the_push_is_not_published(api, cloud):
    remember_models(api)
    move_the_tag(api)

    with pytest.raises(UsageError) as refused:
        shipping.publish(IMAGE, CONFIG, cloud=cloud)

    assert str(refused.value).splitlines() == [
        f"{REFERENCE}: expected the image {DIGEST[:19]}, found {MOVED[:19]}: its tag was moved.",
        "Push yours under a tag of its own, or publish what is there now: team/mnist:1.0.0@"
        + MOVED,
    ]
    assert api.calls(f"POST {MODELS}") == []


def test_what_is_there_now_is_published_by_its_digest_and_no_other(api, cloud):
    remember_models(api)
    move_the_tag(api)

    meant = shipping.find_image(f"team/mnist:1.0.0@{MOVED}", cloud=cloud)
    assert shipping.publish(meant, CONFIG, cloud=cloud).digest == MOVED
    other = shipping.find_image(f"team/mnist:1.0.0@{DIGEST}", cloud=cloud)
    with pytest.raises(UsageError, match="its tag was moved"):
        shipping.publish(other, CONFIG, name="other", cloud=cloud)
    with pytest.raises(UsageError, match="a tag before the digest"):
        shipping.find_image(f"team/mnist@{MOVED}", cloud=cloud)


def test_v2_which_takes_the_image_by_its_tag_is_not_given_another_one(api, cloud):
    api.answers["GET /v2/project/services"] = [(200, {"data": []})]
    move_the_tag(api)

    with pytest.raises(UsageError, match="its tag was moved"):
        shipping.deploy(known_model(cloud), generation="v2", cloud=cloud)
    assert api.calls("POST /v2/project") == []


def test_an_image_that_was_built_anew_under_the_same_name_is_not_pushed(api, cloud, docker):
    facts = DockerEngine.connect().inspect("mnist:1.0.0")
    built = BuiltImage("mnist:1.0.0", replace(facts, id=MOVED), (), 1.0, "")

    with pytest.raises(UsageError, match="Build it again, or push it by its name"):
        shipping.push(built, "team/mnist:1.0.0", cloud=cloud)
    assert shipping.push(replace(built, facts=facts), "team/mnist:1.0.0", cloud=cloud).was_there


def test_a_receipt_outlives_the_command_that_pushed(api, cloud):
    now = shipping.find_image("team/mnist:1.0.0", cloud=cloud)
    assert receipts.as_pushed(now) == now
    receipts.keep(IMAGE)
    move_the_tag(api)

    assert receipts.as_pushed(shipping.find_image("team/mnist:1.0.0", cloud=cloud)).digest == DIGEST
    receipts.RECEIPTS.write_text("[broken")
    assert receipts.as_pushed(now) == now


@pytest.mark.parametrize("name", ["library/mnist:1", "team/mnist--x:1", "1team/mnist:1"])
def test_a_name_that_swr_would_refuse_is_never_pushed(api, cloud, docker, name):
    with pytest.raises(UsageError):
        shipping.push("mnist:1.0.0", name, cloud=cloud)

    assert (api.asked, docker.asked("POST")) == ([], [])


# --- secrets, dry runs, bundles -------------------------------------------------------------------
def test_no_text_form_holds_a_secret(api, cloud):
    login = log_in(cloud)
    service = deployed(cloud, api, options=DeployOptions(environment={"DB_PASSWORD": "hunter2x"}))

    assert (login.user, login.password) == ("me", PASSWORD)
    for noun in (login, cloud, service, service.options, service.model, cloud.wire.calls):
        shown = f"{noun!r} {noun} {getattr(noun, '_repr_html_', str)()}"
        assert PASSWORD not in shown
        assert SECRET not in shown
        assert "hunter2x" not in shown
    assert isinstance(login, Login)


def test_a_dry_run_prints_every_call_masked_and_sends_nothing(api, capsys):
    cloud = shipping.open_cloud("cloud", dry_run=True)

    published = shipping.push("mnist:1.0.0", "team/mnist:1.0.0", cloud=cloud)
    model = shipping.publish(published, CONFIG, cloud=cloud)
    secret = {"DB_PASSWORD": "hunter2x", "LEVEL": "info"}
    service = shipping.deploy(model, environment=secret, generation="v1", cloud=cloud)
    service.predict(b"x")
    shipping.delete(service)

    said = capsys.readouterr().out
    assert api.asked == []
    for call in (
        f"POST {api.url}/v2/manage/utils/secret",
        "docker push REGISTRY/team/mnist:1.0.0",
        f"POST {api.url}{MODELS}",
        f"POST {api.url}{SERVICES}",
        "POST https://GATEWAY/v1/infers/SERVICE_ID/",
        f"DELETE {api.url}{SERVICES}/SERVICE_ID",
    ):
        assert call in said
    assert '"DB_PASSWORD": "***"' in said
    assert '"LEVEL": "info"' in said
    assert not {SECRET, "hunter2x"} & set(said.split('"'))
    assert not list(Path().rglob("*.zip"))


def test_a_dry_run_of_inference_2_0_and_of_a_batch_needs_no_keys(api, monkeypatch, capsys):
    for name in ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"):
        monkeypatch.delenv(name)
    cloud = shipping.open_cloud("cloud", dry_run=True)

    shipping.deploy(known_model(cloud), cloud=cloud)
    shipping.batch(known_model(cloud), "obs://b/in/", "obs://b/out/", cloud=cloud)

    said = capsys.readouterr().out
    assert api.asked == []
    assert '"termination_grace_period_seconds": 90' in said
    assert '"mapping_type": "file"' in said


def test_a_failure_leaves_one_bundle_that_its_message_names(api, cloud, monkeypatch):
    remember_service(api, "deploying", "failed")
    report = Path("build/last_report.json")
    report.parent.mkdir()
    report.write_text('{"verdict": "PASSED"}')

    with pytest.raises(CloudRefused) as failed:
        shipping.deploy(
            known_model(cloud),
            environment={"DB_PASSWORD": "hunter2x"},
            generation="v1",
            cloud=cloud,
        )

    lines = str(failed.value).splitlines()
    (bundle,) = Path("build/bundles").iterdir()
    assert len(lines) == 3
    assert "mnist was not deployed with mnist 1.0.0: it is failed." in lines[0]
    assert "no port 8080" in lines[1]
    assert lines[2] == f"Events, logs and settings: {bundle}"
    with zipfile.ZipFile(bundle) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(parts) == {
        *("error.txt", "calls.jsonl", "events.json", "logs.txt", "request.json", "config.json"),
        *("image.json", "report.json"),
    }
    assert "no port 8080" in parts["events.json"]
    assert DIGEST in parts["image.json"]
    assert json.loads(parts["report.json"]) == {"verdict": "PASSED"}
    calls = [json.loads(line) for line in parts["calls.jsonl"].splitlines()]
    assert [call["status"] for call in calls] == [200] * len(calls)
    everything = " ".join(parts.values())
    assert not [secret for secret in (SECRET, PASSWORD, "hunter2x") if secret in everything]


def test_a_deadline_ends_the_wait_and_says_how_it_stands(api, cloud):
    remember_service(api, "deploying")

    with pytest.raises(CloudRefused, match=r"not done after \d+ s; it is deploying"):
        shipping.deploy(known_model(cloud), timeout_s=0.3, generation="v1", cloud=cloud)


def test_a_refusal_quotes_the_platform_and_leaves_a_bundle(api, cloud):
    api.answers[f"POST {SERVICES}"] = [(400, {"error_code": "ModelArts.3519", "error_msg": "no"})]

    with pytest.raises(CloudRefused, match=r"ModelArts\.3519\n.*no\n.*build/bundles/deploy-mnist-"):
        shipping.deploy(known_model(cloud), generation="v1", cloud=cloud)


# --- batch ----------------------------------------------------------------------------------------
def test_a_batch_on_the_cloud_reads_obs_alone(api, cloud, tmp_path):
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/a.jpg").write_bytes(b"x")

    with pytest.raises(UsageError, match="Copy the files to OBS first"):
        shipping.batch(known_model(cloud), tmp_path / "digits", cloud=cloud)
    with pytest.raises(UsageError, match=r"a folder of files, or a \.manifest"):
        shipping.batch(known_model(cloud), tmp_path / "none", cloud=cloud)
    assert api.asked == []


def test_the_same_batch_has_the_same_name_and_is_found(api, cloud):
    jobs: list[dict[str, Any]] = []

    def create(body: dict[str, Any]) -> tuple[int, object]:
        jobs.append({**body, "service_id": "b-1"})
        return 200, {"service_id": "b-1"}

    api.answers[f"POST {SERVICES}"] = create
    api.answers[f"GET {SERVICES}"] = lambda _: (200, {"services": jobs})
    api.answers[f"GET {SERVICES}/b-1"] = [
        (200, {"status": "running"}),
        (200, {"status": "finished"}),
    ]
    where = ("obs://b/in/all.manifest", "obs://b/out/")

    first = shipping.batch(known_model(cloud), *where, cloud=cloud)
    again = shipping.batch(known_model(cloud), *where, cloud=cloud)

    assert (first.was_there, again.was_there, first.name) == (False, True, again.name)
    assert len(jobs) == 1
    assert jobs[0]["config"][0]["src_type"] == "ManifestFile"
