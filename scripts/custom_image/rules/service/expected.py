"""The user's own samples: does the image answer what its author expects?"""

from __future__ import annotations

from custom_image.probing.http import ask
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import SPECIFICATIONS


@rule(
    id="expected.answers",
    title="The author's own samples get the answers that are expected of them",
    why="A service may keep every rule and be wrong: other weights, another order of classes.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE,
    requires=("api.answers",),
    expected="the answer of each sample",
    source=SPECIFICATIONS,
    remediation="Compare the model in the image with the one that was trained, and how both "
    "see a sample.",
    good="seven.jpg gets 7, as seven.expected.json says",
    bad="light on dark where dark on light was trained",
)
def answers(context: Context) -> Finding:
    """Send every sample once and compare."""
    if not context.samples:
        return not_checked(
            "no samples were given; name them with --samples, or put warm_up.* beside config.json"
        )
    evidence, wrong = [], []
    for sample, request in context.samples:
        context.pause(0)
        answer = ask(context.service.url, request)
        fault = sample.fault(answer)
        evidence.append(f"{sample}: {fault or answer}")
        if fault:
            wrong.append(f"{sample}: {fault}")
    shown = "\n".join(evidence)
    if wrong:
        return failed(f"{len(wrong)} of {len(evidence)} wrong; {wrong[0]}", shown)
    return passed(f"{len(evidence)} samples answered as expected", shown)
