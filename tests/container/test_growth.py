"""A container whose disk fills with each request; other growth is tried in tests/service."""

from __future__ import annotations

import pytest
from own_dockerfile import write_own_context

from custom_image.builders import find_base
from custom_image.builders.docker import build
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.report import Verdict
from custom_image.verification import verify

pytestmark = [pytest.mark.true_time, pytest.mark.timeout(400)]
GROWTH = ["growth.memory", "growth.descriptors", "growth.threads", "growth.disk"]
AFTER = ["health.ready", "api.answers", "http.latency"]
BODY = "        body = self.rfile.read"
LEAK = "        open(f'/tmp/{time.monotonic_ns()}', 'wb').write(bytes(20_000))\n"


@pytest.mark.parametrize("leaks", [True, False])
def test_what_each_request_leaves_in_tmp_is_found(leaks: bool, docker_engine, tmp_path):
    source = write_own_context(tmp_path / "mine")
    code = (source / "serve.py").read_text()
    assert code.count(BODY) == 1
    (source / "serve.py").write_text(code.replace(BODY, LEAK * leaks + BODY))
    base, _ = find_base(engine=docker_engine)
    context = write_dockerfile_context(source, base_image=base, folder=tmp_path / "context")
    image = build(context, f"custom-image/tests:growth-{leaks}".lower(), engine=docker_engine)

    report = verify(image.reference, engine=docker_engine, level="full", only=[*AFTER, *GROWTH])

    found = [name for name in GROWTH if report.check(name).verdict is Verdict.WARNING]
    assert found == ["growth.disk"] * leaks, str(report)
