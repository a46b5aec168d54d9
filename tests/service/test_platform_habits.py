"""What packages count on because the platform's images have it."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from runtime import MNIST_CONFIG, json_api, multipart, upload, wait_for, write_package

from model_service.http.surface import read_surface
from model_service.inference.model import Model
from model_service.package.loader import load_service
from model_service.package.source import PackageCode
from model_service.package.working_folder import (
    LARGE_BYTES,
    enter,
    find_large_files,
    why_one_worker,
)
from model_service.processes.board import State
from model_service.settings import read_settings

HEAD = "from model_service.pytorch_model_service import PTServingBaseService as Base\n"
CONFIG = {"model_type": "Image", "apis": [json_api(x={"type": "number"})]}


@pytest.fixture(autouse=True)
def _leave_python_as_it_was(monkeypatch):
    """What loads a package in this process is undone: its modules, its folder, its arguments."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", [*sys.argv])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(tmp_path: Path, service: str, **files: str):
    package = write_package(tmp_path / "package", service)
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    return load_service(package, "a name")


@pytest.mark.parametrize(
    "line",
    [
        "import log; log.getLogger(__name__).info('said')",
        "from model_service import log; log.getLogger('a')",
        "from metric.metrics_manager import MetricsManager as M; assert 'a' not in M.metrics",
        "from error_code import MR0105; assert MR0105().to_dict()['erno'] == 'MR.0105'",
        "import utils, settings; assert settings.MODEL_PATH",
        "from model_def import ModelDef; assert ModelDef(model_inputs={'a': 1}).model_inputs",
        "import argparse; argparse.ArgumentParser().parse_args()",
        "from neighbour import WORD; from model_package import neighbour; assert WORD == 7",
    ],
)
def test_what_the_platforms_images_let_code_do_on_import(tmp_path, line):
    service = f"{HEAD}{line}\nclass Service(Base):\n    pass\n"

    assert load(tmp_path, service, neighbour="WORD = 7").model_name == "a name"


def test_a_module_of_the_package_comes_before_the_platforms(tmp_path):
    service = f"{HEAD}from settings import OWN\nclass Service(Base):\n    own = OWN\n"

    assert load(tmp_path, service, settings="OWN = 3").own == 3


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("self, model_name, model_path", "a name model.pth"),
        ("self, name, weights, more=1", "a name model.pth"),
        ("self, model_path", "model.pth"),
        ("self, where", "model.pth"),
        ("self, model_name", "a name"),
        ("self, model_name, model_path, **kwargs", "a name model.pth {}"),
        ("self, *args", "('a name', 'model.pth')"),
        ("self, **kwargs", "{'model_name': 'a name', 'model_path': 'model.pth'}"),
        ("self, *, model_path", "model.pth"),
        ("self", ""),
    ],
)
def test_a_constructor_gets_what_it_takes(tmp_path, parameters, found):
    names = [p.split("=")[0].strip("* ") for p in parameters.split(", ")[1:] if p not in ("*",)]
    kept = [name for name in names if name != "more"]
    said = " + ' ' + ".join(f"str({name})" for name in kept) or "''"
    service = (
        f"{HEAD}class Service(Base):\n    def __init__({parameters}):\n        self.said = {said}\n"
    )

    service = load(tmp_path, service)

    assert service.said.replace(f"{tmp_path}/package/", "") == found
    assert Path(service.model_path).name == "model.pth"


def test_the_class_without_a_subclass_is_meant_also_one_of_a_neighbour(tmp_path):
    kinds = f"{HEAD}class General(Base):\n    pass\nclass Special(General):\n    pass\n"

    assert type(load(tmp_path, "from kinds import *", kinds=kinds)).__name__ == "Special"
    own = "from kinds import Special\nclass Own(Special):\n    pass\n"
    assert type(load(tmp_path / "own", own, kinds=kinds)).__name__ == "Own"


@pytest.mark.parametrize(
    ("module", "base", "engine"),
    [
        ("caffe_model_service", "CaffeBaseService", "Caffe"),
        ("hiai_model_service", "HiaiBaseService", "HiAI"),
        ("spark_model_service", "SparkServingBaseService", "Spark"),
    ],
)
def test_a_base_whose_engine_is_absent_says_so_by_name(tmp_path, module, base, engine):
    service = f"from model_service.{module} import {base}\nclass Service({base}):\n    pass\n"

    with pytest.raises(ImportError, match=f"{base} needs {engine}"):
        load(tmp_path, service)


def test_the_base_for_mxnet_says_so_too(tmp_path):
    imported = "from mms.model_service.mxnet_model_service import MXNetBaseService"
    service = f"{imported}\nclass Service(MXNetBaseService):\n    pass\n"

    with pytest.raises(ImportError, match="MXNetBaseService needs MXNet"):
        load(tmp_path, service)


