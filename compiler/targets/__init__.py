"""What each deployment target accepts, as data.

Sources: the onnx-tensorrt parser at the named version (opset and IR caps, Q/DQ rules) and NVIDIA's TensorRT developer
guide (channel multiples of the tensor cores).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError


@dataclass(frozen=True)
class Target:
    """One engine on one device.

    Attributes:
        max_opset, max_ir: the newest ONNX opset and IR version that the engine's parser reads.
        weights: how a quantized weight is stored. `float-qdq`: FP32 initializer -> Q -> DQ (TensorRT 8 refuses INT8
            initializers); `int8-dq`: INT8 initializer -> DQ (a quarter of the bytes).
        channel_multiple: channels are padded to this multiple by the engine's INT8 kernels.
        group_multiple: what the channels of one group of a grouped INT8 Conv must be a multiple of.
        command: how a model is compiled on the device; `{model}` is the file.
    """

    name: str
    description: str
    max_opset: int
    max_ir: int
    weights: Literal["float-qdq", "int8-dq"]
    channel_multiple: int
    group_multiple: int
    command: str


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="xavier",
            description="TensorRT 8.5.2 on Jetson AGX Xavier (JetPack 5.1)",
            max_opset=17,
            max_ir=8,
            weights="float-qdq",
            channel_multiple=32,
            group_multiple=4,
            command="trtexec --onnx={model} --int8 --fp16",
        ),
        Target(
            name="trt10",
            description="TensorRT 10",
            max_opset=23,
            max_ir=11,
            weights="int8-dq",
            channel_multiple=32,
            group_multiple=4,
            command="trtexec --onnx={model} --stronglyTyped",
        ),
        Target(
            name="ort",
            description="onnxruntime on this machine",
            max_opset=23,
            max_ir=11,
            weights="int8-dq",
            channel_multiple=1,
            group_multiple=1,
            command="python -c \"import onnxruntime; onnxruntime.InferenceSession('{model}')\"",
        ),
    )
}


def find_target(name: str) -> Target:
    """The target of that name; `UsageError` with the known names otherwise."""
    if name not in TARGETS:
        raise UsageError(f"unknown target '{name}'", "--target", f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
