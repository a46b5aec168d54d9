"""The table of rules in README.md: ``python -m custom_image.rules.page`` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from custom_image.rules import Profile, catalogue
from custom_image.specification import INTERNATIONAL

PAGE: Final = Path(__file__).with_name("README.md")
BEGIN: Final = "<!-- written by python -m custom_image.rules.page -->"
END: Final = "<!-- end -->"


def table() -> str:
    """Return the catalogue as a table in Markdown."""
    lines = [
        "| Rule | What is true of a good target | Required | Severity | Profiles | Level |",
        "|---|---|---|---|---|---|",
    ]
    for rule in catalogue():
        severity = ", ".join(
            [rule.severity, *(f"{s} in {p}" for p, s in rule.severities.items())],
        )
        in_all = rule.profiles == frozenset(Profile)
        profiles = "all" if in_all else ", ".join(p for p in Profile if p in rule.profiles)
        cells = (
            f"`{rule.id}`",
            rule.title,
            rule.required_by(INTERNATIONAL),
            severity,
            profiles,
            rule.level,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def current_page() -> str:
    """Return the text of README.md with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(current_page(), encoding="utf-8")
