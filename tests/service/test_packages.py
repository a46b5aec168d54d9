"""Model packages written by others against the platform's base classes are served unchanged."""

from __future__ import annotations

import importlib
import inspect
import json

import pytest
from runtime import MULTIPART, json_api, multipart, wait_for, write_package

ECHO = """
from model_service.model_service import SingleNodeService

class Echo(SingleNodeService):
    def _inference(self, data):
        return {"echo": data}
"""

WITH_HELPERS = """
import logging
import os

import helper
from . import relative
from .nested.deeper import WORD
from model_service.pytorch_model_service import PTServingBaseService

logger = logging.getLogger(__name__)

class Service(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(Service, self).__init__(model_name, model_path)
        folder = os.path.dirname(os.path.realpath(self.model_path))
        with open(os.path.join(folder, "labels.txt")) as file:
            self.labels = file.read().split()
        logger.info("loaded %s from %s", self.model_name, os.path.basename(model_path))
        print("printed")
        self.model = lambda words: [helper.double(word) for word in words]

    def _inference(self, data):
        return self.model(data["words"]) + [relative.NAME, WORD] + self.labels
"""

TWO_APIS = """
from model_service.model_service import SingleNodeService

class Greeter(SingleNodeService):
    def _inference(self, data):
        return {"response": "Hello, " + data["name"] + "!"} if "name" in data else "Goodbye!"
"""

COUNTS_FILES = """
from model_service.tfserving_model_service import TfServingBaseService

class Counter(TfServingBaseService):
    def _preprocess(self, data):
        result = {}
        for field, files in data.items():
            if isinstance(files, str):
                result[field] = files
                continue
            for name, file in files.items():
                result[field + "/" + name] = len(file.read())
        return result

    def _inference(self, data):
        return data
"""

ARRAYS = """
import numpy as np
from model_service.model_service import SingleNodeService

class Arrays(SingleNodeService):
    def _inference(self, data):
        answers = {
            "array": np.arange(3), "scalar": np.float32(0.5), "int": np.int64(7), "tuple": (1, 2),
            "nan": float("nan"), "object": object(), "umlaut": "\\u00fc",
        }
        return {data["key"]: answers[data["key"]]}
"""

WHOLE = """
from model_service.model_service import SingleNodeService

class Base(SingleNodeService):
    pass

class Whole(Base):
    def inference(self, data):
        return {"whole": data["x"]}
"""


# A constructor that returns at once, as the platform's TensorFlow sample has it, and two apis.
LOADS_IN_BACKGROUND = """
import os
import threading
import time
from model_service.model_service import SingleNodeService

class Background(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.model_name = model_name
        self.model_path = model_path
        self.words = None
        thread = threading.Thread(target=self.load_model)
        thread.start()

    def load_model(self):
        path = os.path.join(self.model_path, "words.txt")
        while not os.path.exists(path):
            time.sleep(0.01)
        with open(path) as file:
            self.words = file.read().split()

    def _preprocess(self, data):
        if "document" in data:
            for file_name, file_content in data["document"].items():
                return file_content.read().decode().split()
        return data["text"].split()

    def _inference(self, data):
        return [word for word in data if word in self.words]

    def _postprocess(self, data):
        return {"known": data}
"""


def config(*apis):
    return {"model_algorithm": "a", "model_type": "Image", "apis": list(apis)}


def test_json_goes_in_as_a_dict_and_comes_out_as_json(start, tmp_path, profile):
    package = write_package(tmp_path / "package", ECHO, config(json_api()))
    runtime = start(package, MODEL_SERVER=profile).wait_until_ready()
    value = {"a": [1, 2.5, None, True, "\u6570"], "b": {"c": ""}}

    assert runtime.post_json(value).json == {"echo": value}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"{"),
        (400, b"\xff\xfe{"),
        (400, b'{"a": NaN}'),
        (400, b"[" * 100_000),
        (400, b'{"a": ' + b"9" * 5000 + b"}"),
    ],
    ids=["empty", "cut", "bytes", "NaN", "deep", "long number"],
)
def test_what_is_no_json_is_refused_with_the_platforms_code_beside_the_sentence(echo, status, body):
    answer = echo.post(body, content_type="application/json")

    assert (answer.status, bool(answer.error)) == (status, True)
    assert answer.json["erno"] == "MR.0101"
    assert answer.json["words_result"] == {}
    assert echo.post_json({}).status == 200


@pytest.fixture(scope="module")
def echo(tmp_path_factory, profile):
    from runtime import start_runtime

    folder = tmp_path_factory.mktemp("echo")
    package = write_package(folder / "package", ECHO, config(json_api()))
    with start_runtime(folder / "home", package, MODEL_SERVER=profile) as runtime:
        yield runtime.wait_until_ready()


def test_json_of_any_declared_kind_is_read(echo):
    for content_type in ("application/json; charset=utf-8", "APPLICATION/JSON", "a/b+json", ""):
        assert echo.post(b'{"a": 1}', content_type=content_type).json == {"echo": {"a": 1}}


