"""The verifier on real images: a good one, the good one broken line by line, strangers'."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from interrupting import INTERRUPTIBLE
from sabotage import (
    SAMPLES,
    SHORT_WAITS,
    TABLE,
    WITHOUT_SABOTAGE,
    config_of,
    derive,
    write_config,
)

from custom_image.engines.docker import RUN_LABEL, DockerEngine
from custom_image.report import Verdict
from custom_image.rules import catalogue
from custom_image.verification import verify

BROKEN = (Verdict.FAILED, Verdict.WARNING)
# What a short wait cannot prove.
ONLY_FULL = {"http.keep-alive", "sigterm.serves", "sigterm.exit", "hitless.upgrade"}
# What the good image does not have: a Dockerfile inside, a time-out in its health check.
NOTHING_TO_JUDGE = {"dockerfile.lint"}


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
    assert report.duration_s < 25
    assert report.check("api.answers").measured.endswith('{"mnist_result": 7}')


def test_a_batch_image_passes_the_rules_of_its_profile(docker_engine, batch_image):
    report = verify(batch_image.reference, engine=docker_engine, profile="batch")

    assert broken(report) == [], str(report)
    assert report.check("batch.dependencies").verdict is Verdict.PASSED
    assert report.check("batch.boot-file").verdict is Verdict.PASSED


@pytest.mark.parametrize("sabotage", TABLE, ids=lambda sabotage: sabotage.rule)
def test_a_sabotage_fails_its_rule_and_no_other(sabotage, docker_engine, request, tmp_path):
    good = request.getfixturevalue("batch_image" if sabotage.is_batch else "tiny_image").reference
    name = sabotage.name.replace("RUN", docker_engine.run_id)
    image = derive(docker_engine, good, sabotage.lines, name)
    config = write_config(sabotage, config_of(docker_engine, good), tmp_path)
    try:
        report = verify(
            image,
            engine=docker_engine,
            config=config,
            only=sabotage.only,
            waits=SHORT_WAITS,
            **sabotage.settings,
        )
    finally:
        docker_engine.remove_image(image)

    assert broken(report) == [sabotage.rule], str(report)
    assert blamed(report) <= {sabotage.rule}, str(report)


def test_every_rule_has_a_sabotage():
    assert {rule.id for rule in catalogue()} - {s.rule for s in TABLE} == WITHOUT_SABOTAGE


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
        report = verify(image, engine=docker_engine)
    finally:
        docker_engine.remove_image(image)

    failed = {check.id for check in report.checks if check.verdict is Verdict.FAILED}
    assert failed == {"http.keep-alive", "sigterm.exit"}, str(report)
    assert "no handler for SIGTERM" in report.check("sigterm.exit").measured
    assert "broke" not in str(report)


def test_no_container_is_left(docker_engine, good_image):
    verify(good_image, engine=docker_engine, only=["http.bad-input", "sigterm.exit"])

    assert docker_engine.remove_run() == 0


@pytest.mark.true_time
@pytest.mark.timeout(400)
def test_a_good_image_passes_every_rule_at_the_true_durations(docker_engine, good_image):
    report = verify(good_image, engine=docker_engine, level="full", samples=SAMPLES)

    assert broken(report) == [], str(report)
    assert not_checked(report) == NOTHING_TO_JUDGE
    assert 60 <= report.facts["sigterm"]["exited_s"] <= 90
    assert report.duration_s < 220


def test_an_interrupt_removes_the_containers(docker_engine, good_image):
    run_id = f"interrupted-{docker_engine.run_id}"
    code = (
        "from custom_image.engines.docker import DockerEngine\n"
        "from custom_image.verification import verify\n"
        f"verify({good_image!r}, level='full', engine=DockerEngine({run_id!r}))"
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
        "from custom_image.engines.docker import DockerEngine\n"
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
