"""A fleet on one engine: every image of a list judged, and a batch of files in shards."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import docker
import pytest

from custom_image.fleet.batch import SUCCESSFUL

SEVEN = Path(__file__).parents[1] / "support" / "samples" / "seven.jpg"


@pytest.fixture
def one_layer_images(docker_engine):
    """Two images of one small file each: little to read, and no boot file."""
    client, names = docker.from_env(), []
    for number in range(2):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(f"file-{number}"))
        repository = f"custom-image/tests-fleet-{docker_engine.run_id}"
        client.api.import_image_from_data(
            content.getvalue(), repository=repository, tag=f"n{number}", changes=['CMD ["/x"]']
        )
        names.append(f"{repository}:n{number}")
    yield names
    for name in names:
        docker_engine.remove_image(name)
    client.close()


@pytest.fixture
def fleet(monkeypatch, tmp_path, capsys):
    """Run `custom-image fleet ...` in an empty folder; return exit code and what was printed."""
    from custom_image.cli import app

    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> tuple[int, dict]:
        with pytest.raises(SystemExit) as ended:
            app(["fleet", command, "--format", "json", *arguments])
        return int(ended.value.code or 0), json.loads(capsys.readouterr().out)

    return run


def test_a_list_is_judged_whatever_its_lines_are_and_a_second_run_knows_it(
    one_layer_images, fleet, tmp_path
):
    first, second = one_layer_images
    missing = "127.0.0.1:1/no/such:1"
    (tmp_path / "images.txt").write_text(f"{first}\n--help\n{missing}\n{second}\n")
    words = ("verify", "images.txt", "--output", "matrix")
    code, found = fleet(*words, "--", "--level", "static")
    (tmp_path / "images.txt").write_text(f"{first}\n{second}\n")
    again, known = fleet(*words, "--", "--level", "static")

    rows = {row["image"]: row for row in found["images"]}
    assert [line["number"] for line in found["bad_lines"]] == [2]
    assert rows[missing]["verdict"] == "NOT JUDGED"
    assert "cannot be pulled" in rows[missing]["error"]
    assert rows[first]["rules"]["boot.file"] == rows[second]["rules"]["boot.file"] == "FAILED"
    assert code == again == 1
    assert [row["judged"] for row in known["images"]] == [False, False]
    assert known["changes"] == []
    assert (tmp_path / "matrix" / "matrix.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "matrix" / "matrix.csv").read_text().count("\n") == 3


def test_folders_become_images_and_what_is_there_is_not_built_again(docker_engine, fleet, tmp_path):
    """The smallest images that there are: `build` itself is tested beside this."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "two/Dockerfile").write_text("FROM scratch\nCOPY no-such-file /\n")
    first, second = (f"custom-image/tests-fleet-{docker_engine.run_id}:{n}" for n in "12")
    lines = f"one {first}\n--tag\ntwo {second}\n"
    (tmp_path / "folders.txt").write_text(lines)
    try:
        code, found = fleet("build", "folders.txt", "--output", "kept")
        (tmp_path / "two/Dockerfile").write_text("FROM scratch\nCOPY file /\n")
        again, mended = fleet("build", "folders.txt", "--output", "kept")
        docker_engine.remove_image(first)
        _, third = fleet("build", "folders.txt", "--output", "kept")
        content = docker_engine.read_file(first, "/file")
    finally:
        for name in (first, second):
            docker_engine.remove_image(name)

    assert (code, again) == (1, 2)  # line 2 names nothing
    assert [line["number"] for line in found["bad_lines"]] == [2]
    assert [row["state"] for row in found["tasks"]] == ["DONE", "FAILED"]
    assert found["tasks"][0]["output"]["reference"] == first
    assert found["tasks"][0]["output"]["id"] == found["tasks"][0]["digest"]
    assert "no-such-file" in found["tasks"][1]["error"]
    assert [row["ran"] for row in mended["tasks"]] == [False, True]
    assert [row["ran"] for row in third["tasks"]] == [True, False]
    assert content == b"one"


def test_the_manifest_of_three_shards_is_that_of_one(tiny_image, fleet, tmp_path):
    digits = tmp_path / "digits"
    digits.mkdir()
    for number in range(4):
        shutil.copyfile(SEVEN, digits / f"{number}.jpg")
    (digits / "4.jpg").write_bytes(b"no picture")

    manifests = []
    for shards in ("1", "3"):
        words = ("batch", tiny_image.reference, "digits", "--to", f"results-{shards}")
        code, found = fleet(*words, "--shards", shards)
        text = Path(found["manifest"]).read_text()
        manifests.append(text.replace(f"results-{shards}", "results"))
        assert (code, found["answered"], found["total"]) == (1, 4, 5)

    assert manifests[0] == manifests[1]
    lines = [json.loads(line) for line in text.splitlines()]
    assert [Path(line["source"]).name for line in lines] == [f"{n}.jpg" for n in range(5)]
    answers = [
        json.loads(Path(line["inference-loc"]).read_text())
        for line in lines
        if line["result"] == SUCCESSFUL
    ]
    assert answers == [{"mnist_result": 7}] * 4
    assert "422" in lines[4]["error_message"] or "400" in lines[4]["error_message"]
