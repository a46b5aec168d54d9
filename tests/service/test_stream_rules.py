"""The rules about streams: a good service, and the same broken line by line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import judging
import pytest
from judging import BROKEN, EVERY_RULE, judge, replace, verdicts
from sabotage import STREAM_RULES, limit

from custom_image.report import Verdict
from custom_image.rules import Waits

SERVICE = Path(judging.__file__).with_name("stream_service")
STREAMS = [*STREAM_RULES, "api.content-type", "http.latency"]
WAITS = Waits(true=False, keep_alive_s=1.5, drain_s=1.5, exit_s=5)

# The rule, and the one line of serve.py that breaks it.
SABOTAGES = {
    "stream.content-type": ('"text/event-stream;charset=UTF-8"', '"text/plain"'),
    "stream.parts": (
        "            for event in self.events():\n                self.chunk(event)\n",
        '            self.chunk(b"".join(self.events()))\n',
    ),
    "stream.text": (
        '.encode() + b"\\n\\n"',
        '.encode().replace("鸟".encode(), "鸟".encode()[:2]) + b"\\n\\n"',
    ),
    "stream.end": ('            self.chunk(b"")\n', "            self.close_connection = True\n"),
    "stream.length": ("PAUSE_SECONDS = 0.1", "PAUSE_SECONDS = 0.3"),
    "stream.disconnect": (
        "            for event in self.events():\n",
        "            slots.acquire()\n            for event in list_slowly(self.events()):\n",
    ),
    "stream.sigterm": (
        "                self.chunk(event)\n",
        "                if stopped.is_set():\n                    raise OSError\n"
        "                self.chunk(event)\n",
    ),
}


@pytest.fixture
def service(tmp_path):
    shutil.copytree(SERVICE, tmp_path / "home")
    return tmp_path / "home"


def test_a_good_stream_is_clean_and_judged_by_every_rule(service):
    report = judge(service, waits=WAITS, profile="v1")

    assert verdicts(report, *BROKEN) == [], str(report)
    passed = verdicts(report, Verdict.PASSED)
    assert set(passed) >= STREAM_RULES, str(report)


def test_a_service_without_streams_is_not_asked_for_any(tmp_path):
    report = judge(judging.copy_good_service(tmp_path), only=list(STREAM_RULES), profile="v1")

    assert verdicts(report, *BROKEN) == []
    assert set(verdicts(report, Verdict.NOT_CHECKED)) >= STREAM_RULES


def test_a_stream_that_config_json_declares_is_judged_whatever_comes(service):
    """As LitServe streams: chunked JSON without a type, like any answer."""
    replace(
        service / "serve.py", '            self.send_header("Content-Type", CONTENT_TYPE)\n', ""
    )
    replace(service / "serve.py", 'b"data: " + json', "json")
    replace(service / "serve.py", 'elif request.get("stream"):', "elif True:")
    document = json.loads((service / "config.json").read_text())
    document["apis"][0]["response"]["Content-type"] = "text/event-stream"
    (service / "config.json").write_text(json.dumps(document))

    only = [*STREAM_RULES, "api.content-type", "api.response-schema"]
    report = judge(service, waits=WAITS, profile="v1", only=only)

    assert verdicts(report, *BROKEN) == ["stream.content-type"], str(report)
    assert report.check("stream.content-type").measured == "none"
    assert report.check("stream.parts").verdict is Verdict.PASSED


@pytest.mark.parametrize("only", [pytest.param(STREAMS, id="streams"), EVERY_RULE])
@pytest.mark.parametrize("rule_id", SABOTAGES)
def test_a_sabotage_of_a_stream_fails_its_rule_and_no_other(rule_id, service, only):
    old, new = SABOTAGES[rule_id]
    replace(service / "serve.py", old, new)
    settings = {"waits": WAITS, "profile": "v1"}
    if rule_id == "stream.length":
        settings["edition"] = limit("latency", 1.5, "s")
    if rule_id == "stream.disconnect":
        replace(
            service / "serve.py",
            "lock = threading.Lock()\n",
            "lock = threading.Lock()\nslots = threading.Semaphore(1)\n\n\n"
            "def list_slowly(events):\n"
            "    for event in events:\n"
            "        yield event\n"
            "    slots.release()\n\n\n",
        )
    if rule_id == "stream.sigterm":
        lock = "lock = threading.Lock()\n"
        replace(service / "serve.py", lock, f"{lock}stopped = threading.Event()\n")
        replace(service / "serve.py", "def stop(*_):\n", "def stop(*_):\n    stopped.set()\n")

    report = judge(service, only=only, **settings)

    assert verdicts(report, *BROKEN) == [rule_id], str(report)


ENCODED = "ensure_ascii=False).encode() + b"
SIGNS = {
    "PASSED": ('WORDS = ("你好"', 'WORDS = ("\ufffd"'),
    "FAILED": (ENCODED, ENCODED.replace(").", ').replace("鸟", "\ufffd").')),
}


@pytest.mark.parametrize("verdict", SIGNS)
def test_a_replacement_sign_counts_unless_the_whole_answer_has_it_too(service, verdict):
    """As a model of random weights says it, or a service that cuts a character in two."""
    replace(service / "serve.py", *SIGNS[verdict])

    report = judge(service, waits=WAITS, profile="v1", only=["stream.text"])

    assert report.check("stream.text").verdict == verdict, str(report)


def test_every_rule_about_streams_has_a_sabotage():
    assert set(SABOTAGES) == STREAM_RULES
