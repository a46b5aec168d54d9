"""Marks follow folders, and what was not tested is said, never hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MARKS = {
    "unit": "unit",
    "service": "service",
    "notebooks": "notebook",
    "container": "container",
    "platform": "platform",
    "ecs": "ecs",
}
TESTS_DIR = Path(__file__).parent
RERUNS_FORGIVEN = 0.001
"""Of the tests that ran."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS_DIR).parts[0]
        if folder in MARKS:
            item.add_marker(MARKS[folder])
    if not config.option.markexpr:
        skip = pytest.mark.skip(reason="waits the platform's true durations: make test-full")
        for item in items:
            if item.get_closest_marker("true_time"):
                item.add_marker(skip)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Forgive a few reruns: a machine that stalls fails a test or two, a fault fails many."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reruns = reporter.stats.get("rerun", []) if reporter else []
    if len(reruns) > RERUNS_FORGIVEN * session.testscollected and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.write_sep("_", f"FAILED AT FIRST: {report.nodeid}", red=True)
        terminalreporter.write_line(report.longreprtext)
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        names = sorted({report.nodeid.split("[")[0] for report in skipped})
        terminalreporter.write_line("NOT TESTED: " + ", ".join(names), yellow=True)


@pytest.fixture(scope="session")
def docker_engine():
    """A real Docker engine; without one a printed skip, or a failure under REQUIRE_DOCKER=1."""
    from custom_image.engines.docker.engine import DockerEngine
    from custom_image.errors import Unavailable

    try:
        engine = DockerEngine.connect()
    except Unavailable as error:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(f"REQUIRE_DOCKER=1, and {error}", pytrace=False)
        pytest.skip(str(error).splitlines()[0])
    yield engine
    engine.remove_run()
