"""One process holds the model, workers decode and encode: batches, failures, deaths."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from socket import AF_UNIX, SOCK_SEQPACKET, socketpair

import numpy as np
import pytest
from runtime import Answer, children, is_running, json_api, upload, wait_for, write_package

from model_service.inference.batches import NoBatch, join, kind_of, split
from model_service.inference.link import Link
from model_service.inference.model_process import Batches, Input, take
from model_service.inference.one_copy import read_batch_size, why_not

# Says in which process each step ran, and how many rows the model saw at once.
COUNTING = """
import os
import time
import numpy as np
from model_service.model_service import SingleNodeService

class Counting(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.labels = ["even", "odd"]
        self.model = lambda rows: rows * 2  # does not travel
        self.loaded_in = os.getpid()

    def _preprocess(self, data):
        if data.get("refuse"):
            raise ValueError("`x` is refused")
        return np.array([[data["x"], os.getpid()]] * data.get("rows", 1), dtype="int64")

    def _inference(self, data):
        if (data[:, 0] == 13).any():
            raise RuntimeError("thirteen")
        if (data[:, 0] == 60).any():
            time.sleep(60)
        time.sleep(0.05)
        rows = np.full((len(data), 1), len(data))
        return np.c_[self.model(data[:, :1]), data[:, 1:], rows, rows * 0 + os.getpid()]

    def _postprocess(self, data):
        names = dict(zip(["first", "worker", "batch", "model"], data[0]), doubled=data[:, 0])
        label = self.labels[data[0, 0] // 2 % 2]
        return dict(names, label=label, post=os.getpid(), loaded=self.loaded_in)
"""
CONFIG = {"apis": [json_api(x={"type": "integer", "default": 1})]}


@pytest.fixture
def serve(start, tmp_path, profile):
    def serve(code=COUNTING, **settings):
        package = write_package(tmp_path / "package", code, CONFIG)
        return start(package, **{"MODEL_SERVER": profile, "MODEL_PROCESSES": "1", **settings})

    return serve


def ask_many(runtime, values) -> list[Answer]:
    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(lambda x: runtime.post_json({"x": x}), values))


def model_process(runtime) -> int:
    return runtime.post_json({"x": 1}).json["model"]


def sick(runtime, words: str) -> Answer:
    """Wait until health says these words; return its answer."""
    wait_for(lambda: words in runtime.logs(), words)
    return wait_for(lambda: words in (answer := runtime.health()).body.decode() and answer, words)


@pytest.fixture
def links():
    ours, theirs = (Link(end) for end in socketpair(AF_UNIX, SOCK_SEQPACKET))
    yield ours, theirs
    ours.close()
    theirs.close()


def test_one_process_holds_the_model_and_workers_do_the_rest(serve):
    runtime = serve(BATCH_SIZE="8", BATCH_WAIT_MS="40").wait_until_ready()

    answers = [answer.json for answer in ask_many(runtime, range(20, 40))]

    assert [answer["doubled"] for answer in answers] == [[2 * x] for x in range(20, 40)]
    assert [answer["label"] for answer in answers] == ["even", "odd"] * 10
    (model,) = {answer["model"] for answer in answers}
    assert {answer["loaded"] for answer in answers} == {model}
    assert all(answer["worker"] == answer["post"] != model for answer in answers)
    assert {answer["worker"] for answer in answers} <= set(runtime.workers()) - {model}
    assert 1 < max(answer["batch"] for answer in answers) <= 8
    metrics = runtime.metrics()
    assert metrics['model_service_model_processes{state="ready"}'] == 1
    assert metrics["model_service_batched_total"] > metrics["model_service_batches_total"] > 1


def test_one_bad_input_of_a_batch_fails_alone(serve):
    runtime = serve(BATCH_SIZE="8", BATCH_WAIT_MS="100").wait_until_ready()

    answers = ask_many(runtime, [10, 11, 13, 14])

    assert [answer.status for answer in answers] == [200, 200, 500, 200]
    assert answers[2].error == "the model failed with RuntimeError: thirteen"
    refused = runtime.post_json({"x": 1, "refuse": True})
    assert (refused.status, refused.error) == (422, "`x` is refused")
    assert runtime.post_json({"x": 4, "rows": 3}).json["doubled"] == [8, 8, 8]
    assert "Traceback" in runtime.logs()


def test_without_a_batch_size_inputs_go_one_by_one(serve):
    runtime = serve().wait_until_ready()
    assert {answer.json["batch"] for answer in ask_many(runtime, range(6))} == {1}


def test_a_class_can_ask_for_batches_itself(serve):
    code = COUNTING.replace("    def __init__", "    batch_size = 8\n\n    def __init__", 1)
    runtime = serve(code, MODEL_PROCESSES="", BATCH_WAIT_MS="50").wait_until_ready()
    assert max(answer.json["batch"] for answer in ask_many(runtime, range(8))) > 1

    other = serve(code, MODEL_PROCESSES="0").wait_until_ready()
    found = other.post_json({"x": 1}).json
    assert found["model"] == found["worker"]


def test_a_model_process_that_is_killed_is_replaced_and_only_what_it_held_is_lost(serve):
    runtime = serve(PREDICT_TIMEOUT_SECONDS="30").wait_until_ready()
    killed, workers = model_process(runtime), set(runtime.workers())
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(runtime.post_json, {"x": 60})
        threading.Event().wait(0.3)
        began = time.monotonic()
        os.kill(killed, signal.SIGKILL)

        # The client learns of it at once, not when the time of a prediction is up.
        answer = held.result()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert time.monotonic() - began < 15
    wait_for(lambda: "was ended by SIGKILL; replaced" in runtime.logs(), "the replacement")
    runtime.wait_until_ready()
    found = runtime.post_json({"x": 2}).json
    assert (found["doubled"], found["model"] != killed) == ([4], True)
    assert workers - {killed} == set(runtime.workers()) - {found["model"]}


def test_while_there_is_no_model_process_health_says_so(serve):
    code = COUNTING.replace("self.labels", "time.sleep(1.5)\n        self.labels", 1)
    runtime = serve(code).wait_until_ready()
    os.kill(model_process(runtime), signal.SIGKILL)

    answer = wait_for(lambda: (a := runtime.health()).status == 503 and a, "health to say so")
    assert "the model process ended" in answer.error
    assert runtime.post_json({"x": 1}).status == 503
    runtime.wait_until_ready()
    assert runtime.post_json({"x": 1}).status == 200


def test_a_model_process_that_hangs_or_is_frozen_is_replaced(serve):
    runtime = serve(PREDICT_TIMEOUT_SECONDS="0.5").wait_until_ready()
    hanging = model_process(runtime)

    late = runtime.post_json({"x": 60})
    assert (late.status, "PREDICT_TIMEOUT_SECONDS" in late.error) == (504, True)
    wait_for(lambda: not is_running(hanging), "the hanging one to go")
    frozen = model_process(runtime.wait_until_ready())
    os.kill(frozen, signal.SIGSTOP)
    wait_for(lambda: not is_running(frozen), "the frozen one to go")
    # Until its successor is there, 503 with `Retry-After`.
    wait_for(lambda: runtime.post_json({"x": 1}).status == 200, "an answer again")


def test_a_worker_that_is_killed_takes_nobody_along(serve):
    runtime = serve().wait_until_ready()
    model = model_process(runtime)
    os.kill(next(pid for pid in runtime.workers() if pid != model), signal.SIGKILL)

    wait_for(lambda: "was ended by SIGKILL; replaced" in runtime.logs(), "the replacement")
    runtime.wait_until_ready()
    assert model_process(runtime) == model
    assert [answer.status for answer in ask_many(runtime, range(8))] == [200] * 8


def test_what_is_open_at_sigterm_is_answered_and_all_processes_end(serve):
    runtime = serve(DRAIN_SECONDS="0.4", EXIT_SECONDS="20").wait_until_ready()
    pids = children(runtime.process.pid)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(runtime.post_json, {"x": x}) for x in range(20, 36)]
        threading.Event().wait(0.2)
        runtime.terminate()
        assert [answer.result().status for answer in answers] == [200] * 16
    assert runtime.wait(15) == 0
    assert len(pids) == 3
    assert not any(is_running(pid) for pid in pids)
    assert "did not leave" not in runtime.logs()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            ('if data.get("refuse"):', 'self.x = data["x"]\n        if data.get("refuse"):'),
            "`self.x`",
        ),
        (
            (
                "def _inference(",
                "def inference(self, data):\n        return 1\n\n    def _inference(",
            ),
            "whole",
        ),
    ],
    ids=["state between the steps", "a whole inference"],
)
def test_a_package_that_keeps_state_between_its_steps_is_refused_with_a_reason(
    serve, change, reason
):
    runtime = serve(COUNTING.replace(*change, 1))
    answer = sick(runtime, "MODEL_PROCESSES")
    assert reason in answer.error
    assert runtime.post_json({"x": 1}).status == 503


def test_a_model_that_cannot_be_loaded_is_a_reason_in_health(serve):
    runtime = serve(
        COUNTING.replace("self.labels =", "raise OSError('no weights')\n        self.labels =", 1)
    )
    sick(runtime, "no weights")


def test_what_is_in_the_model_process_cannot_be_used_outside(serve):
    code = COUNTING.replace(
        "def _preprocess(self, data):", "def _preprocess(self, data):\n        self.model"
    )
    runtime = serve(code)
    wait_for(lambda: "is in the model process" in runtime.logs(), "why")


def test_the_example_is_served_with_one_copy(start, mnist_package, some_digits, profile):
    import io

    from PIL import Image

    runtime = start(
        mnist_package, MODEL_SERVER=profile, MODEL_PROCESSES="1", BATCH_SIZE="16"
    ).wait_until_ready()

    def ask(digit: int) -> Answer:
        target = io.BytesIO()
        Image.fromarray(some_digits[digit]).save(target, "png")
        return runtime.post(upload(target.getvalue()))

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(10)))
    assert [answer.json for answer in answers] == [{"mnist_result": digit} for digit in range(10)]


# --- parts of it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_messages_arrive_whole_and_large_arrays_as_memory(links, size):
    ours, theirs = links
    array = np.arange(size, dtype="float32").reshape(2, -1)
    sent = {"a": array, "b": [1, "text", array[:1]], "c": b"x" * size}

    threading.Thread(target=ours.send, args=(sent,)).start()
    found = theirs.receive()

    assert found["c"] == sent["c"]
    assert np.array_equal(found["a"], array)
    assert np.array_equal(found["b"][2], array[:1])
    found["a"][0, 0] = 5  # the receiver's own
    assert array[0, 0] == 0
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()


def test_tensors_travel_as_memory_too(links):
    torch = pytest.importorskip("torch")
    ours, theirs = links
    tensor = torch.arange(100_000, dtype=torch.float32).reshape(4, -1)

    threading.Thread(target=ours.send, args=([tensor, tensor[1:2].bfloat16()],)).start()
    found, half = theirs.receive()

    assert torch.equal(found, tensor)
    assert torch.equal(half, tensor[1:2].bfloat16())


def test_arrays_are_joined_along_the_first_axis_and_anything_else_is_a_list():
    one, three = np.ones((1, 2)), np.zeros((3, 2))
    assert join([one, three]).shape == (4, 2)
    assert [part.shape for part in split(np.arange(4), [one, three])] == [(1,), (3,)]
    named = [{"a": one, "b": one}, {"a": three, "b": three}]
    assert join(named)["b"].shape == (4, 2)
    parts = split({"y": np.arange(4), "z": list("abcd")}, named)
    assert (parts[0]["z"], parts[1]["z"]) == (["a"], ["b", "c", "d"])
    assert split((np.arange(4), np.ones(4)), [one, three])[1][0].tolist() == [1, 2, 3]
    assert join(["text", {"x": 1}]) == ["text", {"x": 1}]
    assert split([1, 2], ["text", {"x": 1}]) == [1, 2]
    assert kind_of(one) != kind_of(np.ones((1, 3)))
    assert kind_of(one) != kind_of(one.astype("float32"))
    for output, values in ((np.ones(3), [one, three]), ([1], ["a", "b"]), (7, ["a"])):
        with pytest.raises(NoBatch, match="expected"):
            split(output, values)


def test_outputs_that_cannot_be_taken_apart_end_the_batches():
    batches = Batches(lambda rows: float(rows.sum()), 8)
    inputs = [Input(None, n, np.full((1, 2), n)) for n in range(3)]
    assert [output for _, output in batches.run(inputs)] == [0.0, 2.0, 4.0]
    assert not batches._in_batches


def test_a_batch_is_what_comes_within_the_wait_and_no_more_than_its_size():
    inputs: SimpleQueue = SimpleQueue()
    for number in range(5):
        inputs.put(number)
    assert take(inputs, 4, 0) == [0, 1, 2, 3]
    assert take(inputs, 4, 0.01) == [4]
    assert take(inputs, 4, 0) == []


def test_what_a_class_says_of_batches_and_state_is_read_and_never_run(tmp_path):
    def read(body: str):
        text = "import nothing_there\nclass S(Base):\n" + body
        write_package(tmp_path, text)
        return read_batch_size(tmp_path), why_not(tmp_path)

    assert read("    batch_size = 32\n") == (32, "")
    assert read("    def __init__(self):\n        self.x = 1\n        self.batch_size = 8\n") == (
        0,
        "",
    )
    state = "    def _preprocess(self, d):\n        return self.help(d)\n"
    state += "    def help(self, d):\n        "
    assert "`self.n`" in read(state + "self.n = 1\n")[1]
    assert "`self.n`" in read(state + "self.n['a'] = 1\n")[1]
    assert "`self.n`" in read(state + "self.n += 1\n")[1]
    assert "`total`" in read(state + "global total\n")[1]
    assert read(state + "n = self.n\n        n2 = {}\n        n2['a'] = 1\n") == (0, "")
    assert "writes files" in read(state + "open('x', 'w')\n")[1]
