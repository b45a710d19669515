"""The engine `ort`, for where PyTorch is not wanted; all that it alone needs is here.

A round trip: the program leaves as ONNX for onnxruntime-training, loss and gradients come back. Release 1.19.2 is the
last one that was published, so that this engine stays what it is; new operators and speed are the engine torch's.
"""

from .engine import OrtEngine

__all__ = ["OrtEngine"]
