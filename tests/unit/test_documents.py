"""What the documents promise exists: files, make targets, commands and options."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from custom_image import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    ROOT / line
    for line in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
)
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


def code(document: Path) -> list[str]:
    """Return the lines of fenced console blocks and the inline code of a document."""
    text = document.read_text()
    fenced = re.findall(r"```(?:console|shell|sh)\n(.*?)```", text, re.DOTALL)
    jobs = "".join(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    fenced += re.findall(r"^ +- (?:run: )?(\S.*)$", jobs, re.MULTILINE)  # steps of a CI job
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for block in fenced for line in block.splitlines()] + inline


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_relative_link_of_a_document_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    missing = [
        link
        for link in links
        if not link.startswith(("http://", "https://", "mailto:"))
        and not (document.parent / link).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_make_target_of_a_document_exists(document: Path) -> None:
    named_targets = {
        word
        for line in code(document)
        for word in re.findall(r"(?:^|\s|&& )make ([a-z][a-z-]*)", line.split("#")[0])
    }
    assert named_targets <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_custom_image_command_of_a_document_exists(document: Path) -> None:
    for line in code(document):
        # What follows a pipe, or a lone `--`, is another command's.
        own = re.split(r"  #| \| | -- ", line)[0].strip()
        match = re.match(r"(?:\.venv/bin/)?custom-image (.+)", own)
        if not match:
            continue
        command = get_command(cli.app)
        for word in shlex.split(match.group(1)):
            options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
            if word.startswith("-"):
                assert word.split("=")[0] in options | {"--help"}, f"{line}: no option {word}"
            elif hasattr(command, "commands") and word.islower():
                assert word in command.commands, f"{line}: no command {word}"
                command = command.commands[word]
