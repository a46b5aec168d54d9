"""A report as JUnit XML, which every CI server shows: one test case a rule.

A failed rule is a failure. A warning passes, with its facts in system-out, because CI servers know
nothing between the two. What is not checked, or waived, is skipped with its reason.

Source: the schema junit-10.xsd of https://github.com/jenkinsci/xunit-plugin; none is official.
"""

from __future__ import annotations

from xml.etree import ElementTree

from custom_image.report import Check, Report, Verdict


def to_junit(report: Report) -> str:
    """Return the XML."""
    skipped = [c for c in report.checks if c.waived or c.verdict is Verdict.NOT_CHECKED]
    totals = {
        "tests": str(len(report.checks)),
        "failures": str(report.count(Verdict.FAILED)),
        "errors": "0",
        "skipped": str(len(skipped)),
        "time": f"{report.duration_s:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "custom-image verify", **totals})
    suite = ElementTree.SubElement(root, "testsuite", {"name": _name(report), **totals})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in (
        ("target", report.target),
        ("profile", report.profile),
        ("level", report.level),
        ("edition", report.edition),
        ("verdict", report.verdict),
        *(("remark", remark) for remark in report.remarks),
    ):
        ElementTree.SubElement(properties, "property", {"name": name, "value": value})
    for check in report.checks:
        _add_case(suite, check)
    ElementTree.indent(root)
    text: str = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def details(check: Check) -> str:
    """Return what stands behind a verdict, a fact a line: the same in each format for machines."""
    facts = (
        ("waived", check.waived),
        ("required", check.required),
        ("measured", check.measured),
        ("evidence", check.evidence),
        ("remediation", check.remediation),
        ("source", check.source),
    )
    return "\n".join(f"{name}: {text}" for name, text in facts if text)


def _name(report: Report) -> str:
    return f"{report.target} ({report.profile}, {report.level})"


def _add_case(suite: ElementTree.Element, check: Check) -> None:
    group, _, _ = check.id.partition(".")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": group, "name": check.id, "time": f"{check.duration_s:.3f}"},
    )
    message = f"required {check.required}, found {check.measured}"
    if check.waived:
        message = f"WAIVED: {check.waived} ({check.verdict}: {message})"
        ElementTree.SubElement(case, "skipped", {"message": message})
    elif check.verdict is Verdict.NOT_CHECKED:
        ElementTree.SubElement(case, "skipped", {"message": f"{check.verdict}: {check.measured}"})
    elif check.verdict is Verdict.FAILED:
        attributes = {"type": check.severity, "message": f"{check.title}: {message}"}
        ElementTree.SubElement(case, "failure", attributes).text = details(check)
        return
    out = ElementTree.SubElement(case, "system-out")
    out.text = f"{check.badge}: {check.title}\n{details(check)}"
