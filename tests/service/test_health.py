"""Health tells the truth: not before the model has answered, not once it cannot."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from linear_model import write_linear_model
from runtime import MNIST_CONFIG, json_api, upload, wait_for, write_package

from custom_image.mnist import encode_jpeg

JSON_CONFIG = {"model_type": "Image", "apis": [json_api(x={"type": "number"})]}

SLOW_TO_LOAD = """
import time
from pathlib import Path
from model_service.model_service import SingleNodeService

class Slow(SingleNodeService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        while not Path(model_path, "go").exists():
            time.sleep(0.01)
"""

LOADS_IN_A_THREAD = """
import threading, time
from pathlib import Path
from model_service.tfserving_model_service import TfServingBaseService

class mnist_service(TfServingBaseService):
    def __init__(self, model_name, model_path):  # as the platform's sample: it calls no super()
        self.model_path = model_path
        self.predict = None
        threading.Thread(target=self.load_model).start()

    def load_model(self):
        while not Path(self.model_path, "go").exists():
            time.sleep(0.01)
        self.predict = lambda data: {"answer": 1}

    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return self.predict(data)
"""

FAILS_ON_DEMAND = """
from pathlib import Path
from model_service.model_service import SingleNodeService

class Moody(SingleNodeService):
    def _inference(self, data):
        if data.get("x") == "bad":
            raise RuntimeError("only this request")
        if Path(self.model_path, "broken").exists():
            raise RuntimeError("the device is gone")
        return {"x": data["x"]}
"""


def wait_for_answer(runtime):
    """Wait until the port answers at all."""

    def ask():
        try:
            return runtime.health()
        except OSError:
            return None

    return wait_for(ask, "an answer")


@pytest.mark.parametrize("service", [SLOW_TO_LOAD, LOADS_IN_A_THREAD], ids=["waits", "in a thread"])
def test_the_port_opens_early_and_health_is_503_until_the_model_has_answered(
    start, tmp_path, profile, service
):
    package = write_package(tmp_path / "package", service, JSON_CONFIG)
    runtime = start(package, MODEL_SERVER=profile)

    early = wait_for_answer(runtime)
    refused = runtime.post_json({"x": 1})
    for folder in runtime.worker_folders():
        (folder / "go").touch()
    runtime.wait_until_ready()

    assert (early.status, early.json["health"]) == (503, "false")
    assert early.json["error"]
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.error
    assert runtime.post_json({"x": 1}).status == 200


def drop_weights(folder, _weights):
    (folder / "mnist.onnx").unlink()


def corrupt_weights(folder, _weights):
    content = (folder / "mnist.onnx").read_bytes()
    (folder / "mnist.onnx").write_bytes(content[: len(content) // 2])


def other_input_shape(folder, _weights):
    write_linear_model(folder / "mnist.onnx", np.zeros((32 * 32 + 1, 10)))


def other_outputs(folder, weights):
    write_linear_model(folder / "mnist.onnx", weights)
    text = (folder / "mnist.onnx").read_bytes().replace(b"logits", b"scores")
    (folder / "mnist.onnx").write_bytes(text)


def two_models(folder, _weights):
    shutil.copy(folder / "mnist.onnx", folder / "other.onnx")


def drop_service(folder, _weights):
    (folder / "customize_service.py").unlink()


def no_service_class(folder, _weights):
    (folder / "customize_service.py").write_text("class Service:\n    pass\n")


def two_service_classes(folder, _weights):
    with (folder / "customize_service.py").open("a") as file:
        file.write("\n\nfrom model_service.model_service import SingleNodeService\n")
        file.write("class Other(SingleNodeService):\n    pass\n")


def syntax_error(folder, _weights):
    (folder / "customize_service.py").write_text("def :\n")


def service_exits(folder, _weights):
    (folder / "customize_service.py").write_text("import sys\nsys.exit(0)\n")


def broken_config(folder, _weights):
    (folder / "config.json").write_text('{"apis": [')


FAULTS = {
    drop_weights: "*.onnx",
    corrupt_weights: "mnist.onnx",
    other_input_shape: "INVALID_ARGUMENT",
    other_outputs: "KeyError: 'logits'",
    two_models: "mnist.onnx, other.onnx",
    drop_service: "customize_service.py",
    no_service_class: "found none",
    two_service_classes: "MnistService, Other",
    syntax_error: "SyntaxError",
    service_exits: "SystemExit",
    broken_config: "config.json",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_package_that_cannot_answer_never_gets_200_and_says_why(
    start, tmp_path, mnist_package, linear_weights, digits, profile, fault
):
    package = shutil.copytree(mnist_package, tmp_path / "package")
    fault(package, linear_weights)

    runtime = start(package, WORKERS="1", MODEL_SERVER=profile)
    reason = FAULTS[fault]
    wait_for(lambda: reason in runtime.logs(), f"{reason!r} in the log")
    answers = [runtime.health() for _ in range(20)]
    prediction = runtime.post(upload(encode_jpeg(digits.example(7))))

    assert {answer.status for answer in answers} == {503}
    assert reason in answers[-1].json["error"]
    assert prediction.status == 503
    assert reason in prediction.error


def test_health_turns_503_when_the_model_dies_and_200_when_it_recovers(start, tmp_path, profile):
    package = write_package(tmp_path / "package", FAILS_ON_DEMAND, JSON_CONFIG)
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    def ask_until_sick():  # the sample is asked at most once a second
        answers = runtime.post_json({"x": 1}), runtime.health()
        return answers if answers[1].status == 503 else None

    (folder,) = runtime.worker_folders()
    (folder / "broken").touch()
    failed, sick = wait_for(ask_until_sick, "health to notice")
    (folder / "broken").unlink()

    assert (failed.status, "the device is gone" in failed.error) == (500, True)
    assert (sick.status, "the device is gone" in sick.json["error"]) == (503, True)
    assert "Traceback" in runtime.logs()
    runtime.wait_until_ready()
    assert runtime.post_json({"x": 1}).json == {"x": 1}


def test_a_request_that_alone_fails_does_not_make_the_service_sick(start, tmp_path, profile):
    package = write_package(tmp_path / "package", FAILS_ON_DEMAND, JSON_CONFIG)
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    statuses = {runtime.post_json({"x": "bad"}).status for _ in range(5)}

    assert statuses == {500}
    assert runtime.health().status == 200
    assert runtime.post_json({"x": 2}).json == {"x": 2}


def test_the_health_url_is_the_one_in_config_json(start, tmp_path):
    config = {**JSON_CONFIG, "health": {"check_method": "HTTP", "url": "/alive/yet"}}
    package = write_package(tmp_path / "package", FAILS_ON_DEMAND, config)
    runtime = start(package)

    wait_for_answer(runtime)
    wait_for(lambda: runtime.ask("GET", "/alive/yet").status == 200, "health at /alive/yet")

    assert runtime.ask("GET", "/health").status == 404


def test_a_health_request_asks_an_idle_model(tmp_path):
    from model_service.http.surface import read_surface
    from model_service.inference.model import Model
    from model_service.processes.board import State
    from model_service.settings import read_settings

    package = write_package(tmp_path / "package", FAILS_ON_DEMAND, JSON_CONFIG)
    settings, surface = read_settings({"MODEL_PATH": str(package)}), read_surface(package)
    model = Model(settings, surface, [].append)
    model.load()
    assert (model.ready, model.unseen) == (True, False)

    model = Model(settings, surface, [].append, idle_s=0.0, retry_s=0.0)
    model.load()
    (package / "broken").touch()
    assert model.unseen
    model.check()

    assert model.state is State.FAILED
    (package / "broken").unlink()
    wait_for(lambda: model.ready, "the model to recover")


def test_without_config_json_the_example_is_served_all_the_same(
    start, tmp_path, mnist_package, some_digits
):
    package = shutil.copytree(mnist_package, tmp_path / "package")
    (package / "config.json").unlink()

    runtime = start(package).wait_until_ready()

    assert runtime.post(upload(encode_jpeg(some_digits[7]))).json == {"mnist_result": 7}
    assert MNIST_CONFIG["health"]["url"] == "/health"
