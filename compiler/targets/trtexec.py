"""The command that compiles a model on the device."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from . import Target


def command_line(target: Target, graph: gs.Graph, model: str = "{model}") -> str:
    """The shell line that compiles `graph`, stored in the file `model`, with the tool of `target`."""
    if target.tensorrt is None:
        return f"python -c \"import onnxruntime; onnxruntime.InferenceSession('{model}')\""
    return f"trtexec --onnx={model} --int8 --fp16"
