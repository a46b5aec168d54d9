"""Batch services: a folder in, results and a manifest out, whatever happens meanwhile."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call, delete_all, publish_model
from sleeper import SLEEPER_CONFIG
from tiny_package import write_tiny_package

from custom_image.mnist import Digits, encode_jpeg, load_mnist
from model_service.package.loader import load_service

SERVICES = "/v1/{project_id}/services"
SLEEPS = {
    "mapping_type": "csv",
    "mapping_rule": {
        "type": "object",
        "properties": {"sleep": {"type": "number", "index": 1}},
    },
}
AT_REST = ("finished", "failed", "stopped")


@dataclass
class Batches:
    """Batch services of two models of one platform."""

    rehearsal: Rehearsal
    digits_model: str
    sleeper_model: str
    obs: Path
    bucket: str = "pictures"
    created: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.rehearsal.up()

    def folder(self, name: str) -> Path:
        """Make an input folder, and the empty output folder beside it."""
        folder = self.obs / self.bucket / name
        folder.mkdir(parents=True)
        (self.obs / self.bucket / f"{name}-out").mkdir()
        return folder

    def create(self, name: str, model_id: str = "", **fields: Any) -> str:
        entry = {
            "model_id": model_id or self.digits_model,
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 1,
            "src_path": f"obs://{self.bucket}/{name}/",
            "dest_path": f"obs://{self.bucket}/{name}-out/",
            "req_uri": "/",
            "mapping_type": "file",
        }
        body = {"service_name": name, "infer_type": "batch", "config": [entry | fields]}
        self.created.append(call(self.cloud, "POST", SERVICES, body)["service_id"])
        return self.created[-1]

    def show(self, service_id: str) -> dict[str, Any]:
        return dict(call(self.cloud, "GET", f"{SERVICES}/{service_id}"))

    def set_status(self, service_id: str, status: str) -> None:
        call(self.cloud, "PUT", f"{SERVICES}/{service_id}", {"status": status})

    def ended(self, service_id: str) -> dict[str, Any]:
        wait_for(lambda: self.show(service_id)["status"] in AT_REST, "the batch ends")
        return self.show(service_id)

    def events(self, service_id: str) -> list[str]:
        found = call(self.cloud, "GET", f"{SERVICES}/{service_id}/events")["events"]
        return [event["event_info"] for event in found]

    def results(self, name: str) -> dict[str, Path]:
        """Return the result files by the name of their input."""
        found = (self.obs / self.bucket / f"{name}-out").glob("infer-result-*/*_result.txt")
        return {path.name.removesuffix("_result.txt"): path for path in found}

    def manifest(self, name: str) -> dict[str, dict[str, str]]:
        folder = self.obs / self.bucket / f"{name}-out"
        (path,) = folder.glob("infer-result-*.manifest")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return {line["source"].rpartition("/")[2]: line for line in lines}


@pytest.fixture(scope="module")
def batches(rehearsal, serving_model, sleeper_address) -> Iterator[Batches]:
    cloud = rehearsal.up()
    sleeper = publish_model(cloud, sleeper_address, SLEEPER_CONFIG, "sleeper")
    batches = Batches(rehearsal, serving_model, sleeper, Path(cloud.platform.obs_folder))
    yield batches
    delete_all(rehearsal.up(), batches.created, [sleeper])


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_mnist(sample=True)


def write_pictures(folder: Path, digits: Digits, count: int) -> dict[str, int]:
    """Write test digits as JPEG; return the right answers by name."""
    labels = {}
    for number in range(count):
        name = f"{number:04}.jpg"
        (folder / name).write_bytes(encode_jpeg(digits.test_images[number]))
        labels[name] = int(digits.test_labels[number])
    return labels


def answer(path: Path) -> int:
    return int(json.loads(path.read_text())["mnist_result"])


def identities(results: dict[str, Path]) -> dict[str, tuple[int, int]]:
    """Return what changes when a file is written again."""
    return {name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in results.items()}


def container_ids(service_id: str) -> list[str]:
    label = f"label=custom-image.batch={service_id}"
    command = ["docker", "ps", "--all", "--quiet", "--filter", label]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_997_of_1000_digits_are_read_as_offline_and_three_corrupt_ones_are_named(
    batches, digits, tmp_path
) -> None:
    folder = batches.folder("thousand")
    labels = write_pictures(folder, digits, 1000)
    corrupt = {
        "0100.jpg": b"",
        "0500.jpg": b"no picture",
        "0900.jpg": (folder / "0900.jpg").read_bytes()[:300],
    }
    for name, content in corrupt.items():
        (folder / name).write_bytes(content)

    service_id = batches.create("thousand")
    service = batches.ended(service_id)

    assert (service["status"], service["progress"]) == ("finished", 100)
    assert 0 < service["config"][0]["start_time"] < service["config"][0]["finished_time"]
    manifest, results = batches.manifest("thousand"), batches.results("thousand")
    assert set(manifest) == set(labels)
    failures = {n: line["error_message"] for n, line in manifest.items() if "error_message" in line}
    assert set(failures) == set(corrupt)
    assert all("`images`" in reason for reason in failures.values()), failures
    assert set(results) == set(labels) - set(corrupt)
    assert {line["result"] for n, line in manifest.items() if n in results} == {"SUCCESSFUL"}
    assert batches.events(service_id)[0].endswith(": 997 of 1000 inputs successful, 3 failed.")

    model = load_service(write_tiny_package(tmp_path / "package").folder, "offline")
    right_offline = right = 0
    for name, path in results.items():
        content = io.BytesIO((folder / name).read_bytes())
        offline = model.inference({"images": {name: content}})["mnist_result"]
        assert answer(path) == offline, name
        right += answer(path) == labels[name]
        right_offline += offline == labels[name]
    assert right == right_offline
    assert right / len(results) > 0.8
    assert container_ids(service_id) == [], "its instances are gone"


def test_a_kill_of_the_platform_loses_no_result_and_asks_for_none_twice(batches, digits) -> None:
    labels = write_pictures(batches.folder("killed"), digits, 400)
    service_id = batches.create("killed")
    wait_for(lambda: len(batches.results("killed")) > 60, "some digits are read", 60)

    batches.rehearsal.kill()
    before, instance = identities(batches.results("killed")), container_ids(service_id)
    assert 60 < len(before) < len(labels)
    service = batches.ended(service_id)

    assert service["status"] == "finished"
    after = identities(batches.results("killed"))
    assert {name: after[name] for name in before} == before
    assert set(after) == set(batches.manifest("killed")) == set(labels)
    assert len(instance) == 1, "the instance lived on, and was gone on with"


def test_a_batch_that_is_stopped_keeps_its_results_and_goes_on_when_it_is_started(
    batches, digits
) -> None:
    labels = write_pictures(batches.folder("stopped"), digits, 600)
    service_id = batches.create("stopped")
    wait_for(lambda: len(batches.results("stopped")) > 60, "some digits are read", 60)

    batches.set_status(service_id, "stopped")
    assert batches.ended(service_id)["status"] == "stopped"
    before = identities(batches.results("stopped"))
    assert len(before) < len(labels)
    assert set(batches.manifest("stopped")) == set(before)
    assert container_ids(service_id) == []
    batches.set_status(service_id, "running")

    assert batches.ended(service_id)["status"] == "finished"
    after = identities(batches.results("stopped"))
    assert {name: after[name] for name in before} == before
    assert set(after) == set(batches.manifest("stopped")) == set(labels)
    with pytest.raises(ClientRequestException) as refused:
        batches.set_status(service_id, "running")
    assert refused.value.error_code == "ModelArts.3519"


def test_a_stop_does_not_wait_for_an_answer(batches) -> None:
    folder = batches.folder("patient")
    (folder / "long.csv").write_text("x,600\n")
    service_id = batches.create("patient", batches.sleeper_model, **SLEEPS)
    wait_for(lambda: batches.show(service_id)["status"] == "running", "the batch runs")

    batches.set_status(service_id, "stopped")

    assert batches.ended(service_id)["status"] == "stopped"
    assert batches.manifest("patient") == {}


def test_a_table_is_asked_line_by_line_though_its_instance_is_killed_meanwhile(batches) -> None:
    folder = batches.folder("table")
    (folder / "sleeps.csv").write_text("x,0.02\n" * 100)
    (folder / "bad.csv").write_text("a,0\nb,soon\n")
    service_id = batches.create("table", batches.sleeper_model, **SLEEPS)
    wait_for(lambda: batches.show(service_id)["status"] == "running", "the batch runs")

    subprocess.run(["docker", "kill", *container_ids(service_id)], check=True, capture_output=True)

    service = batches.ended(service_id)
    assert service["status"] == "finished", service["error_msg"]
    lines = batches.results("table")["sleeps.csv"].read_text().splitlines()
    assert lines == ['{"slept": 0.02}'] * 100
    assert batches.manifest("table")["bad.csv"]["error_message"].startswith(
        "1 of 2 lines failed (line 2: column 1 is 'soon', expected number)"
    )


def test_a_manifest_names_the_files_and_two_instances_share_them(batches, digits) -> None:
    labels = write_pictures(batches.folder("listed"), digits, 20)
    bucket = batches.obs / batches.bucket
    lines = [{"source": f"s3://{batches.bucket}/listed/{name}"} for name in labels]
    lines.append({"source": f"obs://{batches.bucket}/listed/gone.jpg"})
    (bucket / "some.manifest").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    service_id = batches.create(
        "listed",
        src_path=f"obs://{batches.bucket}/some.manifest",
        src_type="ManifestFile",
        dest_path=f"obs://{batches.bucket}/listed-out",
        instance_count=2,
    )
    service = batches.ended(service_id)

    assert service["status"] == "finished"
    assert service["config"][0]["src_type"] == "ManifestFile"
    manifest = batches.manifest("listed")
    assert set(manifest) == {*labels, "gone.jpg"}
    assert manifest["gone.jpg"]["error_message"].startswith("Download file failed.")
    assert set(batches.results("listed")) == set(labels)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"src_path": "obs://pictures/nowhere/"}, "ModelArts.3551"),
        ({"dest_path": "obs://pictures/nowhere/"}, "ModelArts.3551"),
        ({"dest_path": "obs://pictures/../../"}, "ModelArts.3567"),
        ({"dest_path": "obs://pictures/refused/"}, "ModelArts.0104"),
        ({"src_type": "ManifestFile"}, "ModelArts.0104"),
        ({"req_uri": "/other"}, "ModelArts.0104"),
        ({"mapping_type": "csv"}, "ModelArts.0104"),
        ({"instance_count": 0}, "ModelArts.0104"),
        ({"model_id": "none"}, "ModelArts.3002"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_request_that_cannot_be_a_batch_is_refused_in_the_codes_of_the_platform(
    batches, fields, code
) -> None:
    if not (batches.obs / batches.bucket / "refused").exists():
        batches.folder("refused")

    with pytest.raises(ClientRequestException) as refused:
        batches.create("refused", **fields)

    assert refused.value.error_code == code
