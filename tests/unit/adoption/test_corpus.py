"""Every package of the corpus, adopted as its expect.yaml says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from custom_image.adoption.package import AdoptedPackage, package_folder
from custom_image.errors import PackageError

CORPUS = Path(__file__).parents[2] / "corpus"
EXPECTED = {
    p.parent.name: yaml.safe_load(p.read_text())["adopt"] for p in CORPUS.glob("*/expect.yaml")
}
SERVED = sorted(slug for slug, adopt in EXPECTED.items() if adopt["outcome"] != "refuse")
REFUSED = sorted(slug for slug, adopt in EXPECTED.items() if adopt["outcome"] == "refuse")


def test_there_are_thirty():
    assert len(EXPECTED) == 30
    assert len(REFUSED) == 3


@pytest.mark.parametrize("slug", SERVED)
def test_it_is_adopted_as_expected(slug: str, tmp_path: Path):
    expected, source = EXPECTED[slug], CORPUS / slug / "package"
    before = _content(source)

    package = package_folder(source, folder=tmp_path)

    config = json.loads((package.folder / "config.json").read_text(encoding="utf-8"))
    for path, value in expected.get("config", {}).items():
        allowed = value["in"] if isinstance(value, dict) else [value]
        assert _member(config, path) in allowed, path
    assert _plain(line.text for line in package.requirements) == _plain(
        expected.get("requirements", [])
    )
    assert {*_plain(expected.get("imports", []))} <= {*_plain(d.text for d in package.imports)}
    for words in expected.get("warn", []):
        assert _says(package, words), f"no message holds {words}:\n" + "\n".join(package.messages)
    assert package.unknown == ()
    assert _content(source) == before, "the source was changed"


@pytest.mark.parametrize("slug", REFUSED)
def test_it_is_refused_as_expected(slug: str, tmp_path: Path):
    with pytest.raises(PackageError) as refusal:
        package_folder(CORPUS / slug / "package", folder=tmp_path)

    message = str(refusal.value)
    assert all(word.lower() in message.lower() for word in EXPECTED[slug]["refuse"]), message
    assert 2 <= len(message.splitlines()) <= 3, "it says what to do"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slug", SERVED)
def test_adopted_once_more_nothing_changes(slug: str, tmp_path: Path):
    first = package_folder(CORPUS / slug / "package", folder=tmp_path / "first")
    shutil.copytree(first.folder, tmp_path / "brought")

    second = package_folder(tmp_path / "brought", folder=tmp_path / "second")

    assert _content(second.folder) == _content(first.folder)
    assert not [change for change in second.changes if change.where.startswith("config.json")]


def _says(package: AdoptedPackage, words: list[Any]) -> bool:
    return any(
        all(str(word).lower() in message.lower() for word in words) for message in package.messages
    )


def _member(document: Any, path: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(document, list):
            document = document[int(part)] if int(part) < len(document) else None
        else:
            document = document.get(part) if isinstance(document, dict) else None
    return document


def _plain(lines: Any) -> list[str]:
    return [re.sub("[-_]", "-", line.lower()) for line in lines]


def _content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
