"""A model that needs no training, the example's package around it, and a started service."""

from __future__ import annotations

import numpy as np
import pytest
from linear_model import write_linear_model
from runtime import EXAMPLE_SERVICE, MNIST_CONFIG, PROFILES, start_runtime, write_package
from sleeper import SLEEPER, SLEEPER_CONFIG

from custom_image.mnist import load_mnist


@pytest.fixture(scope="session")
def digits():
    return load_mnist(sample=True)


@pytest.fixture(scope="session")
def linear_weights(digits):
    """(785, 10): the ridge regression of the sample's labels on its pixels, in closed form."""
    pixels = digits.train_images.reshape(len(digits.train_images), -1) / 255.0
    inputs = np.c_[pixels, np.ones(len(pixels))]
    targets = np.eye(10)[digits.train_labels]
    return np.linalg.solve(inputs.T @ inputs + 50 * np.eye(785), inputs.T @ targets)


@pytest.fixture(scope="session")
def mnist_package(tmp_path_factory, linear_weights):
    """The example's model package, its network replaced by the linear one."""
    folder = tmp_path_factory.mktemp("package") / "model"
    write_package(folder, EXAMPLE_SERVICE.read_text(), MNIST_CONFIG)
    write_linear_model(folder / "mnist.onnx", linear_weights)
    return folder


@pytest.fixture(scope="session")
def some_digits(digits, linear_weights):
    """One test picture of each digit that even the linear model tells, by a margin."""
    pixels = digits.test_images.reshape(len(digits.test_images), -1) / 255.0
    scores = np.c_[pixels, np.ones(len(pixels))] @ linear_weights
    ordered = np.sort(scores, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    right = scores.argmax(axis=1) == digits.test_labels
    return {
        digit: digits.test_images[np.argmax(margin * (right & (digits.test_labels == digit)))]
        for digit in range(10)
    }


@pytest.fixture(scope="session", params=PROFILES)
def profile(request):
    return request.param


@pytest.fixture(scope="session")
def mnist(tmp_path_factory, mnist_package, profile):
    """The example, served by each profile in turn; tests leave it as they found it."""
    folder = tmp_path_factory.mktemp("image") / "home"
    with start_runtime(
        folder, mnist_package, MODEL_SERVER=profile, HEADER_SECONDS="1", BODY_SECONDS="1.5"
    ) as runtime:
        yield runtime.wait_until_ready()


@pytest.fixture
def start(tmp_path):
    """Start services that end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        number = iter(range(100))

        def start(package, **settings):
            folder = tmp_path / f"home{next(number)}"
            return stack.enter_context(start_runtime(folder, package, **settings))

        yield start


@pytest.fixture
def sleeper(tmp_path):
    """A package that answers after as many seconds as it is asked to."""
    return write_package(tmp_path / "package", SLEEPER, SLEEPER_CONFIG)
