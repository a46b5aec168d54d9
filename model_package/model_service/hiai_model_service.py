"""The platform's base class for Ascend 310 by HiAI, under the platform's import name."""

from __future__ import annotations

from model_service.engines import AbsentEngineService


class HiaiBaseService(AbsentEngineService):
    """Refuses by name where HiAI is absent; where it is there, ``_inference`` is the package's."""

    engine, engine_module = "HiAI", "hiai"
