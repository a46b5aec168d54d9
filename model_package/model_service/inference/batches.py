"""Several inputs as one batch, and its outputs apart again.

Arrays and tensors are joined along their first axis, as they come out of ``_preprocess``: of
(1, 3, 224, 224) four are (4, 3, 224, 224). So are mappings of them, name by name. Anything else
goes as a list, to be answered by a list of the same length.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any


class NoBatch(Exception):
    """The output of a batch cannot be taken apart; the message says what was expected and found."""


def kind_of(value: Any) -> Hashable:
    """Return what two inputs must have in common to be in one batch."""
    if _is_array(value):
        return type(value).__name__, str(value.dtype), tuple(value.shape[1:])
    arrays = list(value.values()) if isinstance(value, Mapping) else []
    if arrays and all(map(_is_array, arrays)) and len({v.shape[0] for v in arrays}) == 1:
        return tuple((name, kind_of(v)) for name, v in value.items())
    return "list"


def join(values: Sequence[Any]) -> Any:
    """Return the input of a batch; all ``values`` are of one kind."""
    first = values[0]
    if kind_of(first) == "list":
        return list(values)
    if len(values) == 1:
        return first
    if isinstance(first, Mapping):
        return {name: _concatenate([value[name] for value in values]) for name in first}
    return _concatenate(values)


def split(output: Any, values: Sequence[Any]) -> list[Any]:
    """Return the output of each of the ``values`` that :func:`join` made a batch of.

    Raises:
        NoBatch: the output has not one row for each row of the input.
    """
    first = values[0]
    if kind_of(first) == "list":
        if isinstance(output, (list, tuple)) and len(output) == len(values):
            return list(output)
        raise NoBatch(f"expected a list of {len(values)} answers, found {_describe(output)}")
    if len(values) == 1:
        return [_to_host(output)]
    if isinstance(first, Mapping):
        rows = [next(iter(value.values())).shape[0] for value in values]
    else:
        rows = [value.shape[0] for value in values]
    return _slice(_to_host(output), rows)


def _slice(output: Any, rows: list[int]) -> list[Any]:
    if isinstance(output, Mapping):
        columns = {name: _slice(value, rows) for name, value in output.items()}
        return [{name: columns[name][i] for name in columns} for i in range(len(rows))]
    if isinstance(output, tuple):
        parts = [_slice(value, rows) for value in output]
        return [tuple(part[i] for part in parts) for i in range(len(rows))]
    if not (_is_array(output) or isinstance(output, list)) or len(output) != sum(rows):
        raise NoBatch(f"expected {sum(rows)} rows, one for each input, found {_describe(output)}")
    found, position = [], 0
    for count in rows:
        found.append(output[position : position + count])
        position += count
    return found


def _to_host(output: Any) -> Any:
    """Copy tensors from a GPU once for the whole batch."""
    if isinstance(output, Mapping):
        return {name: _to_host(value) for name, value in output.items()}
    if isinstance(output, tuple):
        return tuple(_to_host(value) for value in output)
    return output.detach().cpu() if hasattr(output, "detach") else output


def _is_array(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return hasattr(value, "dtype") and shape is not None and len(shape) > 0


def _concatenate(values: Sequence[Any]) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values[0], torch.Tensor):
        return torch.cat(list(values))
    import numpy

    return numpy.concatenate(values)


def _describe(output: Any) -> str:
    shape = getattr(output, "shape", None)
    if shape is not None:
        return f"{type(output).__name__} of shape {tuple(shape)}"
    length = f" of {len(output)}" if isinstance(output, (list, tuple)) else ""
    return type(output).__name__ + length
