"""The network of the model package, read from the file that may ship with it."""

from __future__ import annotations

import hashlib
import importlib.util
from typing import Final

from torch import nn

from custom_image.settings import project_files

NETWORK_FILE: Final = project_files() / "model_package" / "model" / "network.py"


def build_network() -> nn.Module:
    """Return a ``DigitNetwork`` with random weights: (n, 1, 28, 28) from 0 to 1 to (n, 10)."""
    # By path: model_package/model is what ships, a folder and not a package of this machine.
    spec = importlib.util.spec_from_file_location("digit_network", NETWORK_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.DigitNetwork()
    return network


def network_sha256() -> str:
    """Return the hash of the network's source: weights belong to one network."""
    return hashlib.sha256(NETWORK_FILE.read_bytes()).hexdigest()
