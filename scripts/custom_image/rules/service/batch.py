"""Rules for batch services."""

from __future__ import annotations

import posixpath
import shlex

from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import (
    BATCH_TOOLS,
    BOOT_COMMAND,
    BOOT_FILE,
    CONFIG_FILE,
    SPECIFICATIONS,
)

BATCH = frozenset({Profile.BATCH})
VERSION_ARGUMENTS = {"java": "-version", "zip": "-v"}


@rule(
    id="batch.boot-file",
    title="A batch service boots from the file that the platform expects",
    why="A batch service is started by this command and no other.",
    severity=Severity.ERROR,
    profiles=BATCH,
    needs=Needs.IMAGE,
    requires=("boot.command",),
    expected=BOOT_COMMAND,
    remediation=f'Write CMD ["sh", "{BOOT_FILE}"] in the Dockerfile.',
    good='CMD ["sh", "/home/run.sh"]',
    bad='CMD ["python3", "/app/serve.py"]',
)
def boot_file(context: Context) -> Finding:
    """Compare the command; older pages write /bin/sh, which means the same."""
    shown = shlex.join(context.image.command)
    expected = BOOT_COMMAND.value.split()
    found = [posixpath.basename(context.image.command[0]), *context.image.command[1:]]
    return passed(shown) if found == expected else failed(shown)


@rule(
    id="batch.dependencies",
    title="The tools that batch services call are there for the start user",
    why="The platform moves files in and out with them; without one of them the job fails.",
    severity=Severity.ERROR,
    profiles=BATCH,
    needs=Needs.SERVICE | Needs.CONTAINER,
    requires=("health.ready",),
    expected=", ".join(BATCH_TOOLS) + " on PATH",
    source=SPECIFICATIONS,
    remediation="Build with --batch, or install Python, a headless JRE and zip in the base image.",
    good="RUN apt-get install -y default-jre-headless zip",
    bad="a slim base without java",
)
def dependencies(context: Context) -> Finding:
    """Run each tool in the container, as the user that it was started as."""
    instance = context.service.instance
    if instance is None:
        return not_checked("nothing here can run a command inside the service")
    missing, evidence = [], []
    for tool in BATCH_TOOLS:
        argument = VERSION_ARGUMENTS.get(tool, "--version")
        code, output = instance.execute([tool, argument])
        line = (output.strip().splitlines() or ["no output"])[0]
        evidence.append(f"{tool} {argument}: exit code {code}: {line[:120]}")
        if code:
            missing.append(tool)
    shown = "\n".join(evidence)
    if missing:
        return failed(f"no {', '.join(missing)}", shown)
    return passed(", ".join(BATCH_TOOLS), shown)


@rule(
    id="batch.apis",
    title="Each api says what it takes and what it answers",
    why="A batch job maps its files to the declared request, and is refused without one.",
    severity=Severity.ERROR,
    profiles=BATCH,
    needs=Needs.CONFIG,
    expected="request and response, each with Content-type and data",
    source=CONFIG_FILE,
    remediation="Declare request and response of the api, with their JSON schemas.",
    good='"request": {"Content-type": "application/json", "data": {"type": "object"}}',
    bad='{"url": "/", "method": "post"}',
)
def apis(context: Context) -> Finding:
    """Look for both bodies of each api, and for their schemas."""
    if not context.config.apis:
        return failed("no api")
    for index, api in enumerate(context.config.apis):
        for name, body in (("request", api.request), ("response", api.response)):
            if body is None or body.data is None:
                missing = name if body is None else f"{name}.data"
                return failed(f"apis[{index}] has no {missing}")
    return passed(", ".join(f"{api.method.upper()} {api.url}" for api in context.config.apis))
