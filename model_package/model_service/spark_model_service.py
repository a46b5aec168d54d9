"""The platform's base class for Spark, under the platform's import name."""

from __future__ import annotations

from model_service.engines import AbsentEngineService
from model_service.python_model_service import XgSklServingBaseService


class SparkServingBaseService(XgSklServingBaseService, AbsentEngineService):
    """The raw body in, the wrapped answer out, as of :class:`XgSklServingBaseService`.

    Attributes:
        spark: the ``pyspark.sql.SparkSession``.
    """

    engine, engine_module = "Spark", "pyspark"

    def __init__(self, model_path: str) -> None:
        AbsentEngineService.__init__(self, model_path=model_path)
        from pyspark.sql import SparkSession  # type: ignore[import-not-found, unused-ignore]

        self.spark = SparkSession.builder.getOrCreate()
