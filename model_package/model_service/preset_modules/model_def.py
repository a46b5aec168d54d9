"""``import model_def``: how the platform's TensorFlow base describes a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ModelDef:
    """A model's signature.

    Attributes:
        model_name: the name of the model.
        model_signature: the name of the signature.
        model_inputs: input name -> what the signature says of it.
        model_outputs: output name -> the same.
    """

    def __init__(
        self,
        model_name: str = "",
        model_signature: str = "",
        model_inputs: Mapping[str, Any] | None = None,
        model_outputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.model_name = model_name
        self.model_signature = model_signature
        self.model_inputs = dict(model_inputs or {})
        self.model_outputs = dict(model_outputs or {})
