"""The base of all services, and the base for a package that brings its own engine.

The import name ``model_service.model_service.SingleNodeService`` and the shape of the class are the
platform's. Source: Specifications for Writing Model Inference Code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class SingleNodeService:
    """A model behind three steps; override those that differ.

    Attributes:
        model_path: what :meth:`locate` found: here the folder of the model package.
        reads_body: whether ``_preprocess`` gets the bytes of the body, whatever they are.
        streams: whether every answer is sent in parts, one that is no iterator too.
    """

    reads_body = False
    streams = False

    def __init__(self, model_name: str, model_path: str) -> None:
        self.model_name = model_name
        self.model_path = model_path

    @classmethod
    def locate(cls, folder: Path, named: str = "") -> str:
        """Return what the constructor gets as ``model_path``.

        Args:
            folder: the model package.
            named: the package's code, which may name the file that it means.

        Raises:
            FileNotFoundError: the package holds no weights this engine reads.
        """
        return str(folder)

    def _preprocess(self, data: Any) -> Any:
        """Turn a request into the model's input; raise, and the client reads the sentence.

        ``data`` is whatever the JSON says, and part name -> {file name: file-like object} for
        multipart.
        """
        return data

    def _inference(self, data: Any) -> Any:
        """Ask the model."""
        return data

    def _postprocess(self, data: Any) -> Any:
        """Turn the model's output into the answer: anything JSON can say, arrays included."""
        return data

    def inference(self, data: Any) -> Any:
        """Run the three steps."""
        return self._postprocess(self._inference(self._preprocess(data)))

    def wrap(self, answer: Any, body: bytes) -> Any:
        """Return what is sent of an answer; ``body`` is the request's, where ``reads_body``."""
        return answer
