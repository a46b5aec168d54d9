"""Building by ma-cli: what its stand-in takes and says, and what the builder makes of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.build_context import BuildContext
from custom_image.builders import build, ma_cli
from custom_image.builders.ma_cli import RegisteredImage
from custom_image.engines.process.engine import ProcessEngine
from custom_image.errors import BuildFailed, NotebookFailed, UsageError
from custom_image.image_saving.switch_image import find_built
from custom_image.plots import plot_image_size
from custom_image.settings import find_project

PROGRAM = find_project() / "docker/preset/ma_cli.py"
# https://support.huaweicloud.com/intl/en-us/devtool-modelarts/devtool-modelarts_0310.html to _0317
DOCUMENTED = {
    "build": "--target --swr-path -swr --context --build-arg -arg --obs-path -obs --force",
    "register": "-swr --swr-path --arch --service -rs --resource-category -wi --visibility -td",
    "unregister": "-i --image-id -d --delete-swr-image",
    "get-image": "--type --filter -v --image-id --image-name -wi -pn --page-num -ps --page-size",
    "gi": "--type --filter -v --image-id --image-name -wi -pn --page-num -ps --page-size",
    "get-template": "--filter -pn --page-num -ps --page-size",
    "add-template": "--dst --force",
    "df": "--verbose",
    "prune": "-ks --keep-storage -kd --keep-duration --verbose",
}
IMAGE = RegisteredImage("context/rootfs/home", "org/m:0123456789ab", False, 21.0, "ma-cli <1>")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True)


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """The stand-in on the PATH of a machine that is no instance."""
    shutil.copyfile(PROGRAM, tmp_path / "ma-cli")
    (tmp_path / "ma-cli").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", DOCUMENTED)
def test_it_takes_the_documented_options_and_says_that_it_is_a_stand_in(command):
    shown = run("image", command, "--help").stdout
    words = set(re.findall(r"(?<!\S)-[\w-]+", shown.replace(",", " ").replace("[", " ")))

    assert [o for o in f"{DOCUMENTED[command]} -C -D -P -h".split() if o not in words] == []
    assert "stand-in for ma-cli" in " ".join(shown.split())


def test_its_version_names_the_real_one_and_itself():
    assert "1.2.1, a stand-in for ma-cli" in run("--version").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("build", "Dockerfile"), 2, "-swr/--swr-path"),
        (("register",), 2, "-swr/--swr-path"),
        (("register", "-swr", "o/i:1", "-s", "INFERENCE"), 2, "invalid choice: 'INFERENCE'"),
        (("unregister",), 2, "-i/--image-id"),
        (("build", "Dockerfile", "-swr", "o/i:1"), 1, "this is no notebook instance"),
    ],
)
def test_what_it_refuses_is_named(words, code, said, installed):
    done = run("image", *words)

    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_engine_a_build_goes_to_ma_cli_and_its_refusal_is_shown(installed, monkeypatch):
    context = BuildContext(installed, "dockerfile_build", "0123456789abcdef")
    monkeypatch.setenv(ma_cli.ORGANIZATION_VARIABLE, "org")

    with pytest.raises(BuildFailed, match=r"ma-cli image get-image failed:\n.*no notebook inst"):
        build(context, "mnist:latest", engine=ProcessEngine())


def test_without_an_organization_nothing_is_asked(installed, monkeypatch):
    monkeypatch.delenv(ma_cli.ORGANIZATION_VARIABLE, raising=False)

    with pytest.raises(UsageError, match="Set SWR_ORGANIZATION"):
        ma_cli.build(BuildContext(installed, "dockerfile_build", "0" * 64), "mnist:latest")


def test_a_registered_image_says_that_it_was_not_checked_and_how_it_will_be():
    assert str(IMAGE).startswith("org/m:0123456789ab: built in 21 s, pushed to SWR and registered")
    assert "NOT CHECKED here: the image itself. context/rootfs/home" in str(IMAGE)
    assert "ma-cli &lt;1&gt;" in IMAGE._repr_html_()
    (axes,) = plot_image_size(IMAGE).axes
    assert "image management shows its size" in "".join(text.get_text() for text in axes.texts)


def test_the_image_that_a_run_has_built_is_found_in_its_results(tmp_path):
    results = tmp_path / "02.json"
    results.write_text(f'{{"results": ["{str(IMAGE).splitlines()[0]}"]}}')

    assert find_built(results, "org") == IMAGE.path
    with pytest.raises(NotebookFailed, match="built no image there"):
        find_built(results, "other")