@pytest.mark.parametrize(
    ("files", "code", "found"),
    [
        (["b.pth", "a.pth"], "", "a.pth"),
        (["b.pth", "a.pth"], "path.replace('b.pth', '')", "b.pth"),
        (["z_best.pth", "a.pth"], "", "z_best.pth"),
        (["a.pth", "net.pt"], "'net.pt'", "net.pt"),
        ([], "", "model.pth"),
    ],
)
def test_of_several_weights_the_one_that_the_code_names_is_meant(tmp_path, files, code, found):
    for name in files:
        (tmp_path / name).touch()

    service = f"{HEAD}class Service(Base):\n    said = {code!r}\n"
    write_package(tmp_path, service)

    assert Path(load_service(tmp_path, "a").model_path).name == found


# --- folders -------------------------------------------------------------------------------------

WRITES = (
    f"{HEAD}class Service(Base):\n    def _preprocess(self, data):\n        open('a.jpg', 'wb')\n"
)


def test_a_workers_folder_is_laid_out_as_on_the_platform(tmp_path, monkeypatch):
    package = write_package(tmp_path / "package", HEAD + "# model/1/a.txt")
    (package / "data").mkdir()
    (package / "data" / "a.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "root"
    root.mkdir()

    copy = enter(root, 1, package, PackageCode(package))

    assert copy == root / "1" / "model" == Path.cwd() / "model"
    for there in ("data/a.txt", "model/data/a.txt", "model/1/data/a.txt"):
        assert Path(there).read_text() == "a"
    (copy / "data" / "a.txt").write_text("b")
    assert (package / "data" / "a.txt").read_text() == "a"


def test_what_is_large_is_linked_and_leads_to_the_package(tmp_path, monkeypatch):
    package = write_package(tmp_path / "package", HEAD)
    (package / "model.pth").touch()
    with (package / "large.pth").open("wb") as file:
        file.truncate(LARGE_BYTES + 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()

    copy = enter(tmp_path / "root", 0, package, PackageCode(package))

    assert find_large_files(package) == [package / "large.pth"]
    assert (copy / "large.pth").resolve() == package / "large.pth"
    assert not (copy / "model.pth").is_symlink()


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        (HEAD, ""),
        (WRITES, ""),
        (HEAD + "TABLE = '/tmp/table.csv'\n", ""),
        (WRITES + "# '/tmp/a.jpg'\n", ""),
        (WRITES + "PLACE = '/tmp/a.jpg'\n", "/tmp/a.jpg"),
        (WRITES + "def save(f):\n    return f'/home/mind/model/{f}.jpg'\n", "/home/mind/model/"),
    ],
)
def test_where_a_folder_for_each_worker_cannot_help_one_worker_serves(tmp_path, service, reason):
    package = write_package(tmp_path / "package", service)

    found = why_one_worker(tmp_path, package, PackageCode(package))

    assert bool(found) == bool(reason)
    assert reason in found


def test_only_what_the_service_imports_counts(tmp_path):
    package = write_package(
        tmp_path / "package", HEAD + "import near\nfrom model.far import away\n"
    )
    (package / "near.py").write_text("open('a', mode='a')")
    (package / "far").mkdir()
    (package / "far" / "away.py").write_text("'/cache/away'")
    (package / "train.py").write_text("'/tmp/train'")

    code = PackageCode(package)

    assert code.writes_files
    assert code.shared_place == "/cache/away"


def test_one_worker_is_said_and_kept(start, tmp_path):
    package = write_package(tmp_path / "package", WRITES + "PLACE = '/tmp/a.jpg'\n", CONFIG)
    runtime = start(package, WORKERS="3")

    said = "one worker instead of 3: of the model package, it writes files and names /tmp/a.jpg"
    wait_for(lambda: said in runtime.logs(), "the log to say it")
    wait_for(runtime.workers, "the worker")
    assert len(runtime.workers()) == 1


# --- requests -------------------------------------------------------------------------------------

NAMES = f"""
{HEAD}
class Service(Base):
    def _preprocess(self, data):
        return [name for files in data.values() for name in files]
    def _inference(self, data):
        return data
"""


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("../../outside.png", "outside.png"),
        ("/etc/passwd", "passwd"),
        ("C:\\\\fakepath\\\\a.png", "a.png"),
        ("..", "file"),
        ("a/", "file"),
        ("a\0b.png", "ab.png"),
    ],
)
def test_a_clients_file_name_reaches_the_code_as_its_last_part(names, sent, found):
    assert names.post(upload(b"a", filename=sent)).json == [found]


