"""docker/preset, the stand-in for a preset notebook image: what is in it, and with torch."""

from __future__ import annotations

import io
import tarfile

import pytest
import torch
from small_digits import small_digits

from custom_image.builders.preset import ensure_preset_image
from custom_image.engines import StartOptions
from custom_image.engines.client import predict
from custom_image.engines.readiness import wait_until_ready
from custom_image.mnist import encode_jpeg
from custom_image.model_package import package_model
from custom_image.specification import HEALTH_URL
from custom_image.training import train_or_load

# From nothing: the wheels of JupyterLab, and with torch 740 MB to unpack.
pytestmark = pytest.mark.timeout(900)
LARGEST_BYTES = 500 * 10**6
LOOK = """
set -e
id -u; id -g; whoami; pwd
for program in python3 ma-cli jupyter papermill; do command -v $program; done
ma-cli --version
ls -d /home/ma-user/work /cache /home/ma-user/infer/run.sh /home/ma-user/infer/model_service
touch /home/ma-user/infer/model/mine /cache/mine
touch /home/ma-user/python/lib/python3.11/site-packages/mine
! command -v sudo
cd /home/ma-user/infer && python3 -c 'import model_service, onnxruntime, jupyterlab, papermill'
"""
SEEN = """
1000
100
ma-user
/home/ma-user/work
/home/ma-user/python/bin/python3
/home/ma-user/python/bin/ma-cli
/home/ma-user/python/bin/jupyter
/home/ma-user/python/bin/papermill
1.2.1, a stand-in for ma-cli that works with the local ModelArts only
/cache
/home/ma-user/infer/model_service
/home/ma-user/infer/run.sh
/home/ma-user/work
"""


def test_it_has_what_a_preset_image_has_and_its_user_may_write_where_a_save_keeps(docker_engine):
    preset = ensure_preset_image(docker_engine)
    command = ["sh", "-c", LOOK]

    with docker_engine.start(preset, StartOptions(command=command)) as container:
        assert container.wait(60) == 0, container.logs()
        assert container.logs().strip() == SEEN.strip()
    assert docker_engine.inspect(preset).size_bytes <= LARGEST_BYTES


@pytest.mark.true_time
def test_with_torch_it_serves_a_torch_package_by_its_own_python(docker_engine, tmp_path):
    preset = ensure_preset_image(docker_engine, torch=True)
    digits = small_digits()
    model = train_or_load(digits, epochs=3, folder=tmp_path / "trained")
    package = package_model(model, digits, runtime="torch", folder=tmp_path / "package")
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(package.folder, "model")
        dockerfile = (
            f"FROM {preset}\nCOPY model/ /home/ma-user/infer/model/1/\n"
            'CMD ["sh", "/home/ma-user/infer/run.sh"]\n'
        ).encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        archive.addfile(member, io.BytesIO(dockerfile))
    context.seek(0)
    reference = "custom-image/tests:preset-torch"
    messages = list(docker_engine.build(context, reference, {}))
    assert not [message for message in messages if "error" in message], messages[-3:]

    with docker_engine.start(reference) as service:
        wait_until_ready(service, HEALTH_URL.value, timeout_s=120)
        answer = predict(service.url, encode_jpeg(digits.example(7)))
        _, version = service.execute(["python3", "-c", "import torch; print(torch.__version__)"])

    assert (answer.status, list(answer.json)) == (200, ["mnist_result"])
    assert version.strip() == torch.__version__.split("+")[0] + "+cpu"
