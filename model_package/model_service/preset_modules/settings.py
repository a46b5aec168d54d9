"""``import settings``: the places of the platform's images. A package's own ``settings`` counts."""

from __future__ import annotations

import os

MODEL_NAME = os.environ.get("MODEL_NAME") or "model"
MODEL_PATH = os.environ.get("MODEL_PATH") or "/home/mind/model"
