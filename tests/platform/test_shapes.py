"""The platform's answers have the shape that the SDK's own models declare.

``samples.json`` holds answers as the API reference describes them, with values of our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huaweicloudsdkswr.v2 as swr
import pytest
from huaweicloudsdkmodelarts import v1 as modelarts

from local_modelarts.notebooks.responses import BUILD_IN, image_document, notebook_document, page
from local_modelarts.storage.resources import Image, Notebook

SAMPLES = json.loads((Path(__file__).parent / "samples.json").read_text())
CLIENTS = {"modelarts": modelarts.ModelArtsClient, "swr": swr.SwrClient}
IMAGE_ROW = Image(
    id="i",
    status="ACTIVE",
    create_at=1,
    update_at=2,
    name="mnist",
    namespace="team",
    tag="1.0",
    type=BUILD_IN,
    arch="X86_64",
    size=10,
    dev_services=["NOTEBOOK"],
    resource_categories=["CPU"],
    swr_path="h/team/mnist:1.0",
    description="",
    origin="CUSTOMIZE",
    service_type="COMMON",
    visibility="PUBLIC",
    workspace_id="0",
    status_message="",
)
NOTEBOOK_ROW = Notebook(
    id="n",
    status="RUNNING",
    create_at=1,
    update_at=2,
    name="nb",
    description="",
    flavor="f",
    feature="NOTEBOOK",
    image_id="i",
    volume={},
    token="t",
    workspace_id="0",
    lease_ends_at=3_600_001,
    lease_type="TIMING",
    lease_ms=3_600_000,
)
DOCUMENTS = {
    "ShowImageResponse": image_document(IMAGE_ROW),
    "ShowNotebookResponse": notebook_document(NOTEBOOK_ROW, IMAGE_ROW, url="u", user="me"),
}


def parse(service: str, model: str, answer: object) -> Any:
    """Read an answer as the SDK's client reads it."""
    response = SimpleNamespace(text=json.dumps(answer), headers={})
    return CLIENTS[service]().deserialize(response, model, None)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["model"])
def test_the_sdk_reads_a_sample_of_the_reference_whole(sample: dict[str, Any]) -> None:
    read = parse(sample["service"], sample["model"], sample["answer"])

    assert as_plain(read) == without_none(sample["answer"])


@pytest.mark.parametrize("model", DOCUMENTS)
def test_the_sdk_reads_every_field_of_ours(model: str) -> None:
    """A field that the model does not know would be lost on its way to the caller."""
    read = parse("modelarts", model, DOCUMENTS[model])

    assert as_plain(read) == without_none(DOCUMENTS[model])


@pytest.mark.parametrize("model", DOCUMENTS)
def test_no_field_of_the_sample_is_missing_in_ours(model: str) -> None:
    sample = next(sample["answer"] for sample in SAMPLES if sample["model"] == model)

    assert missing(sample, DOCUMENTS[model]) == []


def test_a_list_is_cut_into_pages_and_counted() -> None:
    numbers = [{"n": number} for number in range(25)]

    assert page(numbers, {"offset": "20", "limit": "10"}, 200) == {
        "current": 2,
        "data": numbers[20:],
        "pages": 3,
        "size": 10,
        "total": 25,
    }
    assert page([], {"limit": "x"}, 10)["size"] == 10


def as_plain(value: Any) -> Any:
    """Turn what the SDK has read back into JSON, without what is not set."""
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if hasattr(value, "attribute_map"):
        pairs = ((name, getattr(value, field)) for field, name in value.attribute_map.items())
        return {name: as_plain(item) for name, item in pairs if item is not None}
    return value


def without_none(value: Any) -> Any:
    if isinstance(value, list):
        return [without_none(item) for item in value]
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value


def missing(sample: Any, ours: Any, where: str = "") -> list[str]:
    if not isinstance(sample, dict):
        return []
    gone = [f"{where}{key}" for key in sample if key not in ours]
    both = [key for key in sample if isinstance(ours.get(key), dict)]
    return gone + [path for key in both for path in missing(sample[key], ours[key], f"{key}.")]
