"""What each deployment target accepts, as data.

What an engine reads goes by the version of TensorRT, whatever the device. A file for `orin` suits TensorRT 8.6 of
JetPack 6.0, too, but for the version in a calibration cache. `orin-10.3` has the opsets of TensorRT 10.0 to 10.8, and
no latency: none that was published is of TensorRT 10, and an engine that is strongly typed runs in FP32 what the model
states in FP32. The DLA of an Orin has other limits than that of a Xavier, and is no target.

Sources: the onnx-tensorrt parser and trtexec at the named version (opset and IR caps, Q/DQ rules, flags), NVIDIA's
TensorRT developer guide (channel multiples of the tensor cores, DLA), and the JetPack release notes (versions).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UsageError

Quantization = Literal["float-qdq", "int8-dq", "cache"]


@dataclass(frozen=True)
class Target:
    """One engine on one device.

    Attributes:
        tensorrt: (major, minor) of the TensorRT that compiles the model; None for another engine.
        max_opset, max_ir: the newest ONNX opset and IR version that the engine's parser reads.
        quantization: how INT8 reaches the engine. `float-qdq`: weights as FP32 initializer -> Q -> DQ (TensorRT 8
            refuses INT8 initializers); `int8-dq`: INT8 initializer -> DQ (a quarter of the bytes); `cache`: a float
            model and a file of ranges beside it (the DLA takes no Q/DQ).
        int8_multiple, half_multiple: the engine's kernels pad channels to these multiples.
        group_multiple: what the channels of one group of a grouped INT8 Conv must be a multiple of.
        row_multiple: INT8 kernels multiply so many values of a row at once, and are slow with rows of other lengths
            (`compiler.graph.quantization.zero_channels`).
        calibration: the version in the header of a calibration cache (`compiler.targets.calibration_cache`).
        device: name of the device in `compiler.costs.latency.devices`, or None where no latency is estimated.
        asymmetric_activations: activations in INT8 are UINT8 with a zero point, not symmetric.
        weight_bits: of weights beside activations in INT8. Kernels for x86-64 without VNNI add two products of UINT8
            and INT8 in 16 bits, which saturate where weights have more than 7.
        quantizes_outputs: INT8 kernels write INT8, too, never float (`graph.quantization.qdq`, rules 9 and 10).
        folds_weight_arithmetic: weights beside float activations are stored as codes with arithmetic that the engine
            does once, when it loads the model; DequantizeLinear it would do at every run.
        dla: the deep-learning accelerator runs what it can, the GPU the rest.
    """

    name: str
    description: str
    tensorrt: tuple[int, int] | None
    max_opset: int
    max_ir: int
    quantization: Quantization
    int8_multiple: int
    half_multiple: int
    group_multiple: int
    row_multiple: int = 1
    calibration: str | None = None
    device: str | None = None
    asymmetric_activations: bool = False
    weight_bits: int = 8
    quantizes_outputs: bool = False
    folds_weight_arithmetic: bool = False
    dla: bool = False


XAVIER = Target(
    name="xavier",
    description="TensorRT 8.5.2 on Jetson AGX Xavier (JetPack 5.1)",
    tensorrt=(8, 5),
    max_opset=17,
    max_ir=8,
    quantization="float-qdq",
    int8_multiple=32,
    half_multiple=8,
    group_multiple=4,
    calibration="8502",
    device="xavier",
)

TRT10 = Target(
    name="trt10",
    description="TensorRT 10.16",
    tensorrt=(10, 16),
    max_opset=24,
    max_ir=12,
    quantization="int8-dq",
    int8_multiple=32,
    half_multiple=8,
    group_multiple=4,
)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        XAVIER,
        replace(
            XAVIER,
            name="xavier-8.2",
            description="TensorRT 8.2.1 on Jetson AGX Xavier (JetPack 4.6.1)",
            tensorrt=(8, 2),
            max_opset=13,
            max_ir=7,
            calibration="8201",
        ),
        replace(
            XAVIER,
            name="xavier-8.0",
            description="TensorRT 8.0.1 on Jetson AGX Xavier (JetPack 4.6)",
            tensorrt=(8, 0),
            max_opset=13,
            max_ir=7,
            calibration="8001",
        ),
        replace(
            XAVIER,
            name="xavier-dla",
            description="TensorRT 8.5.2 on the DLA of a Jetson AGX Xavier, the GPU taking what the DLA cannot",
            quantization="cache",
            dla=True,
        ),
        replace(
            XAVIER,
            name="orin",
            description="TensorRT 8.5.2 on Jetson AGX Orin (JetPack 5.1)",
            device="orin",
        ),
        replace(
            TRT10,
            name="orin-10.3",
            description="TensorRT 10.3 on Jetson AGX Orin (JetPack 6.1 and 6.2)",
            tensorrt=(10, 3),
            max_opset=20,
            max_ir=9,
        ),
        TRT10,
        Target(
            name="ort",
            description="onnxruntime on this machine",
            tensorrt=None,
            max_opset=26,
            max_ir=13,
            quantization="int8-dq",
            int8_multiple=1,
            half_multiple=1,
            group_multiple=1,
            row_multiple=4,
            asymmetric_activations=True,
            weight_bits=7,
            quantizes_outputs=True,
            folds_weight_arithmetic=True,
        ),
    )
}


def find_target(name: str) -> Target:
    """The target of that name; `UsageError` with the known names otherwise."""
    if name not in TARGETS:
        raise UsageError(f"unknown target '{name}'", "--target", f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
