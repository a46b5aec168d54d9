"""The official SDK against a socket that speaks the API: what is asked, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_api import SECRET, fake_api, name_in_environment
from fake_api import FakeApi as Api

from custom_image.cloud import Cloud, SavedImage
from custom_image.errors import CloudRefused, Unavailable, UsageError

PATH = "/v1/project/notebooks/nb-1/create-image"
IMAGE = {"id": "im-1", "status": "CREATING", "swr_path": "swr.local/team/mnist:1.0"}
MANIFEST = {"layers": [{"digest": "sha256:a", "size": 100}, {"digest": "sha256:b", "size": 23}]}


@pytest.fixture
def api(monkeypatch, tmp_path) -> Iterator[Api]:
    with fake_api() as api:
        name_in_environment(api, monkeypatch, tmp_path)
        yield api


def ready(api: Api, *shown: dict[str, object]) -> None:
    api.answers[f"POST {PATH}"] = [(200, IMAGE)]
    api.answers["GET /v1/project/images/im-1"] = [(200, IMAGE | one) for one in shown]
    api.answers["GET /v2/manage/namespaces/team/repos/mnist/tags/1.0"] = [
        (200, {"manifest": json.dumps(MANIFEST)})
    ]


def test_a_save_is_waited_for_and_read_back(api):
    ready(api, {}, {"status": "ACTIVE", "size": 123})

    image = Cloud.connect().save_notebook("nb-1", "team/mnist:1.0", description="digits")

    assert api.asked[0] == (
        f"POST {PATH}",
        {"name": "mnist", "namespace": "team", "tag": "1.0", "description": "digits"},
    )
    assert [call for call, _ in api.asked].count("GET /v1/project/images/im-1") == 2
    assert (image.id, image.reference, image.size_bytes) == ("im-1", IMAGE["swr_path"], 123)
    assert image.layers == (("sha256:a", 100), ("sha256:b", 23))


def test_a_size_in_kilobytes_is_told_from_one_in_bytes(api):
    ready(api, {"status": "ACTIVE", "size": 1})

    assert Cloud.connect().save_notebook("nb-1", "team/mnist:1.0").size_bytes == 1000


def test_a_save_that_fails_is_told_in_the_platforms_words(api):
    words = "too many layers in your image"
    ready(api, {"status": "CREATE_FAILED", "status_message": words})

    with pytest.raises(CloudRefused, match=f"CREATE_FAILED .*\n.* says: {words}"):
        Cloud.connect().save_notebook("nb-1", "team/mnist:1.0")


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ModelArts.6737"), (401, "APIG.0301"), (501, "LocalModelArts.501")]
)
def test_a_refusal_names_the_call_the_code_and_the_words(api, status, code):
    api.answers[f"POST {PATH}"] = [(status, {"error_code": code, "error_msg": "its own words"})]

    with pytest.raises(CloudRefused) as refused:
        Cloud.connect().save_notebook("nb-1", "team/mnist:1.0")

    assert f"refuses to save instance nb-1 as team/mnist:1.0: {status} {code}\n" in str(
        refused.value
    )
    assert "its own words" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_api_that_does_not_answer_is_unavailable(api, monkeypatch):
    monkeypatch.setenv("MODELARTS_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(Unavailable, match="gave no answer when asked to list the organizations"):
        Cloud.connect().organizations()


def test_an_organization_is_created_once(api):
    api.answers["GET /v2/manage/namespaces"] = [(200, {"namespaces": [{"name": "team"}]})]
    api.answers["POST /v2/manage/namespaces"] = [(201, {})]
    cloud = Cloud.connect()

    cloud.create_organization("team")
    assert [call for call, _ in api.asked] == ["GET /v2/manage/namespaces"]
    cloud.create_organization("other")

    assert api.asked[-1] == ("POST /v2/manage/namespaces", {"namespace": "other"})


def test_a_name_that_is_none_is_refused_before_anything_is_asked(api):
    with pytest.raises(UsageError, match="no image reference"):
        Cloud.connect().save_notebook("nb-1", "Team/MNIST")

    assert api.asked == []


@pytest.mark.parametrize("missing", ["HUAWEICLOUD_SDK_AK", "MODELARTS_ENDPOINT"])
def test_what_is_missing_is_named_with_what_to_set(api, monkeypatch, missing):
    monkeypatch.delenv(missing)
    monkeypatch.delenv("HW_REGION_NAME", raising=False)

    with pytest.raises(UsageError, match=missing):
        Cloud.connect()


def test_a_region_gives_the_endpoint_and_one_that_is_none_is_refused(api, monkeypatch):
    monkeypatch.delenv("MODELARTS_ENDPOINT")
    monkeypatch.setenv("HW_REGION_NAME", "cn-north-4")
    assert Cloud.connect().endpoint == "https://modelarts.cn-north-4.myhuaweicloud.com"

    monkeypatch.setenv("HW_REGION_NAME", "moon-1")
    with pytest.raises(UsageError, match="moon-1"):
        Cloud.connect()


def test_an_instance_of_the_local_platform_finds_keys_and_endpoint_in_its_home(
    api, monkeypatch, tmp_path
):
    for name in ("MODELARTS_ENDPOINT", "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"):
        monkeypatch.delenv(name)
    folder = tmp_path / ".huaweicloud"
    folder.mkdir()
    (folder / "endpoint").write_text(f"{api.url}\n")
    (folder / "credentials").write_text(f"[basic]\nak = a\nsk = {SECRET}\nproject_id = project\n")
    api.answers["GET /v2/manage/namespaces"] = [(200, {"namespaces": []})]

    assert Cloud.connect().organizations() == []


def test_a_file_of_keys_that_is_none_is_refused_without_being_quoted(api, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"sk = {SECRET}\n")

    with pytest.raises(UsageError) as refused:
        Cloud.connect(api.url, str(file))

    assert "MissingSectionHeaderError" in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_saved_image_shows_its_size_and_layers_and_no_more_than_that():
    image = SavedImage("im-1", "swr/team/<mnist>:1", 345_000_000, (("sha256:a", 5_000_000),), 61.2)

    assert "345 MB in 1 layers, saved in 61 s" in str(image)
    assert "1 of 125" in image._repr_html_()
    assert "&lt;mnist&gt;" in image._repr_html_()
