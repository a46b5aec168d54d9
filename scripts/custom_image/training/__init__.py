"""Digits to a trained model, and the trained model to ONNX. The only door to torch."""

from custom_image.training.export import OnnxExport, export_onnx
from custom_image.training.export_record import ExportRecord
from custom_image.training.model import Metrics, TrainedModel, train_or_load

__all__ = ["ExportRecord", "Metrics", "OnnxExport", "TrainedModel", "export_onnx", "train_or_load"]
