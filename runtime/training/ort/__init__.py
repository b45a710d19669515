"""The engine `ort`: onnxruntime-training, for where PyTorch is not wanted. All that is needed for it alone is here."""

from .engine import OrtEngine

__all__ = ["OrtEngine"]
