"""One run of a batch against a model that answers, refuses, hangs up and is killed with it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from custom_image.errors import ServiceNotReady
from custom_image.model_config import Api
from local_modelarts.batch.inputs import keep_inputs
from local_modelarts.batch.mapping import make_mapping
from local_modelarts.batch.results import Results
from local_modelarts.batch.run import BatchRun
from local_modelarts.storage.obs import Obs

FILE_API = {"type": "object", "properties": {"images": {"type": "file"}}}
CSV_RULE = {"type": "object", "properties": {"x": {"type": "number", "index": 0}}}


class Model:
    """A model behind a real socket: it does what the content of its input says.

    Attributes:
        asked: how often each content was asked for.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.doubts = 0
        self.fault: Exception | None = None
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_form = "multipart" in self.headers["Content-Type"]
                content = body.split(b"\r\n")[-3] if is_form else body
                text = content.decode()
                model.asked[text] += 1
                if text == "poison" or (text == "bystander" and model.asked[text] == 1):
                    self.close_connection = True
                    return
                status = {"refused": 422, "busy": 503}.get(text, 200)
                answer = json.dumps({"answer to": text}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def __len__(self) -> int:
        return 1

    def url(self, place: int) -> str:
        if self.fault:
            raise self.fault
        return f"http://127.0.0.1:{self._server.server_port}"

    def doubt(self, place: int) -> None:
        self.doubts += 1

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def model():
    model = Model()
    yield model
    model.close()


class Batch:
    """The files of one batch; each run begins from what the runs before have left."""

    def __init__(self, folder: Path, mapping: str = "file") -> None:
        self.obs = Obs(folder / "obs")
        self.source, self.dest = self.obs.root / "bucket/in", self.obs.root / "bucket/out"
        self.source.mkdir(parents=True)
        self.dest.mkdir()
        self.folder = folder
        data = FILE_API if mapping == "file" else CSV_RULE
        kind = "multipart/form-data" if mapping == "file" else "application/json"
        request = {"Content-type": kind, "data": data}
        self.api = Api.model_validate({"url": "/", "method": "post", "request": request})
        self.mapping = make_mapping(self.api, mapping, CSV_RULE)

    def write(self, **files: str) -> None:
        for name, content in files.items():
            (self.source / name.replace("_", ".")).write_text(content)

    def run(self, model: Model, *, at_once: int = 2, most: int = 10**9) -> bool:
        """Work, until ``most`` inputs are done."""
        config = {"src_path": "obs://bucket/in"}
        inputs = keep_inputs(self.obs, config, self.folder / "inputs.json")
        results = self.results(inputs)
        try:
            is_finished = BatchRun(
                obs=self.obs,
                inputs=inputs,
                mapping=self.mapping,
                api=self.api,
                results=results,
                crew=model,
                is_over=lambda: len(results.outcomes) >= most,
                at_once=at_once,
                answer_s=5,
            ).work()
            results.write_manifest(2)
        finally:
            results.close()
        return is_finished

    def results(self, inputs) -> Results:
        journal = self.folder / "journal.jsonl"
        return Results(self.obs, inputs, dest=self.dest, task_id="t1", journal=journal)

    def manifest(self) -> dict[str, dict[str, str]]:
        lines = [
            json.loads(line)
            for path in sorted(self.dest.glob("infer-result-t1*.manifest"))
            for line in path.read_text().splitlines()
        ]
        return {line["source"].rpartition("/")[2]: line for line in lines}

    def result(self, name: str) -> str:
        return (self.dest / f"infer-result-t1/{name}_result.txt").read_text()


def test_each_file_gets_its_result_and_its_line_in_the_manifests(tmp_path, model) -> None:
    batch = Batch(tmp_path)
    batch.write(**{f"{n}_jpg": f"digit {n}" for n in range(5)})

    assert batch.run(model)

    assert json.loads(batch.result("3.jpg")) == {"answer to": "digit 3"}
    assert batch.manifest()["3.jpg"] == {
        "source": "obs://bucket/in/3.jpg",
        "result": "SUCCESSFUL",
        "inference-loc": "obs://bucket/out/infer-result-t1/3.jpg_result.txt",
    }
    assert [path.name for path in sorted(batch.dest.glob("*.manifest"))] == [
        "infer-result-t1.manifest",
        "infer-result-t1_1.manifest",
        "infer-result-t1_2.manifest",
    ]


def test_what_a_model_refuses_or_dies_of_is_a_named_failure_and_the_rest_goes_on(
    tmp_path, model
) -> None:
    batch = Batch(tmp_path)
    batch.write(a_jpg="refused", b_jpg="poison", c_jpg="bystander", d_jpg="good", e_jpg="busy")
    (batch.source / "f.jpg").write_bytes(bytes(10_000_000))

    assert batch.run(model)

    manifest = batch.manifest()
    assert {name: line.get("error_message", "") for name, line in manifest.items()} == {
        "a.jpg": 'The model answered 422: {"answer to": "refused"}',
        "b.jpg": "The instance ended, or hung up, while it worked on this input.",
        "c.jpg": "",
        "d.jpg": "",
        "e.jpg": 'The model answered 503: {"answer to": "busy"}',
        "f.jpg": "The file is 10.00 MB, expected less than 10 MB.",
    }
    assert model.asked["poison"] == model.asked["bystander"] == model.asked["busy"] == 2
    assert model.doubts == 3


def test_a_run_that_goes_on_asks_only_for_what_has_no_result(tmp_path, model) -> None:
    batch = Batch(tmp_path)
    batch.write(**{f"{n}_jpg": f"digit {n}" for n in range(6)}, x_jpg="refused")

    assert not batch.run(model, at_once=1, most=3)
    assert sum(model.asked.values()) == 3
    batch.write(new_jpg="came later")
    assert batch.run(model)

    assert set(model.asked.values()) == {1}
    assert set(batch.manifest()) == {*(f"{n}.jpg" for n in range(6)), "x.jpg"}


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_journal_that_a_kill_has_torn_costs_no_result_and_no_second_request(
    tmp_path, model, share
) -> None:
    batch = Batch(tmp_path)
    batch.write(a_jpg="one", b_jpg="two", c_jpg="three")
    batch.run(model, at_once=1)
    journal = tmp_path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: int(len(whole) * share)])

    assert batch.run(model)

    assert model.asked == {"one": 1, "two": 1, "three": 1}
    assert journal.read_bytes() == whole
    assert set(batch.manifest()) == {"a.jpg", "b.jpg", "c.jpg"}