@pytest.mark.parametrize("value", [[1, {"a": 2}], 7, "words", None, True, [], {}], ids=json.dumps)
def test_a_body_is_whatever_its_json_says(echo, value):
    assert echo.post_json(value).json == {"echo": value}


def test_the_query_is_merged_in_and_the_first_of_each_name_counts(echo):
    answer = echo.post_json({"a": 1, "b": 2}, "/?b=x%20%2B&c=&b=y")

    assert answer.json == {"echo": {"a": 1, "b": "x +", "c": ""}}
    assert echo.post_json([1], "/?b=x").json == {"echo": [1]}
    assert echo.post(b"", "/?b=x", "application/json").json == {"echo": {"b": "x"}}


def test_helper_modules_and_data_files_beside_the_service_are_found(start, tmp_path):
    package = write_package(tmp_path / "package", WITH_HELPERS, config(json_api()))
    (package / "helper.py").write_text("def double(word):\n    return word * 2\n")
    (package / "relative.py").write_text("NAME = 'relative'\n")
    (package / "nested").mkdir()
    (package / "nested" / "deeper.py").write_text("from .. import relative\nWORD = 'deeper'\n")
    (package / "labels.txt").write_text("one two")
    (package / "weights.pth").write_bytes(b"")

    runtime = start(package, MODEL_NAME="words", WORKERS="1").wait_until_ready()

    answer = runtime.post_json({"words": ["ab", "c"]})
    assert answer.json == ["abab", "cc", "relative", "deeper", "one", "two"]
    assert "INFO model_package.customize_service loaded words from weights.pth" in runtime.logs()
    assert "printed\n" in runtime.logs()
    assert runtime.standard_error() == ""


def test_two_apis_are_served_by_their_methods(start, tmp_path, profile):
    apis = (json_api("/greet"), json_api("/goodbye", "get"))
    package = write_package(tmp_path / "package", TWO_APIS, config(*apis))
    runtime = start(package, MODEL_SERVER=profile).wait_until_ready()

    assert runtime.post_json({"name": "Tom"}, "/greet").json == {"response": "Hello, Tom!"}
    assert runtime.ask("GET", "/goodbye").json == "Goodbye!"
    assert runtime.ask("GET", "/goodbye?name=Ann").json == {"response": "Hello, Ann!"}
    assert runtime.ask("HEAD", "/goodbye").status == 200
    assert runtime.ask("POST", "/goodbye", b"{}").headers["allow"] == "GET, HEAD, OPTIONS"
    assert runtime.ask("POST", "/", b"{}").status == 404


def test_multipart_goes_in_as_part_to_file_name_to_file(start, tmp_path, profile):
    properties = {"images": {"type": "file"}, "note": {"type": "string"}}
    api = json_api(**properties)
    api["request"]["Content-type"] = "multipart/form-data"
    package = write_package(tmp_path / "package", COUNTS_FILES, config(api))
    runtime = start(package, MODEL_SERVER=profile).wait_until_ready()
    body = multipart(
        ("images", "a.bin", bytes(range(256)) * 1000),
        ("images", "b \u6570.bin", b"\r\n--a-boundar\r\n"),
        ("images", "a.bin", b""),
        ("note", None, "\u6570".encode()),
    )

    answer = runtime.post(body)

    assert answer.json == {
        "images/a.bin": 256_000,
        "images/b \u6570.bin": 15,
        "images/a.bin (2)": 0,
        "note": "\u6570",
    }


def test_a_required_member_that_is_missing_is_named(start, tmp_path):
    api = json_api(name={"type": "string"}, age={"type": "integer"})
    api["request"]["data"]["required"] = ["name", "age"]
    package = write_package(tmp_path / "package", ECHO, config(api))
    runtime = start(package).wait_until_ready()

    answer = runtime.post_json({"age": 7})

    assert (answer.status, answer.error) == (422, "member `name` is missing; found member `age`")


def test_slips_of_the_platforms_own_samples_are_understood(start, tmp_path):
    api = json_api()
    api["request"]["Content-type"] = "applicaton/json"
    api["procotol"] = "http"
    api["request"]["data"] = json.dumps({"type": "object", "properties": {"x": {"type": "array"}}})
    package = write_package(tmp_path / "package", ECHO, config(api))

    assert start(package).wait_until_ready().post_json({"x": [1]}).json == {"echo": {"x": [1]}}


@pytest.fixture(scope="module")
def arrays(tmp_path_factory, profile):
    from runtime import start_runtime

    folder = tmp_path_factory.mktemp("arrays")
    package = write_package(folder / "package", ARRAYS, config(json_api()))
    with start_runtime(folder / "home", package, MODEL_SERVER=profile) as runtime:
        yield runtime.wait_until_ready()


