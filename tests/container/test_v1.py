"""What v1 says of images, beside what the verifier said at a51236f, before v2 was the default."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from broken_images import SHORT_WAITS, config_of, derive
from judging import BROKEN, Diary
from sabotage import AS_ROOT, Sabotage, api

from custom_image.verification import verify

RULES = json.loads((Path(__file__).parents[1] / "unit/rules_v1_at_a51236f.json").read_text())
# Judged by that commit on 2026-11-27, profile `classic`: of all its rules one was broken.
BEFORE = [
    (Sabotage("user.root", (AS_ROOT,)), "WARNING"),
    (Sabotage("boot.exec-form", ("CMD exec sh /home/run.sh",)), "WARNING"),
    (Sabotage("network.port", ("ENV PORT=9000",), settings={"ready_timeout_s": 10}), "FAILED"),
    (Sabotage("health.declared", config=lambda c: c.pop("health")), "WARNING"),
    (Sabotage("api.answers", config=lambda c: api(c).update(url="/predict")), "FAILED"),
]


@pytest.mark.true_time
@pytest.mark.parametrize(("row", "verdict"), BEFORE, ids=[row.rule for row, _ in BEFORE])
def test_v1_gives_the_verdict_that_it_gave(row, verdict, docker_engine, tiny_image, tmp_path):
    good, config = tiny_image.reference, tmp_path / "config.json"
    config.write_text(row.change(config_of(docker_engine, good)))
    image = derive(docker_engine, good, row.lines, f"custom-image/tests:v1-{docker_engine.run_id}")
    only = [rule for rule in row.only if rule in RULES]
    how = {"profile": "v1", "waits": SHORT_WAITS, "progress": Diary(), "config": config}

    report = verify(image, engine=docker_engine, only=only, **how | row.settings)

    docker_engine.remove_image(image)
    broken = {check.id: str(check.verdict) for check in report.checks if check.verdict in BROKEN}
    assert broken == {row.rule: verdict}, str(report)
