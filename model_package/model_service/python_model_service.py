"""The platform's base class for scikit-learn and XGBoost, under the platform's import name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_service.model_service import SingleNodeService

MODELS = ("*.m", "*.pkl", "*.joblib", "*.model", "*.ubj", "*.json")


class XgSklServingBaseService(SingleNodeService):
    """``_preprocess`` gets the bytes of the body, and the answer is wrapped as the platform does.

    Attributes:
        model_path: the model's **file**; on the platform its name ends in ``.m``.
    """

    reads_body = True
    _loaded: Any = None

    def __init__(self, model_path: str) -> None:
        super().__init__("", model_path)

    @classmethod
    def locate(cls, folder: Path, named: str = "") -> str:
        """Return the model's file; where there is none, the name that it would have."""
        for pattern in MODELS:
            files = [f for f in sorted(folder.glob(pattern)) if f.name != "config.json"]
            if files:
                return str(next((f for f in files if f.name in named), files[0]))
        return str(folder / "model.m")

    def _preprocess(self, data: bytes) -> Any:
        """Return the values of each row of ``data.req_data``, in the order of the body."""
        return [list(row.values()) for row in json.loads(data)["data"]["req_data"]]

    def _inference(self, data: Any) -> Any:
        """Ask the model that ``joblib`` or XGBoost reads from ``model_path``, loaded once."""
        if self._loaded is None:
            self._loaded = _load(self.model_path)
        if type(self._loaded).__name__ == "Booster":
            import xgboost  # type: ignore[import-not-found, import-untyped, unused-ignore]

            data = xgboost.DMatrix(data)
        return self._loaded.predict(data).tolist()

    def _postprocess(self, data: Any) -> Any:
        """Name each result."""
        return [{"predictresult": result} for result in data]

    def wrap(self, answer: Any, body: bytes) -> Any:
        """Return the answer as ``data.resp_data``, beside the ``meta`` of the request, if any."""
        wrapped: dict[str, Any] = {"data": {"resp_data": answer}}
        try:
            asked = json.loads(body)
        except ValueError:
            return wrapped
        if isinstance(asked, dict) and "meta" in asked:
            return {"meta": asked["meta"], **wrapped}
        return wrapped


def _load(path: str) -> Any:
    """Read a model of XGBoost, which begins like JSON or as ``binf``, or what joblib wrote."""
    with Path(path).open("rb") as file:
        start = file.read(4)
    if start.startswith((b"{", b"binf")):
        import xgboost

        return xgboost.Booster(model_file=path)
    import joblib  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return joblib.load(path)
