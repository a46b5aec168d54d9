"""The user's own samples: does the image answer what its author expects?"""

from __future__ import annotations

from custom_image.probing.http import ask
from custom_image.rules import (
    Finding,
    Needs,
    Severity,
    Subject,
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
    after=("api.answers",),
    required="the answer of each sample",
    source=SPECIFICATIONS,
    mend="Compare the model in the image with the one that was trained, and how both see a sample.",
    example="obeys:  seven.jpg gets 7, as seven.expected.json says\n"
    "breaks: light on dark where dark on light was trained",
)
def answers(subject: Subject) -> Finding:
    """Send every sample once and compare."""
    if not subject.samples:
        return not_checked("no samples were given; name a folder or a YAML file with --samples")
    evidence, wrong = [], []
    for sample, request in subject.samples:
        subject.pause(0)
        answer = ask(subject.service.url, request)
        fault = sample.fault(answer)
        evidence.append(f"{sample}: {fault or answer}")
        if fault:
            wrong.append(f"{sample}: {fault}")
    shown = "\n".join(evidence)
    if wrong:
        return failed(f"{len(wrong)} of {len(evidence)} wrong; {wrong[0]}", shown)
    return passed(f"{len(evidence)} samples answered as expected", shown)
