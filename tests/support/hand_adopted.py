"""Foreign packages, their config.json made readable: until custom_image adopts them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any


def adopt(package: Path, target: Path) -> Path:
    shutil.copytree(package, target)
    path = target / "config.json"
    config: Any = {"apis": [{"url": "/", "method": "post"}]}
    if path.exists():
        content = path.read_bytes()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("gbk")
        text = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda m: m.group(1) or "", text)
        config = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    if isinstance(config, list):
        config = {"apis": config}
    if "request" in config:
        config["apis"] = [{"url": "/", "method": "post", "request": config.pop("request")}]
    for api in config["apis"]:
        if '"file"' in json.dumps(api.get("request", {})):
            api["request"]["Content-type"] = "multipart/form-data"
    path.write_text(json.dumps(config))
    return target
