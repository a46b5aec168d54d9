"""config.json, read as the platform reads it."""

from __future__ import annotations

from typing import Final

from custom_image.errors import PackageError
from custom_image.model_config import parse_model_config
from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    passed,
    rule,
)
from custom_image.specification import CONFIG_FILE

PACKAGE_IT: Final = (
    "`custom-image package FOLDER` makes these corrections in a copy, each with its reason."
)


@rule(
    id="config.valid",
    title="The platform accepts config.json",
    why="A model with a config.json that breaks its rules is refused when it is created.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.CONFIG_TEXT,
    expected="accepted",
    source=CONFIG_FILE,
    remediation="Change the member that the evidence names.",
    good='"model_type": "Image"',
    bad='"model_type": "image"',
)
def valid(context: Context) -> Finding:
    """Parse the file; the parser's own message says what is wrong and how to fix it."""
    try:
        config = parse_model_config(context.config_text, context.config_where)
    except PackageError as error:
        fault, *remediation = str(error).splitlines()
        if corrections := context.config_corrections:
            evidence = "\n".join([str(error), f"{len(corrections)} corrections:", *corrections])
            return failed(fault, evidence, PACKAGE_IT)
        return failed(fault, str(error), " ".join(remediation))
    apis = ", ".join(f"{api.method.upper()} {api.url}" for api in config.apis) or "no api"
    return passed(f"accepted: {apis}", f"read from {context.config_where}")


@rule(
    id="config.meant",
    title="Everything in config.json has an effect",
    why="The platform ignores what it does not know: a misspelt member is not there at all.",
    severity=Severity.WARNING,
    profiles=ALL_PROFILES,
    needs=Needs.CONFIG,
    expected="no remark",
    source=CONFIG_FILE,
    remediation="Correct or remove the members that the evidence names.",
    good='"protocol": "http"',
    bad='"procotol": "http", as on a sample of the page',
)
def meant(context: Context) -> Finding:
    """Collect what is not refused, but is probably not what was meant."""
    remarks = [str(remark) for remark in context.config.remarks]
    if remarks:
        return failed(f"{len(remarks)} remarks" if remarks[1:] else remarks[0], "\n".join(remarks))
    return passed("no remark")
