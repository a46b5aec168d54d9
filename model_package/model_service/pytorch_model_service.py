"""The platform's base class for PyTorch, under the platform's import name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_service.model_service import SingleNodeService

WEIGHTS = ("*.pth", "*.pt", "*.safetensors", "*.ckpt", "*.bin")


class PTServingBaseService(SingleNodeService):
    """Runs ``self.model``, which the subclass sets, on each part of the input.

    Attributes:
        model_path: the weights **file**, as on the platform; what lies beside it is found from
            ``os.path.dirname(os.path.realpath(self.model_path))``.
        model: a callable, for example a ``torch.nn.Module`` in evaluation mode.
    """

    model: Any = None

    @classmethod
    def locate(cls, folder: Path, named: str = "") -> str:
        """Return the weights file; where there is none, the name the platform's samples use.

        Of several, the one that the code names is meant, then one that calls itself the best. Code
        that needs a file says which one it misses; code that only wants the folder works.
        """
        files = [file for pattern in WEIGHTS for file in sorted(folder.glob(pattern))]
        for wanted in (
            [file for file in files if file.name in named],
            [file for file in files if "best" in file.stem],
            files,
        ):
            if wanted:
                return str(wanted[0])
        return str(folder / "model.pth")

    def _inference(self, data: Any) -> Any:
        """Return part name -> output of ``self.model`` for part name -> tensor."""
        import torch

        with torch.inference_mode():
            if isinstance(data, dict):
                return {name: self.model(value) for name, value in data.items()}
            return self.model(data)
