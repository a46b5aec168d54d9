"""What comes out of a build: the image of the scenario dockerfile_build, looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny_package import write_tiny_package

from custom_image.build_context import BuildContext, write_build_context
from custom_image.builders.base import ensure_base_image
from custom_image.builders.build_log import BuildLog
from custom_image.builders.docker import build
from custom_image.engines import StartOptions
from custom_image.errors import BuildFailed, UsageError
from custom_image.specification import BOOT_COMMAND, GROUP_ID, MODEL_DIR, PORT, USER_HOME, USER_ID
from custom_image.target_python import TargetPython

LARGEST_ADDITION_BYTES = 170 * 10**6


def test_metadata_is_what_the_platform_asks_for(tiny_image):
    facts = tiny_image.facts

    assert facts.command == tuple(BOOT_COMMAND.value.split())
    assert not facts.shell_form
    assert facts.user == f"{USER_ID}:{GROUP_ID}"
    assert facts.exposed_ports == (PORT.value,)
    assert (facts.os, facts.environment["HOME"]) == ("linux", USER_HOME.value)


def test_the_image_says_itself_what_it_answers(docker_engine, tiny_image):
    config = docker_engine.read_file(tiny_image.reference, f"{MODEL_DIR}/config.json")

    assert json.loads(tiny_image.facts.labels["custom-image.apis"]) == json.loads(config)["apis"]
    assert tiny_image.facts.labels["org.opencontainers.image.title"]


def test_it_adds_at_most_170_mb_to_its_base(tiny_image):
    base, *added = tiny_image.layers

    assert base.instruction.startswith("FROM ")
    assert sum(layer.bytes for layer in added) <= LARGEST_ADDITION_BYTES
    assert tiny_image.facts.size_bytes == base.bytes + sum(layer.bytes for layer in added)


def test_layers_stand_from_seldom_to_often_changed(tiny_image):
    instructions = " | ".join(layer.instruction for layer in tiny_image.layers)
    order = ["FROM", "/opt/serving /opt", "model_service", "weights/", "infer/model/ "]

    assert sorted(order, key=instructions.index) == order


def test_the_files_belong_to_the_user_who_runs_them(docker_engine, tiny_image):
    paths = ["/home/run.sh", f"{MODEL_DIR}/config.json", f"{MODEL_DIR}/mnist.onnx"]

    files = docker_engine.find_files(tiny_image.reference, paths)

    assert {(f.uid, f.gid) for f in files.values()} == {(USER_ID.value, GROUP_ID.value)}
    assert files["/home/run.sh"].mode == 0o755
    passwd = docker_engine.read_file(tiny_image.reference, "/etc/passwd").decode()
    assert f"ma-user:x:{USER_ID}:{GROUP_ID}::{USER_HOME}:/bin/sh" in passwd.splitlines()


def test_packages_are_compiled_and_what_installs_them_is_gone(docker_engine, tiny_image):
    script = (
        "cd / && ! python3 -m pip --version && ! find / -xdev -name '*.whl' | grep . && "
        "test -s /opt/serving/onnxruntime/__pycache__/__init__.cpython-311.pyc && "
        f"test -s {USER_HOME}/infer/model_service/__pycache__/__init__.cpython-311.pyc"
    )

    with docker_engine.start(
        tiny_image.reference, StartOptions(command=["sh", "-c", script], user="0")
    ) as container:
        assert container.wait(60) == 0, container.logs()


def test_what_was_left_out_of_the_packages_is_not_missed(docker_engine, tiny_image):
    modules = ["numpy.testing", "numpy.linalg", "numpy.random", "numpy.fft", "numpy.ma"]
    modules += ["onnxruntime", "PIL.ImageOps", "PIL.WebPImagePlugin"]
    modules += ["uvicorn", "uvloop", "httptools", "gunicorn.workers.ggevent", "gevent.monkey"]
    command = ["python3", "-c", "; ".join(f"import {module}" for module in modules)]

    with docker_engine.start(tiny_image.reference, StartOptions(command=command)) as container:
        assert container.wait(60) == 0, container.logs()


def test_a_step_sees_no_network_but_loopback(docker_engine, tmp_path):
    context = _context(tmp_path, 'RUN ls /sys/class/net && test "$(ls /sys/class/net)" = lo')

    image = build(context, "custom-image/tests:no-network", engine=docker_engine)

    docker_engine.remove_image(image.reference)


def test_credentials_of_the_authors_machine_stay_there(docker_engine, tmp_path, monkeypatch):
    secret = "https://user:t0p-secret@mirror.invalid"
    for name in ("PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, secret)
    context = write_build_context(
        write_tiny_package(tmp_path / "model"), folder=tmp_path / "context"
    )

    image = build(context, "custom-image/tests:secrets", engine=docker_engine)

    try:
        assert b"t0p-secret" not in context.tar().read()
        assert "t0p-secret" not in repr(image.facts)
    finally:
        docker_engine.remove_image(image.reference)


def test_a_step_that_fails_is_named_with_the_end_of_its_log(docker_engine, tmp_path):
    context = _context(tmp_path, "RUN echo before\nRUN echo the reason >&2 && exit 7")

    with pytest.raises(BuildFailed) as caught:
        build(context, "custom-image/tests:broken", engine=docker_engine)

    message = str(caught.value)
    assert "'RUN echo the reason >&2 && exit 7': exit code 7" in message.splitlines()[0]
    assert "| the reason" in message
    assert not docker_engine.has_image("custom-image/tests:broken")


def test_a_dockerfile_that_is_none_fails_with_the_builders_own_words(docker_engine, tmp_path):
    context = _context(tmp_path, "FORM nothing")

    with pytest.raises(BuildFailed, match="unknown instruction: FORM"):
        build(context, "custom-image/tests:broken", engine=docker_engine)


def test_a_tag_that_is_none_is_refused_before_anything_is_built(docker_engine, tmp_path):
    with pytest.raises(UsageError, match="only the tag may have capitals"):
        build(_context(tmp_path, ""), "Custom/Tests", engine=docker_engine)


def test_packages_for_another_python_are_refused_before_the_build_and_in_it(
    docker_engine, tmp_path
):
    base = ensure_base_image(engine=docker_engine)
    context = write_build_context(
        write_tiny_package(tmp_path / "model"),
        base_image=base,
        python=TargetPython("3.13"),
        folder=tmp_path / "context",
    )

    with pytest.raises(UsageError, match=r"has Python 3\.11.*; expected Python 3\.13"):
        build(context, "custom-image/tests:broken", engine=docker_engine)
    # As who gives the folder to `docker build` would.
    log = BuildLog()
    arguments = {"BASE_IMAGE": base, **context.arguments}
    for message in docker_engine.build(context.tar(), "custom-image/tests:broken", arguments):
        log.read(message)
    assert any("BASE_IMAGE has Python 3.11, the wheels are for 3.13" in line for line in log.lines)


def test_batch_needs_a_larger_base_and_gets_it(tiny_image, batch_image):
    assert batch_image.facts.size_bytes > tiny_image.facts.size_bytes + 100 * 10**6
    assert batch_image.layers[0].instruction.startswith("FROM custom-image/base:batch-")


def test_a_batch_image_has_what_batch_services_call(docker_engine, batch_image):
    command = ["sh", "-c", "java -version && zip -v && python3 --version"]

    with docker_engine.start(batch_image.reference, StartOptions(command=command)) as container:
        assert container.wait(60) == 0, container.logs()


def test_the_docker_command_builds_the_same_folder_with_buildkit(
    docker_engine, tmp_path, tiny_image
):
    command = _docker_with_buildkit()
    if not command:
        pytest.skip("no docker command with BuildKit here")
    context = write_build_context(
        write_tiny_package(tmp_path / "model"), folder=tmp_path / "context"
    )
    base = tiny_image.layers[0].instruction.split()[1]
    tag = "custom-image/tests:buildkit"
    arguments = ["--network", "none", "--build-arg", f"BASE_IMAGE={base}", "--tag", tag]

    done = subprocess.run(
        [command, "build", *arguments, context.folder],
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    try:
        assert done.returncode == 0, done.stderr
        facts = docker_engine.inspect(tag)
        assert facts.command == tiny_image.facts.command
        paths = [f"{MODEL_DIR}/{name}" for name in ("mnist.onnx", "customize_service.py")]
        assert None not in docker_engine.read_files(tag, paths).values()
        assert abs(facts.size_bytes - tiny_image.facts.size_bytes) < 10**6
    finally:
        docker_engine.remove_image(tag)


def _context(folder: Path, lines: str, base: str = "") -> BuildContext:
    """A context of a Dockerfile alone."""
    folder.mkdir(exist_ok=True)
    dockerfile = f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{lines}\n"
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / ".dockerignore").write_text("")
    return BuildContext(folder, "dockerfile_build", "", base_image=base)


def _docker_with_buildkit() -> str:
    """A newer command without its buildx plugin falls back to the classic builder, and says so."""
    folders = os.environ["PATH"].split(os.pathsep)
    for command in (found for folder in folders if (found := shutil.which("docker", path=folder))):
        version = subprocess.run(
            [command, "version", "--format", "{{.Client.Version}}"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        buildx = subprocess.run([command, "buildx", "version"], capture_output=True, check=False)
        if version.startswith("20.10") or buildx.returncode == 0:
            return command
    return ""
