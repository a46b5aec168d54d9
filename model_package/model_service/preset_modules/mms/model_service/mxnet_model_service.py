"""The platform's base class for MXNet, under the platform's import name."""

from __future__ import annotations

from model_service.engines import AbsentEngineService


class MXNetBaseService(AbsentEngineService):
    """Refuses by name where MXNet is absent; where it is there, ``_inference`` is the package's."""

    engine, engine_module = "MXNet", "mxnet"
