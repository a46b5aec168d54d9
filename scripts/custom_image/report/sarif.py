"""A report as SARIF 2.1.0, which code hosts show beside the code: one result a rule.

What is waived is a result that is suppressed, with its reason. What passed or was not checked is a
result of kind ``pass`` or ``notApplicable``; hosts show neither as an alert.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from urllib.parse import quote

from custom_image import __version__
from custom_image.report import Check, Report, Severity, Verdict
from custom_image.report.junit import details

SCHEMA: Final = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def to_sarif(report: Report) -> str:
    """Return the JSON text."""
    run = {
        "tool": {
            "driver": {
                "name": "custom-image verify",
                "semanticVersion": __version__,
                "rules": [_rule(check) for check in report.checks],
            }
        },
        "invocations": [{"executionSuccessful": True}],
        "results": [_result(check, index, report) for index, check in enumerate(report.checks)],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "target": report.target,
            "profile": report.profile,
            "level": report.level,
            "edition": report.edition,
            "verdict": report.verdict,
            "remarks": list(report.remarks),
        },
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _rule(check: Check) -> dict[str, Any]:
    url = re.search(r"<(https?://[^<>\s]+)>", check.source)
    return {
        "id": check.id,
        "shortDescription": _message(check.title),
        "fullDescription": _message(f"Required: {check.required}. {check.source}"),
        "help": _message(check.remediation or check.source),
        "defaultConfiguration": {"level": LEVELS[check.severity]},
        **({"helpUri": url[1]} if url else {}),
    }


def _result(check: Check, index: int, report: Report) -> dict[str, Any]:
    kinds = {Verdict.PASSED: "pass", Verdict.NOT_CHECKED: "notApplicable"}
    kind = kinds.get(check.verdict, "fail")
    result: dict[str, Any] = {
        "ruleId": check.id,
        "ruleIndex": index,
        "kind": kind,
        "level": LEVELS[check.severity] if kind == "fail" else "none",
        "message": _message(f"{check.badge}: {check.title}\n{details(check)}"),
        # Hosts place an alert at a file: an image is none, so it is named as if it were one.
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(report.target, safe="/@") or "target"},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": report.target, "kind": "resource"}],
            }
        ],
        # Stable from run to run, so that a host knows an alert again whatever was measured.
        "partialFingerprints": {"ruleAndProfile/v1": f"{check.id}/{report.profile}"},
        "properties": {"verdict": check.verdict, "durationSeconds": check.duration_s},
    }
    if check.waived:
        suppression = {"kind": "external", "status": "accepted", "justification": check.waived}
        result["suppressions"] = [suppression]
    return result


def _message(text: str) -> dict[str, str]:
    """Return a message that is shown as it is: brackets would be links, braces placeholders."""
    escaped = re.sub(r"([\\\[\]])", r"\\\1", text).replace("{", "{{").replace("}", "}}")
    return {"text": escaped}
