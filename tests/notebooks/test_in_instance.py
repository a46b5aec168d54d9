"""The notebook image_saving inside a notebook instance of the local ModelArts, and its image after.

One run serves all tests: preset image, platform, instance, save, by the official SDK.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from custom_image import local_platform
from custom_image.engines import StartOptions
from custom_image.engines.client import predict
from custom_image.engines.readiness import wait_until_ready
from custom_image.image_saving import SavedTarget
from custom_image.mnist import encode_jpeg, load_mnist
from custom_image.notebooks import in_instance
from custom_image.notebooks.parameters import choose_values, find_notebook, pick_values, read_values
from custom_image.verification import verify

# From nothing: wheels, the preset image, MNIST, a training; and a gigabyte onto a new disk.
pytestmark = pytest.mark.timeout(900)
NOTEBOOK = find_notebook("image_saving")
WHEEL = "added_by_hand-1.0-py3-none-any.whl"
METADATA = "added_by_hand-1.0.dist-info"
# What is asked of JupyterLab in the instance: with the platform's token, without, with another.
ASK_JUPYTER = """
import time, urllib.error, urllib.request
token = open("/home/ma-user/.huaweicloud/token").read().strip()
deadline = time.monotonic() + 60
answers = []
while len(answers) < 3:
    url = f"http://127.0.0.1:8888/api/contents?token={(token, '', 'wrong')[len(answers)]}"
    try:
        answers.append(urllib.request.urlopen(url).status)
    except urllib.error.HTTPError as error:
        answers.append(error.code)
    except OSError:  # it is still starting
        assert time.monotonic() < deadline
        time.sleep(0.1)
print(*answers)
"""


def write_wheel(folder: Path) -> Path:
    """Write a package of one module as pip wants it."""
    files = {
        "added_by_hand.py": "ANSWER = 42\n",
        f"{METADATA}/METADATA": "Metadata-Version: 2.1\nName: added-by-hand\nVersion: 1.0\n",
        f"{METADATA}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{METADATA}/RECORD"] = "".join(f"{name},,\n" for name in files)
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return folder / WHEEL


def work_in_a_terminal(place, folder: Path) -> tuple[str, str]:
    """Do what somebody does in a terminal of the instance; return what pip and JupyterLab said."""
    place.copy_in([(write_wheel(folder), WHEEL)], "/home/ma-user/work", (1000, 100))
    install = ["python3", "-m", "pip", "install", "--no-index", "--no-cache-dir", WHEEL]
    code, output, error = place.execute(install, folder="/home/ma-user/work")
    assert code == 0, error
    _, jupyter, error = place.execute(["python3", "-c", ASK_JUPYTER], folder="/tmp")
    return output, jupyter or error


@pytest.fixture(scope="module")
def saved(docker_engine, tmp_path_factory):
    """What is left of a run: its cells, the results beside it, and the image it saved."""
    folder = tmp_path_factory.mktemp("platform")
    values = choose_values(NOTEBOOK, pick_values(NOTEBOOK, read_values("ci")))
    carry, said = in_instance.carry, []

    def carry_and_work(place, further):
        carry(place, further)
        said.extend(work_in_a_terminal(place, tmp_path_factory.mktemp("wheel")))

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(in_instance, "carry", carry_and_work)
            executed = in_instance.run_in_instance(
                NOTEBOOK, values, tmp_path_factory.mktemp("notebooks"), folder=folder
            )
        cells = {cell.id: cell for cell in nbformat.read(executed, as_version=4).cells}
        results = json.loads(executed.with_suffix(".json").read_text())
        reference = re.search(r"127\.0\.0\.1:\d+/local/mnist-saved:1\.0\.0", shown(cells["save"]))
        identity = json.loads((folder / "identity.json").read_text())
        yield SimpleNamespace(
            cells=cells,
            results=results,
            reference=reference[0],
            pip=said[0],
            jupyter=said[1],
            secrets=[identity["secret_key"], identity["access_key"]],
            text=executed.read_text() + executed.with_suffix(".json").read_text(),
        )
    finally:
        local_platform.stop(folder, purge=True)


def shown(cell) -> str:
    return "\n".join(str(o.get("data", {}).get("text/html", "")) for o in cell.outputs)


def test_the_notebook_finds_its_instance_and_the_presets_own_python(saved):
    facts = shown(saved.cells["instance"])

    assert "notebook instance" in facts
    assert re.search(r"3\.11\.\d+, /home/ma-user/python/bin/python3", facts)
    assert "/home/ma-user/work, /cache" in facts


def test_it_asks_audits_and_saves_without_a_failure(saved):
    assert "{&quot;mnist_result&quot;: 7}" in shown(saved.cells["ask-instance"])
    assert "model.safetensors" in shown(saved.cells["audit"]), "weights on the disk are named"
    assert "FAILED" not in shown(saved.cells["verdict-instance"])
    assert re.search(r"ACTIVE.*\d of 125", shown(saved.cells["save"]))


def test_its_jupyterlab_lets_in_who_has_the_token_of_the_platform_and_nobody_else(saved):
    assert saved.jupyter.split() == ["200", "403", "403"]


def test_a_package_that_was_added_is_named_by_the_audit_and_those_of_the_preset_are_not(saved):
    named = re.findall(r"([\w.-]+ [\d.]+) was added here", shown(saved.cells["audit"]))

    assert "Successfully installed added-by-hand-1.0" in saved.pip
    assert named == ["added-by-hand 1.0"]


def test_no_key_is_in_the_notebook_or_in_any_layer_environment_or_history(saved, docker_engine):
    facts = docker_engine.inspect(saved.reference)
    described = f"{facts.environment} {facts.history} {facts.labels} {saved.text}"

    assert [secret for secret in saved.secrets if secret in described] == []
    marker, last, found = b"class MnistService", b"", set()
    for chunk in docker_engine.save(facts.id):  # layers, unpacked
        data = last[-100:] + chunk
        found |= {s for s in [*map(str.encode, saved.secrets), marker] if s in data}
        last = chunk
    assert found == {marker}, "the marker tells that files are searched"


def test_the_saved_image_answers_and_has_lost_what_the_platform_loses(saved, docker_engine):
    target = SavedTarget(saved.reference, docker_engine)
    seven = encode_jpeg(load_mnist(sample=True).example(7))

    with target.start(StartOptions()) as service:
        wait_until_ready(service, "/health", timeout_s=60)
        answer = predict(service.url, seven)
        _, left = service.execute(["sh", "-c", "ls -A /home/ma-user/work /cache ~/.huaweicloud"])
        _, packages = service.execute(["python3", "-m", "pip", "list"])
        _, added = service.execute(["python3", "-c", "print(__import__('added_by_hand').ANSWER)"])

    assert answer.json == {"mnist_result": 7}
    assert left.split() == ["/cache:", "/home/ma-user/.huaweicloud:", "/home/ma-user/work:"]
    assert "onnxruntime" in packages
    assert added.strip() == "42", "a save keeps what pip has installed"


def test_the_saved_image_is_judged_like_any_other(saved, docker_engine):
    target = SavedTarget(saved.reference, docker_engine)
    report = verify(target, level="quick", engine=docker_engine)

    failed = {check.id: check.measured for check in report.checks if check.verdict == "FAILED"}
    assert failed == {}
    assert {c.verdict for c in report.checks if c.id == "image.size"} == {"PASSED"}


def test_the_executed_notebook_holds_no_path_of_this_machine(saved):
    assert str(Path.cwd()) not in saved.text
