"""The image of a torch package: as small as torch can be made without breaking it."""

from __future__ import annotations

import pytest
import torch
from small_digits import small_digits

from custom_image.build_context import write_build_context
from custom_image.builders.docker import build
from custom_image.engines import StartOptions
from custom_image.engines.client import predict
from custom_image.engines.readiness import wait_until_ready
from custom_image.mnist import encode_jpeg
from custom_image.model_package import package_model
from custom_image.report import Verdict
from custom_image.specification import HEALTH_URL
from custom_image.training import train_or_load
from custom_image.training.loop import predict as ask_network
from custom_image.verification import verify

# 240 MB of packages to unpack, trim and compile: 40 s, several times that on a busy machine.
pytestmark = pytest.mark.timeout(900)

# Measured: 637 MB, and 984 MB untrimmed. 100 MB of it are bytecode, which halves the start.
LARGEST_ADDITION_BYTES = 650 * 10**6

# What a package may ask torch for: each way to load a model, and what serving it may use.
WAYS = """
import io, tempfile, warnings, torch
from torch import nn
warnings.simplefilter("ignore")
torch.set_num_threads(1)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.dense = nn.Linear(4 * 26 * 26, 10)
    def forward(self, x):
        return self.dense(torch.relu(self.norm(self.conv(x))).flatten(1))

net, x = Net().eval(), torch.rand(2, 1, 28, 28)
with torch.inference_mode():
    expected = net(x)

def same(found):
    torch.testing.assert_close(found.detach(), expected, rtol=1e-3, atol=1e-3)

def again(save, load):
    file = io.BytesIO()
    save(file)
    file.seek(0)
    return load(file)

other = Net().eval()
other.load_state_dict(again(lambda f: torch.save(net.state_dict(), f), torch.load))
same(other(x))
scripted, traced = torch.jit.script(net), torch.jit.trace(net, x)
for module in (scripted, traced):
    loaded = again(lambda f: torch.jit.save(module, f), torch.jit.load)
    same(loaded(x))
    same(torch.jit.optimize_for_inference(loaded)(x))
program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("n")},))
same(again(lambda f: torch.export.save(program, f), torch.export.load).module()(x))
same(torch.compile(net, backend="eager")(x))
torch.ao.quantization.quantize_dynamic(net)(x)
nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()(torch.zeros(1, 3, 8))
assert len(list(torch.utils.data.DataLoader(torch.arange(4), num_workers=1))) == 4
torch.multiprocessing.set_sharing_strategy("file_system")
assert torch.zeros(3).share_memory_().is_shared()
torch.linalg.svd(torch.rand(5, 5)), torch.fft.fft(torch.rand(8)), torch.rand(3).numpy()
from safetensors.torch import load, save
same(nn.Module.load_state_dict(other, load(save(net.state_dict()))) and other(x))
print("all of it works")
"""


@pytest.fixture(scope="module")
def digits():
    return small_digits(train=3000)


@pytest.fixture(scope="module")
def model(digits, tmp_path_factory):
    return train_or_load(digits, epochs=3, folder=tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def torch_image(docker_engine, model, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    package = package_model(model, digits, runtime="torch", folder=folder)
    context = write_build_context(package, folder=folder / "context")
    return build(context, "custom-image/tests:torch", engine=docker_engine)


def test_it_adds_to_its_base_what_torch_takes_when_trimmed(torch_image):
    _, *added = torch_image.layers

    assert sum(layer.bytes for layer in added) <= LARGEST_ADDITION_BYTES


def test_it_answers_with_the_digit_that_the_picture_shows(
    docker_engine, torch_image, model, digits
):
    logits = ask_network(model.load_network(), digits.test_images)
    sevens = [i for i in range(len(logits)) if digits.test_labels[i] == 7]
    clearest = max(sevens, key=lambda i: logits[i, 7] - max([*logits[i, :7], *logits[i, 8:]]))

    with docker_engine.start(torch_image.reference) as service:
        wait_until_ready(service, HEALTH_URL.value, timeout_s=120)
        answer = predict(service.url, encode_jpeg(digits.test_images[clearest]))

    assert (answer.status, answer.json) == (200, {"mnist_result": 7})


def test_what_was_left_out_of_torch_is_not_missed(docker_engine, torch_image):
    # From a file, because torch.jit.script reads the source of what it compiles.
    shell = 'printf %s "$0" >/tmp/ways.py && exec python3 /tmp/ways.py'
    command = ["sh", "-c", shell, WAYS]

    with docker_engine.start(torch_image.reference, StartOptions(command=command)) as container:
        assert container.wait(120) == 0, container.logs()
        assert container.logs().endswith("all of it works\n")


@pytest.mark.true_time
def test_it_passes_every_rule(docker_engine, torch_image):
    report = verify(torch_image.reference, level="quick", engine=docker_engine)

    failed = [check for check in report.checks if check.verdict is Verdict.FAILED]
    assert not failed
    assert report.verdict is Verdict.PASSED


def test_it_holds_the_torch_that_this_project_is_pinned_to(docker_engine, torch_image):
    path = "/opt/serving/torch/version.py"

    version = docker_engine.read_file(torch_image.reference, path).decode()

    assert torch.__version__.split("+")[0] + "+cpu" in version
