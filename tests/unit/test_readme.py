"""The README in Chinese says the same as the one in English: commands, tables, links, names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import custom_image

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
)
WHEEL = f"modelarts_custom_image-{custom_image.__version__}-py3-none-any.whl"


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line.split(" #")[0].rstrip() for block in blocks for line in block.splitlines()]


def rows(text: str) -> list[tuple[int, list[str]]]:
    """Return of each row of each table its number of cells, and its code and links, sorted."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [(line.count("|"), sorted(names(line))) for line in lines]


def names(text: str) -> list[str]:
    return re.findall(r"`[^`\n]+`|\]\([^)\s]+\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def outside_tables(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("|")]
    other = {"](README.md)", "](README.zh-CN.md)"}
    return sorted(name for name in names("\n".join(lines)) if name not in other)


@pytest.mark.parametrize("part", [commands, rows, outside_tables], ids=lambda part: part.__name__)
def test_both_say_the_same(part):
    assert part(CHINESE) == part(ENGLISH) != []


def test_both_have_the_same_sections():
    assert len(re.findall(r"^#+ ", CHINESE, re.MULTILINE)) == len(
        re.findall(r"^#+ ", ENGLISH, re.MULTILINE)
    )


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_both_begin_with_the_line_that_installs_the_wheel_of_this_version(text):
    title, first = text.split("\n\n")[:2]

    assert title.startswith("# ")
    assert commands(f"{first}\n")[0] == f"make wheel && pip install build/dist/{WHEEL}"


@pytest.mark.parametrize(
    ("spoilt", "part"),
    [
        (CHINESE.replace("--level full", "--level quick"), commands),
        (CHINESE.replace("| `fleet` |", "| |"), rows),
        (CHINESE.replace("`TORCH_BUILD`", "TORCH_BUILD"), outside_tables),
    ],
    ids=["a command", "a row", "a name"],
)
def test_what_was_changed_in_one_alone_is_found(spoilt, part):
    assert part(spoilt) != part(ENGLISH)
