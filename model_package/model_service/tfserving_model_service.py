"""The platform's base class for TensorFlow, under the platform's import name."""

from __future__ import annotations

from typing import Any

from model_service.model_service import SingleNodeService

SERVING_SIGNATURE = "serving_default"


class TfServingBaseService(SingleNodeService):
    """Runs a signature of the SavedModel that lies in the package.

    Attributes:
        model_path: the **folder** that holds ``saved_model.pb``, as on the platform.
    """

    _signature: Any = None

    def _inference(self, data: Any) -> Any:
        """Return output name -> nested list for input name -> array, as TensorFlow Serving does.

        Inputs become what the signature asks for, so that JSON's numbers do for any of its types.
        The SavedModel is loaded on first use: a subclass that overrides this step and loads the
        model its own way, as the platform's sample does, pays for one copy only.
        """
        import tensorflow  # type: ignore[import-not-found, import-untyped, unused-ignore]

        if self._signature is None:
            # The function alone does not keep its SavedModel alive.
            self._saved_model = tensorflow.saved_model.load(self.model_path)
            signatures = self._saved_model.signatures
            name = SERVING_SIGNATURE if len(signatures) > 1 else next(iter(signatures))
            self._signature = signatures[name]
        types = {name: i.dtype for name, i in self._signature.structured_input_signature[1].items()}
        tensors = {k: tensorflow.convert_to_tensor(v, types.get(k)) for k, v in data.items()}
        return {k: v.numpy().tolist() for k, v in self._signature(**tensors).items()}
