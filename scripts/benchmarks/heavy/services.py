"""The model packages that are measured, as text: small files that a run writes below build/."""

from __future__ import annotations

import json
from pathlib import Path

PARTS = 50
PART_S = 0.005

# A part costs a wait, as one of a model on an accelerator does; LitServe and BentoML do the same.
SPEAKER = f"""
import time
from model_service.model_service import SingleNodeService

class Speaker(SingleNodeService):
    def _postprocess(self, data):
        for number in range({PARTS}):
            time.sleep({PART_S})
            yield {{"n": number}}
"""
SPEAKER_ASYNC = (
    SPEAKER.replace("import time", "import asyncio")
    .replace("    def _post", "    async def _speak")
    .replace("time.sleep", "await asyncio.sleep")
    .replace("_speakprocess", "_speak")
    + """
    def _postprocess(self, data):
        return self._speak(data)
"""
)
# Matrix products for a while: native code that gives the lock of the interpreter away and back.
BUSY = """
import time
import numpy as np
from model_service.model_service import SingleNodeService

MATRIX = np.random.rand(300, 300).astype("float32")

class Busy(SingleNodeService):
    def _inference(self, data):
        end = time.perf_counter() + 0.008
        while time.perf_counter() < end:
            MATRIX @ MATRIX
        return {"n": 1}
"""
# Its cost is mostly that of calling: sixteen inputs together cost far less than sixteen alone.
TRANSFORMER = """
import numpy as np
import torch
from model_service.pytorch_model_service import PTServingBaseService

class Transformer(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(96, 4, 192, batch_first=True)
        self.ballast = torch.ones(BALLAST_MIB * 2**18)
        self.model = torch.nn.Sequential(torch.nn.TransformerEncoder(layer, 4)).eval()

    def _preprocess(self, data):
        return torch.full((1, 8, 96), float(data["x"]))

    def _postprocess(self, data):
        return {"y": float(data[0, 0, 0])}
"""
NUMBER = {"type": "object", "properties": {"x": {"type": "number", "default": 1}}}
PICTURE = {"type": "object", "properties": {"images": {"type": "file"}}}


def write_package(folder: Path, service: str) -> Path:
    """Write a model package and return its folder; it takes a picture or a number."""
    is_number = "images" not in service
    request = {
        "Content-type": "application/json" if is_number else "multipart/form-data",
        "data": NUMBER if is_number else PICTURE,
    }
    config = {"apis": [{"url": "/", "method": "post", "request": request}]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customize_service.py").write_text(service)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
