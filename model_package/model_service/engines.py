"""Bases of the platform whose engine no image of this project brings."""

from __future__ import annotations

import importlib

from model_service.model_service import SingleNodeService


class EngineAbsent(ImportError):
    """A base class needs an engine that is not installed; the message names both."""


class AbsentEngineService(SingleNodeService):
    """The base of such bases.

    Attributes:
        engine: the engine's name, for people.
        engine_module: what Python imports.
    """

    engine = ""
    engine_module = ""

    def __init__(self, model_name: str = "", model_path: str = "") -> None:
        super().__init__(model_name, model_path)
        try:
            importlib.import_module(self.engine_module)
        except ImportError as error:
            base = next(c for c in type(self).__mro__ if c.__module__ != type(self).__module__)
            raise EngineAbsent(
                f"{base.__name__} needs {self.engine} (import {self.engine_module}), which this "
                "image does not have; build on a base that has it"
            ) from error
