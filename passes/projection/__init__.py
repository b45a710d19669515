"""The numerics of the passes: numpy and scipy only, no ONNX."""
