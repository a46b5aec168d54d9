"""Rules about what a service takes and holds: large texts, growth, warm-up samples, redirects."""

from __future__ import annotations

import json

import pytest
from judging import BROKEN, EVERY_RULE, copy_good_service, judge, replace, verdicts

from custom_image.drills.growth import Growth, fit
from custom_image.drills.usage import Usage
from custom_image.report import Verdict

GROWTH = ["growth.memory", "growth.descriptors", "growth.threads"]
TEXT = ["body.text", "body.size"]
LOCATION = ["api.location", "api.answers"]
LINE = "        body = self.rfile.read"


@pytest.fixture
def service(tmp_path):
    return copy_good_service(tmp_path)


# --- large texts ------------------------------------------------------------------------------


@pytest.fixture
def json_service(service):
    """The good service, which takes a picture as a text in JSON."""
    document = json.loads((service / "config.json").read_text())
    document["apis"][0]["request"] = {
        "Content-type": "application/json",
        "data": {"type": "object", "properties": {"image": {"type": "string"}}},
    }
    (service / "config.json").write_text(json.dumps(document))
    replace(
        service / "serve.py",
        "        if b'name=\"images\"' in body and is_whole:",
        "        if body:",
    )
    return service


def test_a_text_of_12_mb_is_taken(json_service):
    report = judge(json_service, only=TEXT)

    assert verdicts(report, *BROKEN) == [], str(report)
    assert "12 MB in image" in report.check("body.text").measured


@pytest.mark.parametrize("only", [pytest.param(TEXT, id="text"), EVERY_RULE])
@pytest.mark.parametrize(
    "refusal",
    [
        "self.answer(413, '{}')",
        """self.answer(400, '{"error": "image exceeds the maximum size"}')""",
    ],
)
def test_a_limit_of_one_text_is_found(json_service, refusal, only):
    replace(
        json_service / "serve.py",
        "        if body:",
        f"        if len(body.strip()) > 1e6:\n            {refusal}\n        elif body:",
    )

    report = judge(json_service, only=only)

    assert verdicts(report, *BROKEN) == ["body.text"], str(report)


def test_a_service_that_is_slow_with_much_has_no_limit_for_all_that(json_service, monkeypatch):
    monkeypatch.setattr("custom_image.rules.service.body.PATIENCE_S", 1.0)
    replace(
        json_service / "serve.py",
        "        if body:",
        "        time.sleep(len(body) / 1e6)\n        if body:",
    )

    report = judge(json_service, only=TEXT)

    assert verdicts(report, *BROKEN) == [], str(report)
    assert {report.check(rule).verdict for rule in TEXT} == {Verdict.NOT_CHECKED}


# --- growth -----------------------------------------------------------------------------------


@pytest.fixture
def few_requests(monkeypatch):
    for name, value in {"ROUNDS": 8, "REQUESTS_A_ROUND": 10, "WARM_UP_REQUESTS": 30}.items():
        monkeypatch.setattr(f"custom_image.drills.growth.{name}", value)


def grow(service, only=GROWTH):
    return judge(service, level="full", only=only)


def test_a_good_service_does_not_grow(service, few_requests):
    report = grow(service)

    assert verdicts(report, *BROKEN) == [], str(report)
    assert {report.check(rule).verdict for rule in GROWTH} == {Verdict.PASSED}
    assert set(report.facts["growth"]) == {"memory", "descriptors", "threads"}


@pytest.mark.parametrize("only", [pytest.param(GROWTH, id="growth"), EVERY_RULE])
@pytest.mark.parametrize(
    ("rule", "leak"),
    [
        ("growth.memory", "KEPT.append(bytearray(1_000_000))"),
        ("growth.descriptors", "KEPT.append(open('/dev/null'))"),
        (
            "growth.threads",
            "next(TURN) % 5 or threading.Thread(target=time.sleep, args=[60], daemon=1).start()",
        ),
    ],
)
def test_what_grows_is_named_with_the_requests_that_are_left(
    service, few_requests, rule, leak, only
):
    replace(
        service / "serve.py",
        "health = 200\n",
        "health = 200\nKEPT = []\nTURN = __import__('itertools').count()\n",
    )
    replace(service / "serve.py", LINE, f"        {leak}\n{LINE}")

    report = grow(service, only)

    found = set(verdicts(report, *BROKEN))
    assert found - {"growth.memory"} == {rule} - {"growth.memory"}, str(report)
    assert rule in found  # a thread takes memory as well
    assert "a thousand requests (95 %: +" in report.check(rule).measured


def test_the_interval_holds_the_true_slope_and_noise_fails_nobody():
    requests = range(100, 2100, 100)
    noise = [(-1) ** n * 3.0 for n in range(20)]
    grows = fit(requests, [0.02 * x + e for x, e in zip(requests, noise, strict=True)])
    rests = fit(requests, noise)

    assert grows.low < 20 < grows.high
    assert grows.low > 0
    assert rests.low < 0 < rests.high


def test_what_fills_up_and_then_rests_is_no_growth():
    samples = [Usage(int(1e8 * min(1, n / 8)), 9, 9, 0, 0) for n in range(20)]
    growth = Growth(tuple(range(100, 2100, 100)), tuple(samples))

    assert growth.slope(lambda usage: usage.memory_bytes).low > 0
    assert growth.late().slope(lambda usage: usage.memory_bytes).low <= 0


# --- a Location, and the author's own request ---------------------------------------------------


@pytest.mark.parametrize("only", [pytest.param(LOCATION, id="location"), EVERY_RULE])
@pytest.mark.parametrize(
    ("where", "broken"),
    [("/jobs/1", ["api.location"]), ("jobs/1", []), ("https://obs.example.com/result", [])],
)
def test_a_location_that_leaves_the_prefix_is_found(service, where, broken, only):
    line = '        self.send_header("Content-Length", str(len(text)))\n'
    replace(service / "serve.py", line, f'{line}        self.send_header("Location", "{where}")\n')

    report = judge(service, only=only)

    assert verdicts(report, *BROKEN) == broken, str(report)


def test_the_warm_up_beside_config_json_is_what_is_sent(service):
    replace(
        service / "serve.py", "if b'name=\"images\"' in body and is_whole", "if b'mine' in body"
    )
    only = ["api.answers", "expected.answers"]
    made_up = judge(service, only=only)
    (service / "warm_up.bin").write_bytes(b"mine")

    report = judge(service, only=only)

    assert made_up.check("api.answers").verdict is Verdict.WARNING
    assert verdicts(report, *BROKEN) == [], str(report)
    assert report.check("expected.answers").evidence.startswith("warm_up.bin: 200")