@pytest.mark.parametrize(
    ("key", "value"),
    [("array", [0, 1, 2]), ("scalar", 0.5), ("int", 7), ("tuple", [1, 2]), ("umlaut", "\u00fc")],
)
def test_answers_of_numpy_become_json(arrays, key, value):
    assert arrays.post_json({"key": key}).json == {key: value}


@pytest.mark.parametrize(("key", "word"), [("nan", "JSON"), ("object", "JSON")])
def test_an_answer_that_json_cannot_say_is_the_models_fault(arrays, key, word):
    answer = arrays.post_json({"key": key})

    assert (answer.status, word in answer.error) == (500, True)
    assert arrays.post_json({"key": "int"}).json == {"int": 7}


@pytest.mark.parametrize(
    "raised", ["ValueError('too young')", "KeyError('age')", "SystemExit(1)", "AssertionError()"]
)
def test_what_preprocess_raises_is_the_inputs_fault(start, tmp_path, raised):
    service = (
        ECHO
        + f"""
    def _preprocess(self, data):
        if data.get("x") == "bad":
            raise {raised}
        return data
"""
    )
    package = write_package(tmp_path / "package", service, config(json_api(x={"type": "string"})))
    runtime = start(package, WORKERS="1").wait_until_ready()

    answer = runtime.post_json({"x": "bad"})

    assert answer.status == 422
    assert raised.split("(")[0] in answer.error
    assert runtime.post_json({"x": "good"}).status == 200


def test_a_service_that_overrides_the_whole_inference_is_obeyed(start, tmp_path):
    package = write_package(tmp_path / "package", WHOLE, config(json_api(x={"type": "number"})))

    assert start(package).wait_until_ready().post_json({"x": 3}).json == {"whole": 3}


def test_a_package_whose_requests_nobody_declares_is_served_with_a_warning(start, tmp_path):
    service = ECHO.replace('{"echo": data}', '{"echo": data["must"]}')
    package = write_package(tmp_path / "package", service, config(json_api()))
    runtime = start(package).wait_until_ready()

    assert "no proof" in runtime.logs()
    assert runtime.post_json({"must": 1}).json == {"echo": 1}


def test_a_package_may_bring_the_sample_that_its_model_must_answer(start, tmp_path):
    service = ECHO.replace('{"echo": data}', '{"echo": data["must"]}')
    package = write_package(tmp_path / "package", service, config(json_api()))
    (package / "warm_up.json").write_text('{"must": 1}')
    runtime = start(package).wait_until_ready()

    assert "no proof" not in runtime.logs()


def test_the_body_that_came_decides_whatever_is_declared(start, tmp_path):
    package = write_package(tmp_path / "package", ECHO, config(json_api()))
    runtime = start(package).wait_until_ready()

    form = runtime.post(multipart(("a", None, b"1")), content_type=MULTIPART)
    fields = runtime.post(b"a=1&b=2", content_type="application/x-www-form-urlencoded")
    other = runtime.post(b"a", content_type="text/plain")

    assert (form.json, fields.json) == ({"echo": {"a": "1"}}, {"echo": {"a": "1", "b": "2"}})
    assert (other.status, "application/json" in other.error) == (415, True)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("pytorch_model_service", "PTServingBaseService"),
        ("tfserving_model_service", "TfServingBaseService"),
        ("model_service", "SingleNodeService"),
        ("onnx_model_service", "OnnxServingBaseService"),
    ],
)
def test_base_classes_have_the_names_and_signatures_of_the_platform(module, name):
    base = getattr(importlib.import_module(f"model_service.{module}"), name)

    parameters = {
        step: list(inspect.signature(getattr(base, step)).parameters)
        for step in ("__init__", "_preprocess", "_inference", "_postprocess")
    }

    assert parameters == {
        "__init__": ["self", "model_name", "model_path"],
        "_preprocess": ["self", "data"],
        "_inference": ["self", "data"],
        "_postprocess": ["self", "data"],
    }


def test_a_constructor_may_load_in_a_background_thread(start, tmp_path, profile):
    document = json_api("/document", document={"type": "file"})
    document["request"]["Content-type"] = "multipart/form-data"
    apis = (json_api("/text", text={"type": "string"}), document)
    package = write_package(tmp_path / "package", LOADS_IN_BACKGROUND, config(*apis))
    runtime = start(package, MODEL_SERVER=profile, WORKERS="1")
    wait_for(lambda: "listening" in runtime.logs(), "the port")
    assert runtime.health().status == 503

    (package / "words.txt").write_text("one two")
    (package / "words.txt").rename(
        runtime.worker_folders()[0] / "words.txt"
    )  # whole when it is there
    runtime.wait_until_ready()
    assert runtime.post_json({"text": "one three"}, "/text").json == {"known": ["one"]}
    body = multipart(("document", "words.txt", b"two three two"))
    assert runtime.post(body, "/document").json == {"known": ["two", "two"]}
    assert runtime.post_json({"text": "a"}, "/document").status == 422
    assert runtime.post(body, "/text").json == {"known": ["two", "two"]}