def test_a_failure_that_was_not_noted_is_asked_for_again(tmp_path, model) -> None:
    batch = Batch(tmp_path)
    batch.write(a_jpg="one", b_jpg="refused")
    batch.run(model, at_once=1)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-10])

    assert batch.run(model)

    assert model.asked == {"one": 1, "refused": 2}
    assert batch.manifest()["b.jpg"]["result"] == "FAILED"


def test_a_table_has_a_line_in_its_result_for_each_of_its_lines(tmp_path, model) -> None:
    batch = Batch(tmp_path, "csv")
    batch.write(good_csv="1\n2\n3\n")

    assert batch.run(model)

    assert batch.result("good.csv").splitlines() == [
        json.dumps({"answer to": f'{{"x": {n}}}'}) for n in (1, 2, 3)
    ]


def test_a_table_with_a_faulty_line_has_failed_by_that_line_and_keeps_the_others(
    tmp_path, model
) -> None:
    batch = Batch(tmp_path, "csv")
    batch.write(bad_csv="1\nx\n3\n", no_txt="1\n", half_csv='1\n"open')

    assert batch.run(model)

    assert json.loads(batch.result("bad.csv").splitlines()[1]) == {
        "error_message": "column 0 is 'x', expected number"
    }
    messages = {name: line["error_message"] for name, line in batch.manifest().items()}
    assert messages["bad.csv"] == (
        "1 of 3 lines failed (line 2: column 0 is 'x', expected number); the answers to the others "
        "are in obs://bucket/out/infer-result-t1/bad.csv_result.txt"
    )
    assert messages["no.txt"] == "The file name does not end in .csv."
    assert messages["half.csv"].startswith("The file is no CSV file: line 2")


def test_a_table_that_goes_on_keeps_the_answers_to_its_lines(tmp_path, model) -> None:
    batch = Batch(tmp_path, "csv")
    batch.write(long_csv="".join(f"{n}\n" for n in range(9)))
    inputs = keep_inputs(batch.obs, {"src_path": "obs://bucket/in"}, tmp_path / "inputs.json")
    results = batch.results(inputs)
    for line in (1, 2, 4):
        results.answer(0, line, b'{"kept": %d}' % line)
    results.close()

    assert batch.run(model)

    lines = [json.loads(line) for line in batch.result("long.csv").splitlines()]
    assert [line.get("kept") for line in lines[:4]] == [1, 2, None, 4]
    assert sum(model.asked.values()) == 6


def test_an_input_that_is_gone_is_named_in_the_words_of_the_platform(tmp_path, model) -> None:
    batch = Batch(tmp_path)
    batch.write(a_jpg="one", b_jpg="two")
    keep_inputs(batch.obs, {"src_path": "obs://bucket/in"}, tmp_path / "inputs.json")
    (batch.source / "a.jpg").unlink()

    assert batch.run(model)

    assert batch.manifest()["a.jpg"]["error_message"].startswith("Download file failed.")
    assert batch.manifest()["b.jpg"]["result"] == "SUCCESSFUL"


@pytest.mark.parametrize("fault", [ServiceNotReady("it does not start", ""), KeyError("a bug")])
def test_whatever_ends_a_run_early_is_said_and_what_is_done_is_kept(tmp_path, model, fault) -> None:
    batch = Batch(tmp_path)
    batch.write(a_jpg="one", b_jpg="two")
    batch.run(model, at_once=1, most=1)
    model.fault = fault

    with pytest.raises(type(fault)):
        batch.run(model)

    model.fault = None
    assert batch.run(model)
    assert model.asked == {"one": 1, "two": 1}
