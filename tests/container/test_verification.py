"""The verifier on real images: a good one, the good one broken line by line, strangers'."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from broken_images import SHORT_WAITS, BrokenImages, derive
from interrupting import INTERRUPTIBLE
from sabotage import BROKEN_ELSEWHERE, SAMPLES, STREAM_RULES, TABLE, WITHOUT_SABOTAGE

from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.docker.images import RUN_LABEL
from custom_image.report import Verdict
from custom_image.rules import catalogue
from custom_image.verification import verify

BROKEN = (Verdict.FAILED, Verdict.WARNING)
# What a short wait cannot prove.
ONLY_FULL = {"http.keep-alive", "sigterm.serves", "sigterm.exit", "hitless.upgrade"}
ONLY_FULL |= {f"growth.{name}" for name in ("memory", "descriptors", "threads", "disk")}
# A sabotage of the metadata and one of config.json that are judged by every rule in `make test`.
JUDGED_WHOLE = {"boot.exec-form", "config.meant"}
# What the good image does not have: a Dockerfile inside, an answer that is a stream, a command, a
# text in its requests, weights beside it.
NOTHING_TO_JUDGE = {
    "dockerfile.lint",
    *(rule for rule in BROKEN_ELSEWHERE if not rule.startswith("growth.")),
    *("probe.command", "stop.tools", "stop.command", "stop.in-flight"),
    *(STREAM_RULES - {"stream.length"}),  # which only the older generation has
}


@pytest.fixture
def good_image(tiny_image):
    return tiny_image.reference


def broken(report):
    return [check.id for check in report.checks if check.verdict in BROKEN]


def not_checked(report):
    return {check.id for check in report.checks if check.verdict is Verdict.NOT_CHECKED}


def containers_of(docker_engine, run_id):
    filters = {"label": f"{RUN_LABEL}={run_id}"}
    return docker_engine._client.api.containers(all=True, filters=filters)


def blamed(report):
    """Return the rules that others name as the reason why they were not checked."""
    reasons = [c.measured.split() for c in report.checks if c.verdict is Verdict.NOT_CHECKED]
    return {words[0] for words in reasons if words[1:2] in (["FAILED"], ["NOT"])}


def test_a_good_image_passes_every_rule_but_for_the_true_durations(docker_engine, good_image):
    report = verify(good_image, engine=docker_engine, samples=SAMPLES)

    assert broken(report) == [], str(report)
    assert not_checked(report) == ONLY_FULL | NOTHING_TO_JUDGE
    assert report.check("api.answers").measured.endswith('{"mnist_result": 7}')


def test_a_batch_image_passes_the_rules_of_its_profile(docker_engine, batch_image):
    report = verify(batch_image.reference, engine=docker_engine, profile="batch", waits=SHORT_WAITS)

    assert broken(report) == [], str(report)
    assert report.check("batch.dependencies").verdict is Verdict.PASSED
    assert report.check("batch.boot-file").verdict is Verdict.PASSED


@pytest.fixture(scope="module")
def broken_images(docker_engine, tiny_image, request, tmp_path_factory):
    """Judge the rows that are about to be tested, ahead of their tests."""
    rows = [
        item.callspec.params["sabotage"]
        for item in request.session.items
        if getattr(item, "function", None) is test_a_sabotage_fails_its_rule_and_no_other
    ]
    good = {"tiny_image": tiny_image.reference, "batch_image": ""}
    if any(row.is_batch for row in rows) or not rows:
        good["batch_image"] = request.getfixturevalue("batch_image").reference
    # One worker answers like two, and starts in half the time.
    single = {
        name: derive(docker_engine, image, ["ENV WORKERS=1"], f"custom-image/tests:one-{name}")
        for name, image in good.items()
        if image
    }
    images = BrokenImages(
        docker_engine,
        rows,
        single["tiny_image"],
        single.get("batch_image", ""),
        tmp_path_factory.mktemp("broken"),
    )
    yield images
    images.close()


# Those that are judged alone come last: they wait until no other is judged.
@pytest.mark.parametrize(
    "sabotage", sorted(TABLE, key=lambda row: row.is_timed), ids=lambda sabotage: sabotage.rule
)
def test_a_sabotage_fails_its_rule_and_no_other(sabotage, broken_images):
    report = broken_images.report(sabotage)

    assert broken(report) == [sabotage.rule], str(report)
    assert blamed(report) <= {sabotage.rule}, str(report)


@pytest.mark.parametrize(
    "sabotage",
    [
        pytest.param(row, marks=[] if row.rule in JUDGED_WHOLE else pytest.mark.true_time)
        for row in TABLE
    ],
    ids=lambda sabotage: sabotage.rule,
)
def test_a_sabotage_fails_no_other_of_all_rules(sabotage, broken_images):
    report = broken_images.judge(sabotage)

    assert {*broken(report)} - {*sabotage.also} == {sabotage.rule}, str(report)
    assert blamed(report) <= {sabotage.rule, *sabotage.also}, str(report)


def test_every_rule_has_a_sabotage():
    others = WITHOUT_SABOTAGE | BROKEN_ELSEWHERE | STREAM_RULES
    assert {rule.id for rule in catalogue()} - {s.rule for s in TABLE} == others


def test_a_saved_image_is_judged_by_the_command_of_the_models_form(docker_engine, good_image):
    """By default it starts what it started as a notebook instance."""
    name = f"custom-image/tests:saved-{docker_engine.run_id}"
    image = derive(docker_engine, good_image, ['CMD ["sleep", "1e6"]'], name)
    only = ["boot.command", "boot.file", "boot.text", "api.answers"]
    command = "sh /home/ma-user/infer/run.sh"
    try:
        report = verify(image, engine=docker_engine, only=only, command=command)
        saved = verify(image, engine=docker_engine, profile="notebook-save", command=command)
    finally:
        docker_engine.remove_image(image)

    assert broken(report) == broken(saved) == [], f"{report}\n{saved}"
    assert report.check("boot.command").measured == command
    assert report.check("boot.file").measured.startswith("/home/ma-user/infer/run.sh,")
    assert report.check("api.answers").verdict is Verdict.PASSED


def test_pythons_own_file_server_gets_a_sensible_table(docker_engine, good_image, tmp_path):
    """A server that nobody here wrote, judged without a config.json of its own."""
    lines = (
        "USER 0",
        "RUN rm -rf /home/ma-user/infer/model",
        'CMD ["python3", "-m", "http.server", "8080"]',
    )
    image = derive(
        docker_engine, good_image, lines, f"custom-image/tests:stranger-{docker_engine.run_id}"
    )
    try:
        report = verify(image, engine=docker_engine, waits=SHORT_WAITS)
    finally:
        docker_engine.remove_image(image)

    failed = {check.id for check in report.checks if check.verdict is Verdict.FAILED}
    assert failed == {"http.keep-alive", "sigterm.exit"}, str(report)
    assert "no handler for SIGTERM" in report.check("sigterm.exit").measured
    assert "broke" not in str(report)


def test_no_container_is_left(docker_engine, good_image):
    only = ["http.bad-input", "sigterm.exit"]

    verify(good_image, engine=docker_engine, only=only, waits=SHORT_WAITS)

    assert docker_engine.remove_run() == 0


@pytest.mark.true_time
@pytest.mark.timeout(400)
def test_a_good_image_passes_every_rule_at_the_true_durations(docker_engine, good_image):
    report = verify(good_image, engine=docker_engine, level="full", samples=SAMPLES)

    assert broken(report) == [], str(report)
    assert not_checked(report) == NOTHING_TO_JUDGE
    assert 60 <= report.facts["sigterm"]["exited_s"] <= 90


def test_an_interrupt_removes_the_containers(docker_engine, good_image):
    run_id = f"interrupted-{docker_engine.run_id}"
    code = (
        "from custom_image.engines.docker.engine import DockerEngine\n"
        "from custom_image.verification import verify\n"
        f"only = ['logs.stdout', 'http.keep-alive', 'sigterm.exit', 'hitless.upgrade']\n"
        f"verify({good_image!r}, level='full', engine=DockerEngine({run_id!r}), only=only)"
    )
    verifier = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE + code], stderr=subprocess.PIPE, text=True
    )
    # Plain lines tell how far it is; what is left after this one are the drills that wait.
    for line in verifier.stderr:
        if "logs.stdout" in line:
            break
    verifier.send_signal(signal.SIGINT)
    _, error = verifier.communicate(timeout=30)

    assert verifier.returncode == -signal.SIGINT, error
    assert docker_engine.remove_run(run_id) == 0


def test_containers_of_a_verifier_that_was_killed_are_removed_by_the_next(
    docker_engine, good_image
):
    """SIGKILL leaves no time to clean up; who uses the engine next sees that the owner is gone."""
    run_id = f"killed-{docker_engine.run_id}"
    code = (
        "import sys\n"
        "from custom_image.engines.docker.engine import DockerEngine\n"
        f"with DockerEngine({run_id!r}).start({good_image!r}):\n"
        "    print('started', flush=True)\n"
        "    sys.stdin.read()"
    )
    verifier = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with verifier:
        assert verifier.stdout.readline() == "started\n"
        DockerEngine.connect().close()
        assert len(containers_of(docker_engine, run_id)) == 1  # its owner lives

        verifier.kill()
        verifier.wait()
        assert len(containers_of(docker_engine, run_id)) == 1
        DockerEngine.connect().close()
        assert containers_of(docker_engine, run_id) == []