def test_two_files_of_one_name_stay_two(names):
    answer = names.post(multipart(("a", "x/a.png", b"1"), ("a", "y/a.png", b"2")))

    assert answer.json == ["a.png", "a.png (2)"]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    from runtime import start_runtime

    folder = tmp_path_factory.mktemp("names")
    package = write_package(
        folder / "package", NAMES, {"model_type": "Image", "apis": [json_api()]}
    )
    with start_runtime(folder / "home", package, WORKERS="1") as runtime:
        yield runtime.wait_until_ready()


RAISES = f"""
{HEAD}
class Service(Base):
    def _preprocess(self, data):
        if data.get("step") == "first":
            raise eval(data["error"])
        return data
    def _inference(self, data):
        if "error" in data:
            raise eval(data["error"])
        return {{"x": data["x"]}}
"""
WHOLE = "    def inference(self, data):\n        return self._inference(self._preprocess(data))\n"


@pytest.mark.parametrize("whole", ["", WHOLE], ids=["three steps", "a whole inference"])
def test_the_platforms_error_codes_stand_beside_the_sentence(start, tmp_path, whole):
    package = write_package(tmp_path / "package", RAISES + whole, CONFIG)
    runtime = start(package, WORKERS="1").wait_until_ready()
    for step, error, status in (
        ("first", "ValueError('a')", 422),
        ("first", "KeyError('a')", 422),
        ("second", "KeyError('a')", 400),
        ("second", "TypeError('a')", 400),
        ("second", "RuntimeError('a')", 500),
    ):
        answer = runtime.post_json({"x": 1, "step": step, "error": error})
        assert (step, error, answer.status) == (step, error, status)
        assert answer.json["erno"] == "MR.0105"
        assert answer.json["msg"] == "Recognition failed"
        assert runtime.health().status == 200
        assert runtime.post_json({"x": 2}).json == {"x": 2}


# --- threads -------------------------------------------------------------------------------------

BOUND = f"""
import threading, time
{HEAD}
class Service(Base):
    def __init__(self, model_name, model_path):
        self.local = threading.local()
        self.local.weights = 2
        self.asked = 0
    def _preprocess(self, data):
        self.asked += 1
        self.mine = self.asked
        time.sleep(data.get("sleep", 0))
        return data
    def _inference(self, data):
        if "text" in data and not isinstance(data["x"], int):
            raise ValueError("a number is wanted")
        return {{"x": self.local.weights * data["x"], "alone": self.mine == self.asked}}
"""


@pytest.mark.parametrize("text", [False, True], ids=["a sample that fits", "no proof"])
def test_a_service_bound_to_the_thread_that_loaded_it_is_served_there(
    start, tmp_path, profile, text
):
    api = json_api(
        **(
            {"x": {"type": "string"}, "text": {"type": "string"}}
            if text
            else {"x": {"type": "number"}}
        )
    )
    package = write_package(tmp_path / "package", BOUND, {"model_type": "Image", "apis": [api]})
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    with runtime.connect() as connection:
        for number in range(450):
            body = b'{"x": %d, "text": ""}' % number
            answer = connection.ask("POST", "/", body, Content_Type="application/json")
            assert answer.json == {"x": 2 * number, "alone": True}
    assert "answers only in the thread that loaded it" in runtime.logs()
    assert runtime.health().status == 200


def test_a_bound_service_that_is_stuck_is_not_healthy_until_it_is_free(start, tmp_path, profile):
    package = write_package(tmp_path / "package", BOUND, CONFIG)
    runtime = start(
        package, WORKERS="1", MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="0.3"
    ).wait_until_ready()

    late = runtime.post_json({"x": 1, "sleep": 2})
    sick, refused = runtime.health(), runtime.post_json({"x": 1})

    assert (late.status, sick.status, refused.status) == (504, 503, 503)
    runtime.wait_until_ready()
    assert runtime.post_json({"x": 1}).json == {"x": 2, "alone": True}


def test_predictions_of_one_instance_run_one_at_a_time(start, tmp_path, profile):
    package = write_package(
        tmp_path / "package", BOUND.replace("self.local.weights *", "2 *"), CONFIG
    )
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    def ask(number):
        return runtime.post_json({"x": number, "sleep": 0.02 if number % 50 == 0 else 0}).json

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(500)))

    assert answers == [{"x": 2 * number, "alone": True} for number in range(500)]


# --- warm-up -------------------------------------------------------------------------------------


def service_that(step: str) -> str:
    start = f"{HEAD}from PIL import Image\nclass Service(Base):\n"
    return f"{start}    def _inference(self, data):\n        {step}\n"


