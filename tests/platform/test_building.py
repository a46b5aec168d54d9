"""``ma-cli`` in an instance: its stand-in builds and registers, the instance gets the image."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Rehearsal, wait_for

from custom_image.build_context import BuildContext
from custom_image.builders import build as build_image
from custom_image.builders import ma_cli
from custom_image.cloud import Cloud
from custom_image.engines.process.engine import ProcessEngine
from custom_image.errors import CloudRefused

SLOW_S = 67  # a number that no other process here sleeps for
MA_CLI = Path(__file__).parents[2] / "docker/preset/ma_cli.py"
# No network but loopback, the build argument, and nothing of what .dockerignore names.
DOCKERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
ARG WORD=none
COPY . /home/ma-user/infer/built/
RUN test "$(ls /sys/class/net)" = lo && echo ${WORD} >/home/ma-user/infer/word
"""
CONTEXT = f"""
set -e
mkdir -p ~/work/context/secret
cd ~/work/context
cat >Dockerfile <<'END'{DOCKERFILE}END
printf 'FROM no-such-image-anywhere:1\\n' >Broken
printf 'secret\\n*.log\\n!kept.log\\n' >.dockerignore
touch secret/key lost.log kept.log model.onnx
"""


@pytest.fixture(scope="module")
def instance(rehearsal: Rehearsal, shared_notebook: str) -> SimpleNamespace:
    """An instance with a build context on its disk, and the stand-in of ma-cli."""
    cloud = rehearsal.up()
    container = f"local-modelarts-notebook-{shared_notebook}"
    cloud.execute(shared_notebook, CONTEXT)
    # By standard input: `docker cp` writes beside what is mounted at work.
    write = ["docker", "exec", "-i", container, "sh", "-c", "cat >/home/ma-user/work/ma_cli.py"]
    subprocess.run(write, input=MA_CLI.read_bytes(), check=True)

    def ma_cli(*words: str, folder: str = "/home/ma-user/work/context") -> SimpleNamespace:
        command = ["docker", "exec", "-w", folder, container, "python3", "../ma_cli.py", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return SimpleNamespace(code=done.returncode, out=done.stdout, error=done.stderr)

    def build(*words: str) -> SimpleNamespace:
        return ma_cli("image", "build", *words, "-arg", f"BASE_IMAGE={rehearsal.preset}")

    return SimpleNamespace(id=shared_notebook, cloud=cloud, run=ma_cli, build=build)


@pytest.fixture(scope="module")
def built(instance: SimpleNamespace) -> SimpleNamespace:
    """What the first build said; its image is registered."""
    done = instance.build("Dockerfile", "-swr", "team/built:1.0", "--build-arg", "WORD=hello")
    assert done.code == 0, done.error
    registered = instance.run("image", "register", "--swr-path=team/built:1.0")
    assert registered.code == 0, registered.error
    return SimpleNamespace(said=done.out, registered=registered.out)


def test_an_image_is_built_without_a_network_pushed_registered_and_listed(
    instance: SimpleNamespace, built: SimpleNamespace
) -> None:
    tag = instance.cloud.show_tag("built", "1.0")
    listed = instance.run("image", "gi", "-n", "built")
    (image,) = [i for i in instance.cloud.images() if i.name == "built"]

    assert tag.digest in built.said
    assert "Step 5/5" in built.said, "the builder's log is shown"
    assert listed.out.split() == [image.id, image.swr_path]
    assert image.id in built.registered
    assert (image.origin, image.visibility, image.dev_services) == (
        "CUSTOMIZE",
        "PRIVATE",
        ["NOTEBOOK"],
    )


def test_the_instance_is_switched_to_the_image_and_finds_what_was_built(
    instance: SimpleNamespace, built: SimpleNamespace, rehearsal: Rehearsal
) -> None:
    platform = rehearsal.up().platform
    cloud = Cloud.connect(platform.endpoint, platform.credentials_file)

    cloud.switch_notebook(instance.id, "team/built:1.0")

    image = instance.cloud.notebook(instance.id).image
    found = instance.cloud.execute(instance.id, "cat ~/infer/word; ls -A ~/infer/built ~/work")
    assert image.swr_path.endswith("/team/built:1.0")
    assert found.split() == [
        *("hello", "/home/ma-user/infer/built:"),
        *(".dockerignore", "Broken", "Dockerfile", "kept.log", "model.onnx"),
        *("/home/ma-user/work:", "context", "ma_cli.py"),
    ]
    with pytest.raises(CloudRefused, match="No image team/none:1 is registered"):
        cloud.switch_notebook(instance.id, "team/none:1")
    assert instance.cloud.notebook(instance.id).status == "RUNNING"


def test_the_builder_of_the_notebook_builds_a_context_once_and_names_the_stand_in(
    rehearsal: Rehearsal, instance: SimpleNamespace, tmp_path: Path, monkeypatch
) -> None:
    """As in an instance, but that ma-cli and its keys are found by PATH and HOME of this test."""
    (tmp_path / "ma-cli").write_bytes(MA_CLI.read_bytes())
    (tmp_path / "ma-cli").chmod(0o755)
    (tmp_path / ".huaweicloud").symlink_to(rehearsal.folder / "instances" / instance.id)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(ma_cli.ORGANIZATION_VARIABLE, "team")
    monkeypatch.setenv("BASE_IMAGE", rehearsal.preset)
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    context = BuildContext(folder, "any", "0123456789abcdef", arguments={"WORD": "two words"})

    first, second = (build_image(context, "made:latest", engine=ProcessEngine()) for _ in "12")

    (image,) = [image for image in instance.cloud.images() if image.name == "made"]
    assert image.swr_path.endswith(f"/{first.path}")
    assert first.path == second.path == "team/made:0123456789ab"
    assert (first.was_there, second.was_there) == (False, True)
    assert "a stand-in for ma-cli" in str(first)
    facts = docker("run", "--rm", image.swr_path, "cat", "/home/ma-user/infer/word")
    assert facts == "two words\n"


def docker(*arguments: str) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_tag_is_taken_once_unless_it_is_forced(
    instance: SimpleNamespace, built: SimpleNamespace
) -> None:
    again = instance.build("Dockerfile", "-swr", "team/built:1.0")
    forced = instance.build("Dockerfile", "-swr", "team/built:1.0", "-f", "-arg", "WORD=hello")

    assert (again.code, again.error.count("ModelArts.6737")) == (1, 1)
    assert forced.code == 0, forced.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Broken", "-swr", "team/broken:1"), "LocalModelArts.400: the build failed: step 1 of 1"),
        (("Dockerfile", "-swr", "nobody/built:1"), "there is no organization 'nobody' in SWR"),
        (("Dockerfile", "-swr", "127.0.0.1/team/built:1"), "ModelArts.0104"),
        (("Nothing", "-swr", "team/built:2"), "Nothing: no such Dockerfile"),
        (("Dockerfile", "-swr", "team/b:2", "--target", "./build.tar"), "are not rehearsed"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_cannot_be_built_is_said_by_the_stand_in_and_leaves_no_tag(
    words: tuple[str, ...], said: str, instance: SimpleNamespace
) -> None:
    done = instance.build(*words)

    assert (done.code, done.out.count("pushed")) == (1, 0)
    assert said in done.error
    assert done.error.startswith("ma-cli (stand-in): ")
    assert "broken" not in [image.name for image in instance.cloud.images()]


def test_a_build_larger_than_what_an_instance_can_build_is_refused(
    instance: SimpleNamespace, rehearsal: Rehearsal
) -> None:
    rehearsal.restart("save_size_bytes=1000000")
    try:
        done = instance.build("Dockerfile", "-swr", "team/large:1")
    finally:
        rehearsal.restart()

    assert "is greater than threshold" in done.error
    assert "team/large" not in docker("images")


def test_a_platform_killed_in_mid_build_leaves_no_tag_and_the_build_may_be_repeated(
    instance: SimpleNamespace, rehearsal: Rehearsal
) -> None:
    step = f"sleep {SLOW_S}"
    slow = f"printf 'ARG BASE_IMAGE\\nFROM ${{BASE_IMAGE}}\\nRUN {step}\\n' >~/work/context/Slow"
    instance.cloud.execute(instance.id, slow)

    def running() -> bool:
        return step in docker("ps", "--no-trunc", "--format", "{{.Command}}")

    with ThreadPoolExecutor() as threads:
        building = threads.submit(instance.build, "Slow", "-swr", "team/killed:1")
        wait_for(running, "the step is under way")
        cloud = rehearsal.restart()
        broken = building.result()

    assert (broken.code, "broke off" in broken.error) == (1, True), broken.error
    with pytest.raises(ClientRequestException):
        cloud.show_tag("killed", "1")
    wait_for(lambda: not running(), "the engine gives the build up", timeout_s=SLOW_S - 10)
    assert instance.build("Dockerfile", "-swr", "team/killed:1").code == 0


def test_an_image_is_unregistered_with_and_without_its_tag(
    instance: SimpleNamespace, built: SimpleNamespace
) -> None:
    assert instance.build("Dockerfile", "-swr", "team/gone:1").code == 0
    for options in ((), ("-d",)):
        registered = instance.run("image", "register", "-swr", "team/gone:1", "-rs", "CPU")
        image_id = registered.out.split()[-1]
        done = instance.run("image", "unregister", "-i", image_id, *options)
        assert (done.code, image_id in done.out) == (0, True), done.error
    unknown = instance.run("image", "register", "-swr", "team/gone:1")

    assert "ModelArts.6797" in unknown.error
