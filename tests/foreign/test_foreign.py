"""Real faults of servers in use are found by name; `make test-full` alone runs these."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from custom_image.report import Verdict


def _load():
    # Loaded by its path: tests are no package.
    path = Path(__file__).with_name("servers.py")
    spec = importlib.util.spec_from_file_location("foreign_servers", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


servers = _load()
# vLLM starts several times, llama.cpp is built: 8 to 10 minutes each on a busy machine.
pytestmark = [pytest.mark.true_time, pytest.mark.timeout(2700)]


@pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.folder)
def test_the_faults_that_a_server_is_known_for_are_found(server, docker_engine):
    try:
        report = servers.judge(server, docker_engine)
    except servers.NotInstallable as error:
        servers.record(server, str(error))
        pytest.skip(f"{server.title} cannot be installed here: {error}")
    servers.record(server, report)

    for rule_id, words in server.faults:
        check = report.check(rule_id)
        assert check.verdict in (Verdict.FAILED, Verdict.WARNING), str(report)
        assert words in f"{check.measured} {check.evidence}", str(report)


def test_the_platforms_own_sample_takes_longer_than_it_may(docker_engine):
    """60 s of its own and 30 s of gunicorn's, where a client keeps a connection open."""
    server = servers.BY_FOLDER["gunicorn_gevent"]
    try:
        report = servers.judge(server, docker_engine, level="full")
    except servers.NotInstallable as error:
        pytest.skip(f"{server.title} cannot be installed here: {error}")
    servers.record(server, report)

    assert report.check("sigterm.exit").verdict is Verdict.FAILED
    assert 90 < report.facts["sigterm"]["exited_s"] < 95
    assert report.check("sigterm.serves").verdict is not Verdict.FAILED


def test_every_server_stands_in_the_table():
    page = servers.PAGE.read_text()

    assert [server.title for server in servers.SERVERS if server.title not in page] == []
