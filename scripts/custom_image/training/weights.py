"""Weights as safetensors, with what is known about them; never as a pickle, which can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from custom_image.errors import ModelError
from custom_image.files import write_whole

# A zip archive is what torch.save writes; the others begin a pickle of protocol 2 to 5.
_PICKLE_BEGINNINGS: Final = (
    b"PK\x03\x04",
    *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)),
)
_PICKLE_SUFFIXES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin")
_CONVERT: Final = (
    "A pickle can run any code when it is read, so it never is. Where it came from, write it with\n"
    "safetensors.torch.save_file(network.state_dict(), 'model.safetensors')."
)


def write_weights(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights of ``network``; ``path`` is there only once it is whole."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_whole(path, _in_order(save(tensors, dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in a new order each time.

    The format: the length of a JSON header in 8 bytes, the header, the data.
    Source: https://github.com/huggingface/safetensors#format
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text = text.ljust(-(-len(text) // 8) * 8)  # the data begins at a multiple of 8, as it did
    return len(text).to_bytes(8, "little") + text + content[end:]


def weights_sha256(path: Path) -> str:
    """Return the hash of the file.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return what the file says about itself; empty for weights that say nothing.

    Raises:
        ModelError: it is a pickle, or no whole safetensors file.
    """
    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def load_weights(path: Path, network: nn.Module) -> None:
    """Load the weights into ``network``, on the CPU.

    Raises:
        ModelError: it is a pickle, damaged, or has other tensors than the network.
    """
    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error
    _compare(path, network.state_dict(), found)
    network.load_state_dict(found)


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder that offers weights as a pickle, rather than ignore them.

    Raises:
        ModelError: there is such a file.
    """
    for path in sorted(folder.glob("*")):
        if path.suffix in _PICKLE_SUFFIXES:
            raise ModelError(
                f"{path}: expected weights as safetensors, found a pickle.\n{_CONVERT}"
            )


def _refuse_pickle(path: Path) -> None:
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise _unreadable(path, error) from error
    if beginning.startswith(_PICKLE_BEGINNINGS):
        raise ModelError(f"{path}: expected weights as safetensors, found a pickle.\n{_CONVERT}")


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{path}: the weights cannot be read ({error.strerror}).\n"
        "Train them with retrain=True, or put a safetensors file there."
    )


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path}: expected a whole safetensors file, found one that cannot be read ({error}).\n"
        "Copy it again, or train it anew with retrain=True."
    )


def _compare(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise :class:`ModelError` on the first difference that makes weights unusable."""
    remediation = (
        "These weights are of another network. Pass retrain=True to train new ones, or change\n"
        "model_package/model/network.py to the network they belong to."
    )
    for kind, names in (
        ("missing", sorted(expected.keys() - found.keys())),
        ("unexpected", sorted(found.keys() - expected.keys())),
    ):
        if names:
            listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise ModelError(
                f"{path}: expected {len(expected)} tensors of these names, found {len(found)}; "
                f"{kind}: {listed}.\n{remediation}"
            )
    for name, tensor in expected.items():
        other = found[name]
        if other.shape != tensor.shape or other.dtype != tensor.dtype:
            raise ModelError(
                f"{path}: {name}: expected {_form(tensor)}, found {_form(other)}.\n{remediation}"
            )
        if not torch.isfinite(other).all():
            raise ModelError(
                f"{path}: {name}: expected finite numbers, found NaN or infinity.\n"
                "The training of these weights diverged; pass retrain=True to train new ones."
            )


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
