"""The forms in which a report leaves the tool, by the name that ``--format`` gives them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from custom_image.report import Report


class ReportFormat(StrEnum):
    """A form of a report."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"
    SARIF = "sarif"
    HTML = "html"
    MARKDOWN = "markdown"


SUFFIXES: Final = {
    ".json": ReportFormat.JSON,
    ".xml": ReportFormat.JUNIT,
    ".sarif": ReportFormat.SARIF,
    ".html": ReportFormat.HTML,
    ".md": ReportFormat.MARKDOWN,
}


def format_of(name: str) -> ReportFormat:
    """Return the form that the name of a file asks for; a table where it asks for none."""
    return SUFFIXES.get(PurePath(name).suffix.lower(), ReportFormat.TABLE)


def to_format(report: Report, form: ReportFormat) -> str:
    """Return the report in a form, one line end behind it."""
    return _writer(form)(report).rstrip("\n") + "\n"


def _writer(form: ReportFormat) -> Callable[[Report], str]:
    if form is ReportFormat.JUNIT:
        from custom_image.report.junit import to_junit

        return to_junit
    if form is ReportFormat.SARIF:
        from custom_image.report.sarif import to_sarif

        return to_sarif
    if form is ReportFormat.HTML:
        from custom_image.report.page import to_page

        return to_page
    if form is ReportFormat.MARKDOWN:
        from custom_image.report.markdown import to_markdown

        return to_markdown
    return Report.to_json if form is ReportFormat.JSON else str