TAKES_TEXT = service_that("return {'n': int(data['text'])}")
TEXT_CONFIG = {"model_type": "Image", "apis": [json_api(text={"type": "string"})]}


@pytest.mark.parametrize("workers", ["1"])
def test_of_a_text_nobody_can_tell_so_that_the_first_real_answer_decides(start, tmp_path, workers):
    package = write_package(tmp_path / "package", TAKES_TEXT, TEXT_CONFIG)
    runtime = start(package, WORKERS=workers).wait_until_ready()

    assert "no proof" in runtime.logs()
    assert runtime.post_json({"text": "7"}).json == {"n": 7}
    assert runtime.post_json({"text": "seven"}).status == 500
    assert runtime.health().status == 200
    assert runtime.post_json({"text": "8"}).json == {"n": 8}


def test_the_first_real_failure_decides_until_a_request_is_answered(start, tmp_path):
    package = write_package(tmp_path / "package", TAKES_TEXT, TEXT_CONFIG)
    runtime = start(package, WORKERS="1").wait_until_ready()

    failed, sick = runtime.post_json({"text": "seven"}), runtime.health()

    assert (failed.status, sick.status) == (500, 503)
    assert "the first real request failed with ValueError" in sick.json["error"]
    assert runtime.post_json({"text": "7"}).json == {"n": 7}
    assert runtime.health().status == 200


def test_a_model_that_dies_after_its_first_real_answer_is_noticed(start, tmp_path):
    step = "return {'n': int(data['text']) + len(open('weights.txt').read())}"
    package = write_package(tmp_path / "package", service_that(step), TEXT_CONFIG)
    (package / "weights.txt").touch()
    runtime = start(package, WORKERS="1").wait_until_ready()
    assert runtime.post_json({"text": "7"}).json == {"n": 7}

    (folder,) = runtime.worker_folders()
    (folder / "weights.txt").unlink()

    def is_sick():
        assert runtime.post_json({"text": "8"}).status in (500, 503)
        return runtime.health().status == 503

    wait_for(is_sick, "health to notice")
    (folder / "weights.txt").touch()
    wait_for(runtime.is_healthy, "the model to recover")


@pytest.mark.parametrize(
    ("config", "step"),
    [
        (CONFIG, "raise ValueError('other shape')"),
        (
            {"apis": [json_api(x={"type": "array", "items": {"type": "number"}, "minItems": 4})]},
            "raise ValueError('other shape')",
        ),
        (
            MNIST_CONFIG,
            "Image.open(*data['images'].values())\n        raise ValueError('other shape')",
        ),
    ],
    ids=["a number", "four numbers", "a picture"],
)
def test_a_sample_that_fits_counts(start, tmp_path, config, step):
    package = write_package(tmp_path / "package", service_that(step), config)
    runtime = start(package, WORKERS="1")

    wait_for(lambda: "the model does not answer" in runtime.logs(), "the sample")
    assert runtime.health().status == 503
    assert "other shape" in runtime.health().json["error"]


@pytest.mark.parametrize(
    "properties",
    [
        {"x": {"type": "array", "items": {"type": "number"}}},
        {"x": {"type": "string", "default": "a"}},
        {"x": {"type": "object"}},
        {"input_video": {"type": "file"}},
        {"csv_file": {"type": "file"}},
    ],
    ids=lambda properties: str(next(iter(properties))),
)
def test_a_sample_of_which_nobody_can_tell_does_not_count(start, tmp_path, properties):
    api = json_api(**properties)
    package = write_package(
        tmp_path / "package", service_that("raise ValueError('a')"), {"apis": [api]}
    )

    assert "no proof" in start(package, WORKERS="1").wait_until_ready().logs()


def test_a_request_of_the_author_counts(start, tmp_path):
    package = write_package(tmp_path / "package", TAKES_TEXT, TEXT_CONFIG)
    (package / "warm_up.json").write_text('{"text": "seven"}')
    runtime = start(package, WORKERS="1")

    wait_for(lambda: "the model does not answer" in runtime.logs(), "the sample")
    assert runtime.health().status == 503


def test_a_daemon_of_the_package_does_not_hold_up_health_for_ever(tmp_path):
    daemon = """
    def __init__(self, model_name, model_path):
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
"""
    package = write_package(tmp_path / "package", TAKES_TEXT + daemon, TEXT_CONFIG)
    settings, states = read_settings({"MODEL_PATH": str(package)}), []
    model = Model(settings, read_surface(package), states.append, daemon_s=3.0)

    model.load()
    assert states == [State.LOADING]
    wait_for(lambda: model.ready, "health to stop waiting")
