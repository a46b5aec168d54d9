"""Rules on an image as a custom engine: the model comes from OBS, beside it."""

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
    CUSTOM_ENGINE,
    ENGINE_BOOT_COMMAND,
    GB,
    HEALTH_METHODS,
    HEALTH_URL,
)

ENGINE = frozenset({Profile.ENGINE})


@rule(
    id="engine.size",
    title="The engine and its model package fit into an instance of the public pool",
    why="Both together are unpacked on one disk; the deployment fails where they do not fit.",
    severity=Severity.ERROR,
    profiles=ENGINE,
    needs=Needs.IMAGE,
    limit_field="engine_size",
    remediation="Make the image smaller, or deploy it in a dedicated pool.",
    good="an image of 12 GB with a model package of 15 GB",
    bad="an image of 12 GB with a model package of 20 GB",
)
def size(context: Context) -> Finding:
    """Compare the uncompressed image; the package is in OBS, and only its owner knows its size."""
    size_gb = context.image.size_bytes / GB
    left_gb = context.edition.engine_size.value - size_gb
    if left_gb <= 0:
        return failed(f"{size_gb:.1f} GB without the model package")
    return passed(f"{size_gb:.2f} GB, which leaves {left_gb:.2f} GB for the model package")


@rule(
    id="engine.boot-command",
    title="The engine starts with the command that the platform's form shows",
    why="The form's command replaces the image's; where they differ, tests prove the wrong one.",
    severity=Severity.WARNING,
    profiles=ENGINE,
    needs=Needs.IMAGE,
    requires=("boot.command",),
    expected=ENGINE_BOOT_COMMAND,
    remediation=f"Write CMD {ENGINE_BOOT_COMMAND}, or give the form the same command as the image.",
    good='CMD ["sh", "/home/mind/run.sh"]',
    bad='CMD ["python3", "/app/serve.py"]',
)
def boot_command(context: Context) -> Finding:
    """Compare the command, in either form."""
    words = list(context.image.command)
    if context.image.shell_form:
        words = words[-1].removeprefix("exec ").split()
    found = [posixpath.basename(words[0]), *words[1:]] if words else []
    is_expected = found == ENGINE_BOOT_COMMAND.value.split()
    return (passed if is_expected else failed)(shlex.join(context.image.command))


@rule(
    id="engine.health-url",
    title="The health check of an engine is where the platform asks for it",
    why="For engines the path is fixed; a check at another path fails, and with it the deployment.",
    severity=Severity.ERROR,
    profiles=ENGINE,
    needs=Needs.CONFIG,
    expected=HEALTH_URL,
    source=CUSTOM_ENGINE,
    remediation=f'Serve the check at {HEALTH_URL} and declare "url": "{HEALTH_URL}".',
    good='"health": {"check_method": "HTTP", "url": "/health"}',
    bad='"health": {"check_method": "HTTP", "url": "/v2/health/ready"}',
)
def health_url(context: Context) -> Finding:
    """Compare the declared path."""
    health = context.config.health
    if health is None or health.check_method != HEALTH_METHODS[0]:
        return not_checked("config.json declares no health check over HTTP")
    return (passed if health.url == HEALTH_URL.value else failed)(f"{health.url}")
